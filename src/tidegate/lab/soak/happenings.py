"""What happens to a fleet during a soak, drawn once from a seed: bounded per VM and month."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MONTH_SECONDS: Final = 30 * 86_400
GAPS: Final = 3
"""Per VM and month: samples stay away for up to half a day."""
RESETS: Final = 3
"""Per VM and month: a counter starts anew, and telemetry reads zero for a few samples."""
RESIZES: Final = 1
"""Per VM and month: what it was sold changes by one of `SIZES`."""
SIZES: Final = (0.2, 0.5, 2.0, 5.0)
RENAMES: Final = 0.5
"""Per VM and month: it goes on under another identifier and name."""
LEAVES: Final = 0.7
"""Per VM and month: it goes, and comes back within a few days."""
OUTAGES: Final = 2
"""Per month: no sample from anyone for hours; and as many times there is no workload at all for a tick."""
JUMPS_SECONDS: Final = (3_600, -1_800, 7_000, -86_400, 8 * 86_400, -10_000, 299, -299)
"""How far the clock jumps, one after the other, spread over the soak."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Happenings:
    """By tick and VM."""

    away: NDArray[np.bool_]
    """(ticks, vms) not in the roster."""
    missing: NDArray[np.bool_]
    """(ticks, vms) no sample."""
    zero: NDArray[np.bool_]
    """(ticks, vms) telemetry reads zero."""
    size: NDArray[np.float32]
    """(ticks, vms) times what the trace says it was sold."""
    generation: NDArray[np.int64]
    """(ticks, vms) how many identifiers it had before."""
    clock_seconds: NDArray[np.int64]
    """(ticks,) how far the clock is off the trace's."""

    def counts(self) -> dict[str, int]:
        """Return how often each thing happened."""
        return {
            "departures": _begins(self.away),
            "gaps": _begins(self.missing),
            "resets": _begins(self.zero),
            "resizes": int((np.diff(self.size, axis=0) != 0).sum()),
            "renames": int((np.diff(self.generation, axis=0) != 0).sum()),
            "clock_jumps": int((np.diff(self.clock_seconds) != 0).sum()),
        }


def drawn(ticks: int, vms: int, step_seconds: int, seed: int) -> Happenings:
    """Return what happens in so many ticks."""
    random = np.random.default_rng(seed)
    months = ticks * step_seconds / MONTH_SECONDS
    shape = ticks, vms
    hour = max(1, round(3_600 / step_seconds))

    def spans(per_month: float, longest: int) -> NDArray[np.bool_]:
        marked = np.zeros(shape, dtype=np.bool_)
        for vm in range(vms):
            for start in random.integers(1, ticks, random.poisson(per_month * months)):
                marked[start : start + random.integers(1, longest + 1), vm] = True
        return marked

    def steps(per_month: float) -> NDArray[np.int64]:
        counted = np.zeros(shape, dtype=np.int64)
        for vm in range(vms):
            for start in random.integers(1, ticks, random.poisson(per_month * months)):
                counted[start:, vm] += 1
        return counted

    away, missing = spans(LEAVES, 72 * hour), spans(GAPS, 12 * hour)
    zero, resized, generation = spans(RESETS, 3), steps(RESIZES), steps(RENAMES)
    for start in random.integers(1, ticks, max(1, round(OUTAGES * months))):
        missing[start : start + random.integers(1, 6 * hour + 1)] = True
    away[random.integers(1, ticks, max(1, round(OUTAGES * months)))] = True
    # Half of those who come back are others, as far as anyone can tell.
    back = np.zeros(shape, dtype=np.int64)
    back[1:] = (away[:-1] & ~away[1:]) & (random.random((ticks - 1, vms)) < 0.5)
    generation += back.cumsum(axis=0)
    sizes = np.concatenate([np.ones((1, vms)), random.choice(SIZES, (int(resized.max()) + 1, vms))])
    size = np.take_along_axis(sizes, resized, axis=0).astype(np.float32)
    clock = np.zeros(ticks, dtype=np.int64)
    for at, jump in zip(np.linspace(0, ticks, len(JUMPS_SECONDS) + 2)[1:-1], JUMPS_SECONDS, strict=True):
        clock[round(at) :] += jump
    return Happenings(
        away=away, missing=missing, zero=zero, size=size, generation=generation, clock_seconds=clock
    )


def _begins(marked: NDArray[np.bool_]) -> int:
    return int((marked[1:] & ~marked[:-1]).sum())
