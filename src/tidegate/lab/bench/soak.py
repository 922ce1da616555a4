"""The soak as a benchmark: months of demand while VMs come and go, counters reset and clocks jump."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate.lab.archive import generated_trace, load_trace
from tidegate.lab.bench.result import Benchmark, Row, machine, row
from tidegate.lab.replay import with_known_capacity
from tidegate.lab.soak import SoakResult, SoakSettings, joined, soak
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tidegate.model.trace import Trace

VMS: Final = 50
DAYS: Final = 14.0
STEP_SECONDS: Final = 300
MEMORY_GROWTH_LIMIT: Final = 64 * 2**20
"""After the first quarter; what is learned from is bounded, but fills up slowly on a small fleet."""


def bench_soak(
    paths: Sequence[Path], *, seed: int, progress: Callable[[str, int, int], None] = lambda *_: None
) -> Benchmark:
    """Soak the traces of these files, one after the other; a made-up one where there are none.

    Raises:
        InputError: a file is no trace, or they share no VM, step or resources.

    """
    trace = _trace(paths, seed)
    found = soak(trace, SoakSettings(seed=seed), lambda done: progress("ticks", done, trace.ticks))
    return Benchmark(
        area="soak", machine=machine(), seed=seed, rows=tuple(_rows(found)), notes=tuple(found.problems)
    )


def _trace(paths: Sequence[Path], seed: int) -> Trace:
    if not paths:
        return with_known_capacity(generated_trace(vms=VMS, days=DAYS, step_seconds=STEP_SECONDS, seed=seed))
    resources = (Resource.CPU, Resource.MEMORY)
    return joined([load_trace([path], resources=resources) for path in paths])


def _rows(found: SoakResult) -> list[Row]:
    state = found.state_bytes_per_series
    return [
        row("problems", len(found.problems), "", 0),
        row("state_bytes_per_series_start", state[0], "bytes"),
        row("state_bytes_per_series_end", state[-1], "bytes", state[0]),
        row("memory_growth_bytes", found.memory_growth_bytes, "bytes", MEMORY_GROWTH_LIMIT),
        row("samples", found.samples, ""),
        row("violation_ratio", found.violations / max(found.samples, 1), "ratio"),
        row("reserved_ratio", found.reserved_sum / max(found.samples, 1), "ratio"),
        row("drifts_noticed", found.drifts, ""),
        *(row(name, count, "") for name, count in found.happened.items()),
        row("seconds", found.seconds, "s"),
    ]
