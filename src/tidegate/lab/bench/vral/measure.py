"""Measures how soon a guest has its lease, alone and beside a guest that floods its own channel."""

from __future__ import annotations

import statistics
import tempfile
import threading
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
ALONE_SECONDS: Final = 30.0
"""Measured before the flood, and as long again after it."""
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
    log = folder / "log"
    host = Program([str(folder), str(WORKLOADS), str(seed)], log=log, module="tidegate.lab.bench.vral.host")
    names = [f"{NAME}-{at:04}" for at in range(GUESTS + 1)]
    flooded, *asking = [str(guest_folder(folder / "vral", name) / SOCKET_FILE) for name in names]
    guests: list[Vral] = []
    try:
        _wait(host, asking)
        guests = [Vral(path) for path in asking]
        _claims(guests, 2.0)  # what is imported and allocated once
        progress("claims", 0, 3)
        before = _claims(guests, ALONE_SECONDS)
        memory = _resident_bytes(host)
        progress("claims beside a flood", 1, 3)
        flood = Program(
            [flooded, str(FLOOD_SECONDS), str(seed)],
            log=folder / "flood",
            module="tidegate.lab.bench.vral.flooding",
        )
        try:
            beside = _claims(guests, FLOOD_SECONDS)
            flood.wait(FLOOD_ENDS_SECONDS)
        finally:
            flood.end()
        grown = _resident_bytes(host) - memory
        progress("claims after it", 2, 3)
        alone = before + _claims(guests, ALONE_SECONDS)
        if host.ended:
            raise TidegateError(f"the agent ended: {log.read_text('utf-8')[-500:]}")
    finally:
        for guest in guests:
            guest.close()
        host.end()
    return [
        row("vral_claim_ms_p50", _quantile(alone, 0.5), "ms", P50_MILLISECONDS_LIMIT),
        row("vral_claim_ms_p99", _quantile(alone, 0.99), "ms", P99_MILLISECONDS_LIMIT),
        row("vral_claim_ms_max", max(alone), "ms"),
        row("vral_flood_claim_ms_p50", _quantile(beside, 0.5), "ms"),
        row("vral_flood_claim_ms_p99", _quantile(beside, 0.99), "ms", P99_MILLISECONDS_LIMIT),
        row(
            "vral_flood_p99_ratio",
            _quantile(beside, 0.99) / _quantile(alone, 0.99),
            "ratio",
            FLOOD_RATIO_LIMIT,
        ),
        row("vral_flood_memory_bytes", grown, "bytes", FLOOD_MEMORY_BYTES_LIMIT),
        row("vral_flood_taken_bytes_per_second", _taken(folder / "flood") / FLOOD_SECONDS, "bytes/s"),
    ]


def _claims(guests: Sequence[Vral], seconds: float) -> list[float]:
    """Return how many milliseconds each claim took, for so many seconds of them, taking turns."""
    took, until, pause = [], perf_counter() + seconds, threading.Event()
    while perf_counter() < until:
        for guest in guests:
            began = perf_counter()
            lease = guest.claim("cpu", CLAIM_CORES)
            took.append(1000 * (perf_counter() - began))
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
