"""Rows drawn at random from past origins of a panel, for models that learn from many series at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.windows import DAY_SECONDS, HOUR_SECONDS, steps_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.forecast.paths.outlook import Outlook


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What is drawn, and how much it counts."""

    within_hour_ratio: float = 0.4
    """Share of rows that look no further than an hour: decisions are made there."""
    own_scale_weight: float = 0.3
    """How much a share of its own day-to-day swing counts for each series, beside a share of capacity: large
    errors are what is reserved, and a small VM's own errors are what it feels."""


MIX: Final = Mix()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """Forecasts to learn from; (rows,) each."""

    origin: NDArray[np.intp]
    """By number in the outlook."""
    ahead: NDArray[np.intp]
    """Steps, at least 1."""
    series: NDArray[np.intp]
    came: NDArray[np.float32]
    """What came, 0 where unknown."""
    weight: NDArray[np.float32]
    """How much each counts; 0 where what came is unknown."""


class Draws:
    """Draws from an outlook over its own panel.

    ``came`` (steps, series) is what came, NaN where missing; if it ends before the panel does, nothing later
    is learned from.
    """

    def __init__(
        self,
        outlook: Outlook,
        came: NDArray[np.float32],
        *,
        horizon_steps: int,
        random: np.random.Generator,
        mix: Mix = MIX,
    ) -> None:
        """Weigh the series."""
        self._outlook, self._came, self._random, self._mix = outlook, came, random, mix
        self._horizon_steps = horizon_steps
        self._usable = int(np.searchsorted(outlook.origins, came.shape[0]))
        self._hour = min(steps_in(HOUR_SECONDS, outlook.step_seconds), horizon_steps)
        day = steps_in(DAY_SECONDS, outlook.step_seconds)
        self._weight = weights_of(came, day, mix.own_scale_weight)

    def draw(self, rows: int) -> Drawn:
        """Draw so many rows, with replacement."""
        random = self._random
        near = random.random(rows) < self._mix.within_hour_ratio
        within_hour = random.integers(1, self._hour + 1, rows)
        ahead = np.where(near, within_hour, random.integers(1, self._horizon_steps + 1, rows))
        origin = random.integers(0, self._usable, rows)
        series = random.integers(0, self._came.shape[1], rows)
        return self.given(origin, ahead, series)

    def given(self, origin: NDArray[np.intp], ahead: NDArray[np.intp], series: NDArray[np.intp]) -> Drawn:
        """Return what came of the forecasts asked for, and how much each counts."""
        steps = self._came.shape[0]
        at = self._outlook.origins[origin] - 1 + ahead
        value = self._came[np.minimum(at, steps - 1), series]
        known = (at < steps) & ~np.isnan(value)
        return Drawn(
            origin=origin,
            ahead=ahead,
            series=series,
            came=np.where(known, value, np.float32(0)),
            weight=np.where(known, self._weight[series], np.float32(0)),
        )


def weights_of(came: NDArray[np.float32], day: int, own_scale_weight: float) -> NDArray[np.float32]:
    """Return how much each series counts (series,): alike in shares of capacity, and by its own swing."""
    known = ~np.isnan(came)
    mean = np.where(known, came, 0).sum() / max(int(known.sum()), 1)
    swing = np.abs(came[day:] - came[:-day]) if came.shape[0] > day else np.zeros_like(came)
    seen = (~np.isnan(swing)).sum(axis=0)
    own = np.where(np.isnan(swing), 0, swing).sum(axis=0) / np.maximum(seen, 1)
    weight = 1 / max(mean, 1e-4) + own_scale_weight / np.maximum(own, 0.003)
    return (weight / weight.mean()).astype(np.float32)
