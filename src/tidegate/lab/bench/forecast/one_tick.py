"""One tick of `tidegate` over a million workloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from tidegate.lab.bench.forecast.asked import Answer
from tidegate.lab.bench.tick import bench_tick

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.lab.bench.forecast.asked import Asked

WORKLOADS: Final = 1_000_000
SHOWN: Final = {"tick_seconds": "tick_seconds_1m", "tick_seconds_max": "tick_seconds_max_1m"}
"""Of the figures of `tidegate bench tick`, and what they are called here."""


def tick_answer(asked: Asked, progress: Callable[[str, int, int], None]) -> Answer:
    """Measure as `tidegate bench tick` does, with the same limit."""
    progress("a tick of a million workloads", 0, 1)
    measured = bench_tick([WORKLOADS], policy_name="tidegate", seed=asked.seed).rows
    return Answer(
        rows=tuple(
            msgspec.structs.replace(made, name=SHOWN[made.name]) for made in measured if made.name in SHOWN
        )
    )
