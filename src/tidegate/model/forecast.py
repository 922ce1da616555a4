"""What is coming and how sure we are: quantiles of the peak demand over the lead window."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.day_ahead import DayAhead


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServerForecast:
    """Quantiles of the peak of each server's *summed* offloadable demand over the scoring horizon."""

    levels: NDArray[np.float32]
    """(levels,) rising probabilities."""
    quantiles: NDArray[np.float32]
    """(levels, resources, places) in card units: what cards would have to give each server."""
    horizon_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exceedance:
    """How likely demand is to pass each of a ladder of amounts: the whole distribution, upside down.

    The amount of rung k is ``base + offsets[k] x scale``; ``probability[k]`` falls as k rises.
    """

    base: NDArray[np.float32]
    """(resources, workloads) base units."""
    offsets: NDArray[np.float32]
    """(rungs,) rising."""
    scale: NDArray[np.float32]
    """(resources, workloads) base units."""
    probability: NDArray[np.float32]
    """(rungs, resources, workloads) that the peak over the lead is above the rung."""
    acts: NDArray[np.bool_]
    """(resources, workloads) where the curve has earned the right to decide."""
    safe: NDArray[np.float32]
    """(resources, workloads) what the safe model would grant, base units; NaN before any sample."""
    at_once: NDArray[np.bool_] | None = None
    """(resources, workloads) where demand moves on a schedule, to be followed at once; None: nowhere."""


class Drift(IntEnum):
    """In what a series is no longer what it was; its forecaster's memory is shortened for a while."""

    NONE = 0
    LEVEL = 1
    VARIANCE = 2
    SEASON = 3

    @property
    def words(self) -> str:
        """The same words on every screen."""
        return _DRIFT_WORDS[self]


_DRIFT_WORDS = {
    Drift.NONE: "nothing changed",
    Drift.LEVEL: "level changed",
    Drift.VARIANCE: "variance changed",
    Drift.SEASON: "daily pattern changed",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drifts:
    """Which series have changed lately; frames are (resources, workloads)."""

    kind: NDArray[np.uint8]
    """A `Drift`, for as long as memory is short."""
    age_seconds: NDArray[np.float32]
    """How long ago the change began; 0 where there is none."""
    noticed: NDArray[np.bool_]
    """Where it was noticed at this very tick."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forecast:
    """One forecast for the whole fleet.

    Frames are (resources, workloads). A workload without a record yet is ``profiling``: its
    quantiles are still valid numbers, but the safe baseline decides for it.
    """

    time_seconds: int
    lead_seconds: int
    levels: NDArray[np.float32]
    """(levels,) rising probabilities, each in (0, 1)."""
    quantiles: NDArray[np.float32]
    """(levels, resources, workloads) peak demand over the lead, base units, rising with the level."""
    models: tuple[str, ...]
    """Names of the candidate models."""
    model: NDArray[np.uint8]
    """Which of ``models`` speaks for each series."""
    skill: NDArray[np.float32]
    """1 - loss / loss of the plain baseline; above 0 is better. NaN until measured."""
    coverage: NDArray[np.float32]
    """Share of past peaks that stayed below what the forecaster's own model said at the workload's SLA
    level, whoever acted. NaN until measured."""
    profiling: NDArray[np.bool_]
    """Where too little has been seen for the forecast to act."""
    exceedance: Exceedance | None = None
    """The whole curve, from models that know it."""
    servers: ServerForecast | None = None
    drift: Drifts | None = None
    """Which series changed lately, from forecasters that look for it."""
    day: DayAhead | None = None
    """What the coming day looks like, from forecasters that look so far."""

    def at_level(self, level: float) -> NDArray[np.float32]:
        """Return the quantile (resources, workloads) at a probability, linear between levels."""
        return between_levels(self.levels, self.quantiles, level)


def between_levels(
    levels: NDArray[np.float32], quantiles: NDArray[np.float32], level: float
) -> NDArray[np.float32]:
    """Interpolate quantiles (levels, ...) at one probability; held flat outside the known levels."""
    above = int(np.clip(np.searchsorted(levels, level), 1, levels.size - 1)) if levels.size > 1 else 0
    if above == 0:
        return quantiles[0]
    low, high = float(levels[above - 1]), float(levels[above])
    weight = np.float32(np.clip((level - low) / (high - low), 0.0, 1.0))
    blend: NDArray[np.float32] = (1 - weight) * quantiles[above - 1] + weight * quantiles[above]
    return blend


def acting(forecast: Forecast) -> NDArray[np.bool_]:
    """Return where the forecast has earned the right to decide: (resources, workloads)."""
    if forecast.exceedance is not None:
        return forecast.exceedance.acts
    return np.zeros(forecast.model.shape, dtype=np.bool_)


def no_forecast(time_seconds: int, lead_seconds: int, resources: int, workloads: int) -> Forecast:
    """Return the forecast of someone who does not forecast: everything unknown, nothing acts."""
    shape = (resources, workloads)
    return Forecast(
        time_seconds=time_seconds,
        lead_seconds=lead_seconds,
        levels=np.array([0.5], dtype=np.float32),
        quantiles=np.full((1, *shape), np.nan, dtype=np.float32),
        models=("none",),
        model=np.zeros(shape, dtype=np.uint8),
        skill=np.full(shape, np.nan, dtype=np.float32),
        coverage=np.full(shape, np.nan, dtype=np.float32),
        profiling=np.ones(shape, dtype=np.bool_),
    )
