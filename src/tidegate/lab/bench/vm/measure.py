"""Measures telemetry of many VMs, and each way to resize one, on QEMU guests that are emulated (TCG).

Emulators of paused guests answer as those of running ones do: what a round costs is libvirt's questions to
each of them. How long a guest takes is the guest's matter, and slower here than on KVM.
"""

from __future__ import annotations

import statistics
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Final

from tidegate.drivers.libvirt.connection import Connection
from tidegate.drivers.libvirt.looking import Looker
from tidegate.drivers.libvirt.server import LibvirtServer
from tidegate.drivers.local.clock import SystemClock
from tidegate.lab.bench.guests.running import Host, lent
from tidegate.lab.bench.result import Benchmark, Row, machine, row
from tidegate.lab.bench.vm.cycling import cycle_rows
from tidegate.lab.bench.vm.resizing import resizing_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DOMAINS: Final = 100
ROUNDS: Final = 10
ROUND_MILLISECONDS_LIMIT: Final = 100.0
"""Telemetry of a host of a hundred VMs must be no load on it."""
MEMORY_BYTES: Final = 64 * 2**20
BOOT_SECONDS_LIMIT: Final = 10.0


def bench_vm(*, seed: int, progress: Callable[[str, int, int], None]) -> Benchmark:
    """Measure on a hypervisor of our own.

    Raises:
        InputError: real VMs can't be had here; the sentence says how to get them.

    """
    rows: list[Row] = []
    with lent() as host:
        progress("booting a guest", 0, 1)
        started = perf_counter()
        (guest,) = host.boot(host.spec("measured", memory_bytes=512 * 2**20, vcpus=2, vcpus_max=4))
        rows.append(row("boot_seconds", perf_counter() - started, "s", BOOT_SECONDS_LIMIT))
        rows += resizing_rows(host, guest, progress)
        rows += _telemetry(host, progress)
    cycled, notes = cycle_rows(seed=seed, progress=progress)
    return Benchmark(area="vm", machine=machine(), seed=seed, rows=(*rows, *cycled), notes=tuple(notes))


def _telemetry(host: Host, progress: Callable[[str, int, int], None]) -> list[Row]:
    """Return what a round costs with many domains: through the driver, and the bare call beside it."""
    for at in range(DOMAINS - 1):  # the one that was resized is the hundredth
        progress("starting emulators", at, DOMAINS)
        host.start_paused(host.spec(f"many{at}", memory_bytes=MEMORY_BYTES, disk_bytes=4096))
    connection = Connection(host.uri, monotonic_seconds=perf_counter)
    looker = Looker(connection, chosen=(), period_seconds=1, monotonic_seconds=perf_counter)
    try:
        first = _seconds(looker.look)
        looks = [_seconds(looker.look) for _ in range(ROUNDS)]
        with _reading(host) as server:
            server.read()
            server.settle(1)
            reads = [_seconds(server.read) for _ in range(ROUNDS)]
    finally:
        connection.close()
    return [
        row("telemetry_first_round_ms_100_domains", 1000 * first, "ms"),
        row(
            "telemetry_round_ms_100_domains",
            1000 * statistics.median(looks),
            "ms",
            ROUND_MILLISECONDS_LIMIT,
        ),
        row("telemetry_round_max_ms_100_domains", 1000 * max(looks), "ms"),
        row("read_max_ms_100_domains", 1000 * max(reads), "ms"),
    ]


@contextmanager
def _reading(host: Host) -> Iterator[LibvirtServer]:
    with LibvirtServer(
        host.uri, step_seconds=1, clock=SystemClock(), ledger_path=host.folder / "no.json"
    ) as server:
        yield server


def _seconds(do: Callable[[], object]) -> float:
    started = perf_counter()
    do()
    return perf_counter() - started
