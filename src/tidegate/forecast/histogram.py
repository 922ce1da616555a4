"""Decaying histograms of use and their percentiles, as Kubernetes VPA and Google Autopilot keep them.

Both decay by giving later samples a weight 2^(t / half-life): nothing is multiplied down each tick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.histogram_percentile import PercentileHistograms
from tidegate.forecast.point import CERTAIN, of_one_model
from tidegate.forecast.windows import DAY_SECONDS, HOUR_SECONDS, Passed, maximum_present, slot_of, steps_in
from tidegate.model.columns import Column, Columns, part_of
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from tidegate.model.forecast import Forecast
    from tidegate.model.snapshot import Snapshot

VPA_RATIO: Final = 1.05
VPA_BUCKETS: Final = 176
VPA_CPU_FIRST: Final = 0.01
"""Cores in the first bucket; Kubernetes VPA, aggregations_config.go."""
VPA_MEMORY_FIRST: Final = 1e7
"""Bytes in the first bucket; same source."""
VPA_HALF_LIFE_SECONDS: Final = DAY_SECONDS
VPA_PERCENTILE: Final = 0.9
DECAY_EXPONENT_MAX: Final = 100
"""Weights are brought back to 1 when they pass 2^100, as VPA does; float32 goes to 2^128."""

_IN_CORES: Final = frozenset({Resource.CPU, Resource.GPU})


class VpaPercentile:
    """The VPA recommender's percentile: CPU from every sample, other resources from daily peaks.

    Buckets grow by 5 %; the percentile is the end of its bucket, without interpolation. Source:
    kubernetes/autoscaler, vertical-pod-autoscaler/pkg/recommender/{model,util}.
    """

    def __init__(self, *, resources: Sequence[Resource], lead_steps: int = 1) -> None:
        """Keep one histogram per series and the peak of the running day."""
        self._lead_steps = lead_steps
        self._sampled = np.array([resource is Resource.CPU for resource in resources])[:, None]
        first = [VPA_CPU_FIRST if resource in _IN_CORES else VPA_MEMORY_FIRST for resource in resources]
        self._first = np.array(first)[:, None]
        self._ends = self._first * (VPA_RATIO ** np.arange(1, VPA_BUCKETS + 1) - 1) / (VPA_RATIO - 1)
        self._ends[:, -1] = self._ends[:, -2]  # the last bucket has no end: VPA gives its start
        self._reference_seconds: int | None = None
        self._histograms = PercentileHistograms(
            buckets=VPA_BUCKETS, percentile=np.full(self._first.shape, VPA_PERCENTILE)
        )
        self._peaks = Columns(
            day=Column(dtype=np.int64, fill=-1),
            peak=Column(dtype=np.float32, fill=np.nan),
        )

    def observe(self, snapshot: Snapshot) -> None:
        """Add each sample, or replace the day's peak where a higher one came."""
        self._histograms.follow(snapshot)
        self._peaks.follow(snapshot)
        used = np.minimum(snapshot.used, snapshot.capacity)
        self._add(used, self._sampled & ~np.isnan(used), self._weight(snapshot.time_seconds))
        day = snapshot.time_seconds // DAY_SECONDS
        fresh = self._peaks["day"] != day
        peak = np.where(fresh, np.nan, self._peaks["peak"])
        higher = ~self._sampled & ~(used <= peak) & ~np.isnan(used)
        end = self._weight((day + 1) * DAY_SECONDS)
        self._add(peak, higher & ~np.isnan(peak), -end)
        self._add(used, higher, end)
        self._peaks["peak"] = np.where(higher, used, peak)
        self._peaks["day"] = np.full(fresh.shape, day)
        self._histograms.settle()

    def forecast(self, snapshot: Snapshot) -> Forecast:
        """Return the 90th percentile of past use; NaN for a series never seen."""
        end = np.take_along_axis(self._ends, self._histograms.bucket.astype(np.int64), axis=1)
        need = np.where(self._histograms.seen, end, np.nan).astype(np.float32)
        return of_one_model(
            snapshot, model="percentile", lead_steps=self._lead_steps, levels=CERTAIN, quantiles=need[None]
        )

    def _weight(self, time_seconds: int) -> float:
        if self._reference_seconds is None:
            self._reference_seconds = time_seconds
        exponent = (time_seconds - self._reference_seconds) / VPA_HALF_LIFE_SECONDS
        if exponent > DECAY_EXPONENT_MAX:
            self._histograms.scale(np.full(self._first.shape, 2.0**-exponent, dtype=np.float32))
            self._reference_seconds = time_seconds
            return 1.0
        return float(2.0**exponent)

    def _add(self, values: NDArray[np.float32], where: NDArray[np.bool_], weight: float) -> None:
        series = np.flatnonzero(where)
        first = self._first[series // where.shape[1], 0]
        scaled = values.reshape(-1)[series] * (VPA_RATIO - 1) / first + 1
        bucket = np.floor(np.log(scaled) / np.log(VPA_RATIO))
        bucket = np.clip(bucket, 0, VPA_BUCKETS - 1).astype(np.int16)
        self._histograms.add(series, bucket, np.full(series.shape, weight, dtype=np.float32))

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the histograms and the reference time of their weights."""
        reference = np.array(-1 if self._reference_seconds is None else self._reference_seconds)
        return self._histograms.state() | self._peaks.state() | {"reference_seconds": reference}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a saved state."""
        self._histograms.restore(state)
        self._peaks.restore(state)
        self._reference_seconds = _known(part_of(state, "reference_seconds"))


AUTOPILOT_BUCKETS: Final = 400
"""Linear buckets over the capacity: the paper says about 400 for CPU."""
AUTOPILOT_SHARES: Final = np.arange(1, AUTOPILOT_BUCKETS + 1) / AUTOPILOT_BUCKETS
"""Where the buckets end, in shares of the capacity."""
AUTOPILOT_HALF_LIFE_SECONDS: Final = {Resource.CPU: 12 * HOUR_SECONDS, Resource.MEMORY: 48 * HOUR_SECONDS}
AUTOPILOT_PERCENTILE: Final = {Resource.CPU: 0.95, Resource.MEMORY: 0.98}
AUTOPILOT_EXPONENT_MAX: Final = 60
"""Float32 weights times 400 buckets stay finite below 2^100; 60 leaves room."""


class AutopilotWindow:
    """Autopilot's moving-window recommender: a percentile of use weighted by the use itself.

    h[k] = b[k] x sum of 2^(-age / half-life); CPU p95 with 12 h, memory p98 with 48 h, others as CPU;
    then the highest recommendation of the last hour. Source: Rzadca et al., EuroSys 2020, section 3.2.
    """

    def __init__(self, *, resources: Sequence[Resource], step_seconds: int, lead_steps: int = 1) -> None:
        """Keep one histogram per series and an hour of recommendations."""
        self._lead_steps = lead_steps
        half_life = [AUTOPILOT_HALF_LIFE_SECONDS.get(r, 12 * HOUR_SECONDS) for r in resources]
        self._half_life = np.array(half_life, dtype=np.float64)[:, None]
        self._slots = steps_in(HOUR_SECONDS, step_seconds)
        self._passed = Passed(step_seconds, self._slots)
        self._reference_seconds: int | None = None
        percentile = np.array([AUTOPILOT_PERCENTILE.get(r, 0.95) for r in resources])[:, None]
        self._histograms = PercentileHistograms(buckets=AUTOPILOT_BUCKETS, percentile=percentile)
        self._memory = Columns(recommended=Column(dtype=np.float32, fill=np.nan, leading=(self._slots,)))

    def observe(self, snapshot: Snapshot) -> None:
        """Add each sample with its load-adjusted weight, then recommend."""
        self._histograms.follow(snapshot)
        self._memory.follow(snapshot)
        weight = self._weight(snapshot.time_seconds)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.minimum(snapshot.used / snapshot.capacity, 1)
        series = np.flatnonzero(~np.isnan(share))
        bucket = np.ceil(share.reshape(-1)[series] * AUTOPILOT_BUCKETS).astype(np.int16) - 1
        bucket = np.maximum(bucket, 0)
        added = (AUTOPILOT_SHARES * weight).astype(np.float32)
        self._histograms.add(series, bucket, added[series // share.shape[1], bucket])
        self._histograms.settle()
        slot = slot_of(snapshot.time_seconds, snapshot.step_seconds, self._slots)
        self._memory["recommended"][self._passed.lost(snapshot.time_seconds)] = np.nan
        self._memory["recommended"][slot] = self._recommend(snapshot)

    def forecast(self, snapshot: Snapshot) -> Forecast:
        """Return the highest recommendation of the last hour."""
        need = maximum_present(self._memory["recommended"])
        return of_one_model(
            snapshot, model="window", lead_steps=self._lead_steps, levels=CERTAIN, quantiles=need[None]
        )

    def _recommend(self, snapshot: Snapshot) -> NDArray[np.float32]:
        need = AUTOPILOT_SHARES[self._histograms.bucket] * snapshot.capacity
        return np.where(self._histograms.seen, need, np.nan).astype(np.float32)

    def _weight(self, time_seconds: int) -> NDArray[np.float64]:
        if self._reference_seconds is None:
            self._reference_seconds = time_seconds
        exponent = (time_seconds - self._reference_seconds) / self._half_life
        if exponent.max() > AUTOPILOT_EXPONENT_MAX:
            self._histograms.scale((2.0**-exponent).astype(np.float32))
            self._reference_seconds = time_seconds
            exponent = np.zeros_like(exponent)
        weight: NDArray[np.float64] = 2.0**exponent
        return weight

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the histograms, the reference time of their weights and the last sample's time."""
        reference = -1 if self._reference_seconds is None else self._reference_seconds
        times = {"reference_seconds": np.array(reference), "last_seconds": self._passed.state()}
        return self._histograms.state() | self._memory.state() | times

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a saved state."""
        self._histograms.restore(state)
        self._memory.restore(state)
        self._reference_seconds = _known(part_of(state, "reference_seconds"))
        self._passed.restore(part_of(state, "last_seconds"))


def _known(seconds: NDArray[Any]) -> int | None:
    """Return a saved time; None where there was none yet."""
    return None if int(seconds) < 0 else int(seconds)
