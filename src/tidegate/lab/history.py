"""What a few workloads went through in a replay: use, grant and forecast band, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tidegate.lab.measures import Tally
    from tidegate.model.tick import Tick
    from tidegate.model.trace import Trace

BAND_LEVELS = (0.5, 0.99)
"""Lower and upper probability of the forecast band."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exemplar:
    """One workload and resource over the whole trace; arrays (ticks,), base units."""

    kind: str
    """``best``, ``median`` or ``worst`` by share of samples that ran short, then by slack."""
    vm: str
    resource_row: int
    violation_ratio: float
    demand: NDArray[np.float32]
    capacity: NDArray[np.float32]
    grant: NDArray[np.float32]
    band: NDArray[np.float32]
    """(2, ticks): what was forecast for each tick the tick before, at the band's levels."""


class History:
    """Everything of a run, tick by tick, until its exemplars are known."""

    def __init__(self, trace: Trace) -> None:
        """Make room for the grants and bands of the whole trace."""
        self._trace = trace
        shape = trace.used.shape
        self._grant = np.full((shape[1], shape[0], shape[2]), np.nan, dtype=np.float32)
        self._band = np.full((shape[1], len(BAND_LEVELS), shape[0], shape[2]), np.nan, dtype=np.float32)
        self.exemplars: tuple[Exemplar, ...] = ()

    def add(self, number: int, tick: Tick) -> None:
        """Note the grant that held in this step and the band forecast for the next."""
        self._grant[number] = tick.snapshot.held
        if number + 1 < self._band.shape[0]:
            for at, level in enumerate(BAND_LEVELS):
                self._band[number + 1, at] = tick.forecast.at_level(level)

    def of_exemplars(self, tally: Tally) -> History:
        """Return the history of the best, median and worst workload of each resource alone."""
        kept = History.__new__(History)
        kept.exemplars = tuple(
            self._exemplar(kind, row, column, tally)
            for row in range(len(self._trace.resources))
            for kind, column in _best_median_worst(row, tally)
        )
        return kept

    def _exemplar(self, kind: str, row: int, column: int, tally: Tally) -> Exemplar:
        return Exemplar(
            kind=kind,
            vm=self._trace.vms[column],
            resource_row=row,
            violation_ratio=float(tally.violation_ratios(row)[column]),
            demand=self._trace.used[row, :, column],
            capacity=self._trace.capacity[row, :, column],
            grant=self._grant[:, row, column],
            band=self._band[:, :, row, column].T.copy(),
        )


def _best_median_worst(row: int, tally: Tally) -> Sequence[tuple[str, int]]:
    """Return (kind, workload) ordered by violations; ties by reserved share, the lower the better."""
    with np.errstate(invalid="ignore", divide="ignore"):
        reserved = tally.reserved[row] / tally.capacity[row]
    seen = np.flatnonzero(tally.samples[row])
    ranked = seen[np.lexsort((reserved[seen], tally.violation_ratios(row)[seen]))]
    picks = {"best": ranked[0], "median": ranked[ranked.size // 2], "worst": ranked[-1]}
    return [(kind, int(column)) for kind, column in picks.items()]
