"""One VM's history made ready to be drawn: people's units, marks where it ran short, thinned if long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.resources import Resource
from tidegate.model.snapshot import VIOLATION_TOLERANCE_RATIO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.lab.history import Exemplar
    from tidegate.lab.replay import ReplaySettings
    from tidegate.model.trace import Trace

POINTS_MAX: Final = 20_000
"""Points of one line; a browser draws thirty such lines without a pause."""
HEADROOM: Final = 1.15
"""Room above the highest point, and for a word above the line of the capacity."""
CAPACITY_IN_VIEW: Final = 1.6
"""Capacity is inside the chart unless it would press the rest into less than about 60 % of it."""
CHART_UNITS: Final[Mapping[Resource, tuple[float, str]]] = {
    Resource.CPU: (1.0, "cores"),
    Resource.MEMORY: (2.0**-30, "GiB"),
    Resource.GPU: (100.0, "% of one GPU"),
    Resource.NETWORK: (2.0**-20, "MiB/s"),
    Resource.STORAGE: (2.0**-20, "MiB/s"),
}
"""Factor from the base unit, and its name."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VmSeries:
    """What a chart of one VM and resource draws; arrays (points,), float32, in ``unit``."""

    unit: str
    start_seconds: int
    point_seconds: float
    """Distance of two points: the trace's step unless thinned."""
    samples_per_pair: int
    """1, or how many samples two drawn points stand for."""
    measured_from_seconds: int
    used: NDArray[np.float32]
    grant: NDArray[np.float32]
    capacity: NDArray[np.float32]
    band: NDArray[np.float32]
    """(2, points)."""
    short_seconds: NDArray[np.int64]
    """Times of the samples that ran short, after the warm-up; of a thinned chart the worst of each pair."""
    short_used: NDArray[np.float32]
    short_by: NDArray[np.float32]
    used_ratio: float
    """Share of capacity used after the warm-up."""
    reserved_ratio: float
    samples: int
    view_max: float | None
    """Upper end of the chart; None where there is nothing to see."""

    @property
    def end_seconds(self) -> int:
        """When the last sample's step ends."""
        return self.start_seconds + round(self.used.size * self.point_seconds)

    @property
    def capacity_in_view(self) -> bool:
        """Whether the highest capacity is inside the chart."""
        return self.view_max is None or not np.nanmax(self.capacity, initial=0) > self.view_max


def series_of(exemplar: Exemplar, trace: Trace, settings: ReplaySettings) -> VmSeries:
    """Prepare one exemplar."""
    factor, unit = CHART_UNITS[trace.resources[exemplar.resource_row]]
    used, grant, capacity, band = (
        values.astype(np.float64) * factor
        for values in (exemplar.demand, exemplar.grant, exemplar.capacity, exemplar.band)
    )
    grant = np.where(np.isnan(capacity), grant, np.minimum(grant, capacity))
    warmup = min(settings.warmup_seconds // trace.step_seconds, used.size)
    present = ~np.isnan(used) & ~np.isnan(grant)
    present[:warmup] = False
    short_by = np.where(present, used - grant, 0)
    short = present & (short_by > VIOLATION_TOLERANCE_RATIO * np.nan_to_num(capacity))
    per = _samples_per_pair(used.size)
    marks = _worst_of_each(short_by, short, per)
    whole = float(capacity[present].sum())
    return VmSeries(
        unit=unit,
        start_seconds=trace.start_seconds,
        point_seconds=trace.step_seconds * (per / 2 if per > 1 else 1),
        samples_per_pair=per,
        measured_from_seconds=trace.start_seconds + warmup * trace.step_seconds,
        used=thinned(used, per),
        grant=thinned(grant, per),
        capacity=thinned(capacity, per),
        band=np.stack([thinned(level, per) for level in band]),
        short_seconds=trace.start_seconds + marks * trace.step_seconds,
        short_used=used[marks].astype(np.float32),
        short_by=short_by[marks].astype(np.float32),
        used_ratio=float(used[present].sum()) / whole if whole else np.nan,
        reserved_ratio=float(grant[present].sum()) / whole if whole else np.nan,
        samples=int(present.sum()),
        view_max=_view_max(np.stack([used, grant, *band])[:, warmup:], capacity[warmup:]),
    )


def thinned(values: NDArray[np.float64], per: int) -> NDArray[np.float32]:
    """Return the least and the greatest of every ``per`` samples in their order; all where ``per`` is 1."""
    if per == 1:
        return values.astype(np.float32)
    groups = np.full((-(-values.size // per), per), np.nan)
    groups.flat[: values.size] = values
    missing = np.isnan(groups)
    least_first = np.where(missing, np.inf, groups).argmin(axis=1) <= np.where(
        missing, -np.inf, groups
    ).argmax(axis=1)
    least, greatest = np.fmin.reduce(groups, axis=1), np.fmax.reduce(groups, axis=1)
    pairs = np.stack([np.where(least_first, least, greatest), np.where(least_first, greatest, least)], axis=1)
    return pairs.ravel().astype(np.float32)


def _samples_per_pair(samples: int) -> int:
    return 1 if samples <= POINTS_MAX else -(-samples // (POINTS_MAX // 2))


def _worst_of_each(short_by: NDArray[np.float64], short: NDArray[np.bool_], per: int) -> NDArray[np.int64]:
    """Return where it ran short; of each ``per`` samples the worst alone."""
    at = np.flatnonzero(short)
    if per == 1 or not at.size:
        return at
    ranked = at[np.lexsort((-short_by[at], at // per))]
    return ranked[np.unique(ranked // per, return_index=True)[1]]


def _view_max(drawn: NDArray[np.float64], capacity: NDArray[np.float64]) -> float | None:
    """Return the upper end of a chart that shows what happened after the warm-up."""
    highest = float(np.nanmax(drawn, initial=0))
    ceiling = float(np.nanmax(capacity, initial=0))
    if ceiling:
        highest = ceiling if highest * CAPACITY_IN_VIEW >= ceiling else highest
    return highest * HEADROOM if highest > 0 else None
