"""A guest that is resized in every way and moved there and back, over and over, while it writes memory."""

from __future__ import annotations

import statistics
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.app.moving import forecast_of
from tidegate.drivers.libvirt.moving.orders import MoveOrder, MovePhase
from tidegate.drivers.libvirt.policy import POLICY_URI
from tidegate.drivers.libvirt.server import LibvirtServer
from tidegate.drivers.local.clock import SystemClock
from tidegate.lab.bench.guests.pair import Pair, lent_pair
from tidegate.lab.bench.result import Row, row
from tidegate.lab.bench.vm.leftovers import standing
from tidegate.lab.bench.vm.resizing import CPU, MEMORY, NETWORK, STORAGE, resized_seconds
from tidegate.model.errors import TidegateError
from tidegate.model.outcome import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.drivers.libvirt.moving.orders import MoveRecord
    from tidegate.lab.bench.guests.running import Guest, Host

CYCLES: Final = 20
MIB: Final = 2**20
HELD_BYTES: Final = 48 * MIB
WRITTEN_BYTES: Final = 32 * MIB
MEMORY_BYTES: Final = 256 * MIB
DISK_BYTES: Final = 16 * MIB
POLICY: Final = (
    '<policy plug="{}" network_bytes_per_second_max="2000000" storage_bytes_per_second_max="4000000"/>'
)
RESIZES: Final = (
    ("a quota", CPU, 0.25),
    ("the balloon down", MEMORY, 0.92),
    ("the balloon up", MEMORY, 1.0),
    ("the disk's limit", STORAGE, 0.5),
    ("the network's rate", NETWORK, 0.5),
)
"""What, resource, and ratio of what was sold; all goes back to the owner's after it."""
PLUGS: Final = (("a vCPU more", CPU, 1.0), ("a vCPU less", CPU, 0.5))
DIRTY_MEGABYTES: Final = (2.0, 25.0)
LINK_MEBIBYTES: Final = (40, 96)
"""Least and most of what a move's guest writes, and of what it may take of the link, a second."""
MEASURE_SECONDS: Final = 3
WRITE_SECONDS: Final = 1.0
"""How long a guest writes before it is looked at."""
MACHINE_BYTES_PER_SECOND: Final = 1e9
"""What goes from one process to another here at least, once nothing limits it."""
ERROR_LIMIT: Final = 0.30


CONTENTS: Final = (
    "a cycle: a guest boots; quota, balloon down and up, disk and network limits, given back; it is moved to "
    "another libvirt and back while it rewrites memory; a vCPU is plugged and unplugged; its memory is "
    "verified inside; it ends, and nothing is left. vCPUs come last, and each cycle has a guest of its own: "
    "an emulated QEMU that has lost a vCPU takes none again and can hang when it is moved. Seconds of a move "
    "are those in which memory goes over; what libvirt does before and after is in the whole."
)


@dataclass(slots=True, kw_only=True)
class Cycles:
    """What came of them."""

    clean: int = 0
    moves: list[MoveRecord] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    """Of each move: predicted against measured seconds."""
    notes: list[str] = field(default_factory=list)


def cycle_rows(
    *, seed: int, progress: Callable[[str, int, int], None], cycles: int = CYCLES
) -> tuple[list[Row], list[str]]:
    """Return how many cycles were clean and how well moves were predicted, and what a reader must know."""
    done, chance = Cycles(), np.random.default_rng(seed)
    tap = f"tg{threading.get_native_id() % 10**7}"
    with lent_pair() as pair:
        _cycle(pair, tap, chance, Cycles(), moves=0)  # what stays of a first guest is libvirt's own
        before = standing(pair, "cycled", tap)
        for number in range(cycles):
            progress("cycles", number, cycles)
            wrong = _cycle(pair, tap, chance, done)
            wrong += [f"left behind: {one}" for one in sorted(standing(pair, "cycled", tap) - before)]
            done.clean += not wrong
            done.notes += [f"cycle {number + 1}: {one}" for one in wrong]
    return _rows(done, cycles), [CONTENTS, *done.notes]


def _cycle(pair: Pair, tap: str, chance: np.random.Generator, done: Cycles, *, moves: int = 2) -> list[str]:
    """Go through one with a guest of its own; return what was wrong."""
    spec = pair.first.spec("cycled", memory_bytes=MEMORY_BYTES, vcpus_max=2, disk_bytes=DISK_BYTES, tap=tap)
    wrong: list[str] = []
    (guest,) = pair.first.boot(spec)
    try:
        guest.ask(f"hold {HELD_BYTES}")
        _resize(pair.first, guest, RESIZES, plug="no")
        for host in (pair.first, pair.second)[:moves]:
            record, guest = _moved(pair, guest, host, chance, done)
            if record.phase is not MovePhase.SUCCEEDED:
                raise TidegateError(f"the guest was not moved: {record.reason}")  # noqa: TRY301 - as all others
        if moves:
            guest.ask(f"dirty 0 {WRITTEN_BYTES}")
            _resize(pair.first, guest, PLUGS, plug="yes")
        checked = guest.ask("check")
        if checked["bad"] != "0":
            wrong.append(f"{checked['bad']} of {checked['pages']} pages are not what was written")
    except TidegateError as error:
        wrong.append(str(error))
    finally:
        pair.end(guest)
        if spec.disk is not None:
            spec.disk.unlink(missing_ok=True)
    return wrong


def _moved(
    pair: Pair, guest: Guest, host: Host, chance: np.random.Generator, done: Cycles
) -> tuple[MoveRecord, Guest]:
    """Move a guest that rewrites memory, and note how long it took beside how long it was thought to."""
    guest.ask(f"dirty {chance.uniform(*DIRTY_MEGABYTES) * 1e6:.0f} {WRITTEN_BYTES}")
    threading.Event().wait(WRITE_SECONDS)
    order = MoveOrder(
        bytes_per_second_max=int(chance.integers(*LINK_MEBIBYTES)) * MIB, is_storage_shared=True
    )
    seconds = _predicted(pair, guest, host, order)
    record, guest = pair.move(guest, host, order)
    if record.phase is MovePhase.SUCCEEDED:
        done.moves.append(record)
        done.errors.append(abs(seconds - record.memory_seconds) / record.memory_seconds)
    return record, guest


def _resize(host: Host, guest: Guest, ways: tuple[tuple[str, int, float], ...], *, plug: str) -> None:
    """Resize the guest in some ways through the driver, and have all given back."""
    name = guest.spec.name
    guest.domain.setMetadata(2, POLICY.format(plug), "tidegate", POLICY_URI, 1)
    with LibvirtServer(
        host.uri,
        step_seconds=1,
        clock=SystemClock(),
        chosen=[name],
        act=[name],
        ledger_path=host.folder / "ledger.json",
    ) as server:
        for what, resource, ratio in ways:
            # What a guest sends is not every kernel's to limit: that is told as partial.
            good = (Phase.APPLIED, Phase.PARTIAL) if resource == NETWORK else (Phase.APPLIED,)
            try:
                resized_seconds(server, resource, ratio, good)
            except TidegateError as error:
                raise TidegateError(f"{what}: {error}") from error
        refused = server.close().refused
    if refused:
        raise TidegateError(f"not given back: {', '.join(refused)}")


def _predicted(pair: Pair, guest: Guest, host: Host, order: MoveOrder) -> float:
    """Return how long a move will take, by what is measured of the guest now."""
    way = pair.way(guest, host)
    try:
        measured = way.measure(MEASURE_SECONDS)
    finally:
        way.close()
    seconds = forecast_of(measured, order, MACHINE_BYTES_PER_SECOND).seconds
    return float("inf") if seconds is None else seconds


def _rows(done: Cycles, cycles: int) -> list[Row]:
    def median(values: list[float]) -> float:
        return statistics.median(values) if values else float("inf")

    return [
        row("cycles_clean", done.clean, "cycles", cycles, "min"),
        row("migration_predicted_error_ratio_median", median(done.errors), "ratio", ERROR_LIMIT),
        row("migration_predicted_error_ratio_max", max(done.errors, default=float("inf")), "ratio"),
        row("migration_memory_seconds_median", median([one.memory_seconds for one in done.moves]), "s"),
        row("migration_whole_seconds_median", median([one.seconds for one in done.moves]), "s"),
        row(
            "migration_downtime_ms_median", 1000 * median([one.downtime_seconds for one in done.moves]), "ms"
        ),
        row(
            "migration_downtime_ms_max",
            1000 * max((one.downtime_seconds for one in done.moves), default=0.0),
            "ms",
        ),
    ]
