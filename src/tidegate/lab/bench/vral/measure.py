"""Measures how soon a guest has its lease, alone and beside a guest that floods its own channel."""

from __future__ import annotations

import statistics
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from tidegate.agents.vral.channels import SOCKET_FILE, guest_folder
from tidegate.guest.tidegate_vral import Vral, VralError
from tidegate.lab.bench.cards.programs import Program
from tidegate.lab.bench.result import Benchmark, Row, machine, row
from tidegate.lab.bench.vral.host import NAME
from tidegate.lab.bench.vral.real_guest import guest_rows
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WORKLOADS: Final = 100
GUESTS: Final = 4
"""Who claim, one after the other; one more floods."""
CLAIM_CORES: Final = 0.05
"""Held already: what is measured is the way to the lease, not that to the hypervisor."""
WARM_SECONDS: Final = 2.0
ALONE_SECONDS: Final = 30.0
"""Measured before the flood."""
FLOOD_SECONDS: Final = 60.0
FLOOD_ENDS_SECONDS: Final = 10.0
"""How long the flood's process may take to end by itself."""
PAUSE_SECONDS: Final = 0.01
START_SECONDS_MAX: Final = 30.0
P50_MILLISECONDS_LIMIT: Final = 5.0
P99_MILLISECONDS_LIMIT: Final = 50.0
FLOOD_RATIO_LIMIT: Final = 1.5
FLOOD_MEMORY_BYTES_LIMIT: Final = 8 * 2**20
"""Flat: below what one step of a hundred VMs moves now and then."""


def bench_vral(*, seed: int, progress: Callable[[str, int, int], None]) -> Benchmark:
    """Measure with an agent in a process of its own; on a real guest too, where one can be had.

    Raises:
        TidegateError: the agent did not start, or ended.

    """
    with tempfile.TemporaryDirectory(prefix="tv-") as name:
        rows = _unix_rows(Path(name), seed, progress)
    notes: tuple[str, ...] = ()
    try:
        progress("a real guest", 0, 1)
        rows += guest_rows()
    except InputError as error:
        notes = (f"not measured through a real guest's port: {error}",)
    return Benchmark(area="vral", machine=machine(), seed=seed, rows=tuple(rows), notes=notes)


def _unix_rows(folder: Path, seed: int, progress: Callable[[str, int, int], None]) -> list[Row]:
    """Measure on two hosts, alike but for the flood on one: whatever else the machine does is on both."""
    names = [f"{NAME}-{at:04}" for at in range(GUESTS + 1)]
    with ExitStack() as stack:
        quiet, flooded = (_host(stack, folder / name, seed) for name in ("quiet", "flooded"))
        guests = [
            [stack.enter_context(Vral(_socket(one, name))) for name in names[1:]] for one in (quiet, flooded)
        ]
        _claims(guests, WARM_SECONDS)  # what is imported and allocated once
        progress("claims", 0, 2)
        (alone,) = _claims(guests[:1], ALONE_SECONDS)
        memory = _resident_bytes(flooded.program)
        progress("claims beside a flood", 1, 2)
        flood = Program(
            [_socket(flooded, names[0]), str(FLOOD_SECONDS), str(seed)],
            log=folder / "flood",
            module="tidegate.lab.bench.vral.flooding",
        )
        stack.callback(flood.end)
        without, beside = _claims(guests, FLOOD_SECONDS)
        flood.wait(FLOOD_ENDS_SECONDS)
        grown = _resident_bytes(flooded.program) - memory
        _require_alive(quiet, flooded)
    ratio = _quantile(beside, 0.99) / _quantile(without, 0.99)
    return [
        row("vral_claim_ms_p50", _quantile(alone, 0.5), "ms", P50_MILLISECONDS_LIMIT),
        row("vral_claim_ms_p99", _quantile(alone, 0.99), "ms", P99_MILLISECONDS_LIMIT),
        row("vral_claim_ms_max", max(alone), "ms"),
        row("vral_flood_claim_ms_p50", _quantile(beside, 0.5), "ms"),
        row("vral_flood_claim_ms_p99", _quantile(beside, 0.99), "ms", P99_MILLISECONDS_LIMIT),
        row("vral_flood_p99_ratio", ratio, "ratio", FLOOD_RATIO_LIMIT),
        row("vral_flood_memory_bytes", grown, "bytes", FLOOD_MEMORY_BYTES_LIMIT),
        row("vral_flood_taken_bytes_per_second", _taken(folder / "flood") / FLOOD_SECONDS, "bytes/s"),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Host:
    """A process that serves VMs in memory."""

    folder: Path
    program: Program


def _host(stack: ExitStack, folder: Path, seed: int) -> _Host:
    """Start one, and wait until it serves.

    Raises:
        TidegateError: it does not.

    """
    folder.mkdir()
    program = Program(
        [str(folder), str(WORKLOADS), str(seed)], log=folder / "log", module="tidegate.lab.bench.vral.host"
    )
    stack.callback(program.end)
    host = _Host(folder=folder, program=program)
    _wait(program, [_socket(host, f"{NAME}-{at:04}") for at in range(GUESTS + 1)])
    return host


def _socket(host: _Host, vm: str) -> str:
    return str(guest_folder(host.folder / "vral", vm) / SOCKET_FILE)


def _require_alive(*hosts: _Host) -> None:
    for host in hosts:
        if host.program.ended:
            raise TidegateError(f"the agent ended: {host.program.log.read_text('utf-8')[-500:]}")


def _claims(groups: Sequence[Sequence[Vral]], seconds: float) -> list[list[float]]:
    """Return how many milliseconds each claim of each group took, taking turns for so many seconds."""
    took: list[list[float]] = [[] for _ in groups]
    order = list(range(len(groups)))
    until, pause = perf_counter() + seconds, threading.Event()
    while perf_counter() < until:
        order.reverse()  # who comes first after a pause finds its host asleep
        for guests in zip(*groups, strict=True):
            for at in order:
                guest = guests[at]
                began = perf_counter()
                lease = guest.claim("cpu", CLAIM_CORES)
                took[at].append(1000 * (perf_counter() - began))
                guest.release(lease["lease"])
            pause.wait(PAUSE_SECONDS)
    return took


def _wait(host: Program, paths: Sequence[str]) -> None:
    """Wait until every guest is answered, and its VM seen.

    Raises:
        TidegateError: that did not come about.

    """
    until, pause = perf_counter() + START_SECONDS_MAX, threading.Event()
    while perf_counter() < until and not host.ended:
        try:
            for path in paths:
                with Vral(path, seconds=1.0) as guest:
                    guest.release(guest.claim("cpu", CLAIM_CORES)["lease"])
        except VralError:
            pause.wait(0.1)
        else:
            return
    raise TidegateError(f"the agent did not start: {host.log.read_text('utf-8')[-500:]}")


def _resident_bytes(host: Program) -> int:
    for line in Path(f"/proc/{host.pid}/status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _taken(log: Path) -> float:
    """Return the bytes that the flood got rid of; 0 where it was ended before it said so."""
    said = log.read_text("utf-8").strip()
    return float(said) if said.isdecimal() else 0.0


def _quantile(values: Sequence[float], level: float) -> float:
    return statistics.quantiles(values, n=1000, method="inclusive")[round(level * 1000) - 1]
