"""What living costs and what it is worth: the journal, its answers, the league, kills, and a real load."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.lab.bench.live.cost import journal_rows, shadow_rows
from tidegate.lab.bench.live.explained import explain_rows
from tidegate.lab.bench.live.kills import kill_rows
from tidegate.lab.bench.live.throttling import throttling_rows
from tidegate.lab.bench.result import Benchmark, machine

if TYPE_CHECKING:
    from collections.abc import Callable


def bench_live(*, seed: int, progress: Callable[[str, int, int], None]) -> Benchmark:
    """Measure everything live; ``progress`` is told what is done, how much of it, and of how much."""
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as made:
        folder = Path(made)
        rows = [
            *kill_rows(folder / "kills", seed=seed, progress=progress),
            *journal_rows(folder / "cost.db", seed=seed, progress=progress),
            *shadow_rows(seed=seed, progress=progress),
            *explain_rows(folder / "day.db", seed=seed, progress=progress),
            *throttling_rows(folder, seed=seed, progress=progress),
        ]
    return Benchmark(area="live", machine=machine(), seed=seed, rows=tuple(rows))


__all__ = ["bench_live"]
