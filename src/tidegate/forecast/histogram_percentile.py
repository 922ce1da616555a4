"""Histograms of which one percentile is always known: a sample moves it by a few buckets, if at all.

Beside the weights stand, per series, the percentile's bucket and the weight below it, up to it and in all.
A sample changes these by its own weight, and only where the percentile has left its bucket are further
buckets read: nothing is summed over whole histograms at every tick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.columns import Column, Columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from numpy.typing import NDArray

    from tidegate.model.snapshot import Snapshot

CHUNK_SERIES: Final = 4096
"""Series worked on together: what one step leaves for the next is still in a processor's second cache."""


def chunks(series: int) -> Iterator[slice]:
    """Return slices that cover so many series in order."""
    for start in range(0, series, CHUNK_SERIES):
        yield slice(start, min(start + CHUNK_SERIES, series))


class PercentileHistograms:
    """One histogram per series, and the first bucket at which its cumulated weight reaches a percentile.

    Weights are float32, their sums float64. Sums follow the weights and are not taken anew at every tick:
    later samples weigh more, so a rounding error (2^-53 of the total of its time) fades as its time does,
    and a million of them in each half-life stay below 2^-32 of the total. `scale` and `restore` sum anew.
    Series are numbered resource by resource: resource x workloads + workload.
    """

    def __init__(self, *, buckets: int, percentile: NDArray[np.float64]) -> None:
        """``percentile`` is (resources, 1), above 0 and below 1."""
        self._last = buckets - 1
        self._percentile = percentile
        self._memory = Columns(weights=Column(dtype=np.float32, fill=0.0, leading=(buckets,)))
        self._sums = Columns(
            bucket=Column(dtype=np.int16, fill=0),
            below=Column(dtype=np.float64, fill=0.0),
            upto=Column(dtype=np.float64, fill=0.0),
            total=Column(dtype=np.float64, fill=0.0),
        )

    @property
    def bucket(self) -> NDArray[np.int16]:
        """The percentile's bucket (resources, workloads); 0 where nothing was seen."""
        return self._sums["bucket"]

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Whether there is any weight (resources, workloads)."""
        return self._sums["total"] > 0

    def follow(self, snapshot: Snapshot) -> None:
        """Bring the histograms in step with the snapshot's roster; newcomers' are empty."""
        self._memory.follow(snapshot)
        self._sums.follow(snapshot)

    def add(self, series: NDArray[np.int64], bucket: NDArray[np.int16], weight: NDArray[np.float32]) -> None:
        """Add a weight to one bucket of each of these series, none of them twice; then call `settle`.

        A negative weight takes away the last one added.
        """
        for part in chunks(series.size):
            self._add(series[part], bucket[part], weight[part])

    def _add(self, series: NDArray[np.int64], bucket: NDArray[np.int16], weight: NDArray[np.float32]) -> None:
        at = self._place(series, bucket)
        weights = self._flat_weights()
        before = weights.take(at)
        weights[at] = after = before + weight
        change = np.subtract(after, before, dtype=np.float64)
        held, below, upto, total = self._flat_sums()
        percentile = held[series]
        total[series] += change
        upto[series] += change * (bucket <= percentile)
        below[series] += change * (bucket < percentile)

    def settle(self) -> None:
        """Move each percentile's bucket to where the weights added have pulled it."""
        held, below, upto, total = self._flat_sums()
        lower, higher = [], []
        reached = (self._percentile * self._sums["total"]).reshape(-1)
        for part in chunks(total.size):
            down = (below[part] >= reached[part]) & (held[part] > 0)
            up = (upto[part] < reached[part]) & (held[part] < self._last)
            lower.append(np.flatnonzero(down) + part.start)
            higher.append(np.flatnonzero(up) + part.start)
        if lower:
            self._go_down(np.concatenate(lower), reached)
            self._go_up(np.concatenate(higher), reached)

    def _go_down(self, series: NDArray[np.int64], reached: NDArray[np.float64]) -> None:
        """Take those one bucket lower that are not there yet: at most as often as there are buckets."""
        held, below, upto, total = self._flat_sums()
        at, under, wanted = self._place(series, held[series]), below[series], reached[series]
        while series.size:
            at -= total.size
            up = under
            under = up - self._flat_weights().take(at)
            going = (under >= wanted) & (at >= total.size)
            there = series[~going]
            held[there] = at[~going] // total.size
            below[there], upto[there] = under[~going], up[~going]
            series, at, under, wanted = series[going], at[going], under[going], wanted[going]

    def _go_up(self, series: NDArray[np.int64], reached: NDArray[np.float64]) -> None:
        """Take those one bucket higher that are not there yet."""
        held, below, upto, total = self._flat_sums()
        at, up, wanted = self._place(series, held[series]), upto[series], reached[series]
        while series.size:
            at += total.size
            under = up
            up = under + self._flat_weights().take(at)
            going = (up < wanted) & (at < self._last * total.size)
            there = series[~going]
            held[there] = at[~going] // total.size
            below[there], upto[there] = under[~going], up[~going]
            series, at, up, wanted = series[going], at[going], up[going], wanted[going]

    def _place(self, series: NDArray[np.int64], bucket: NDArray[np.int16]) -> NDArray[np.int64]:
        """Return where the weights of one bucket of each series stand among all."""
        at = bucket.astype(np.int64)
        at *= self._sums["total"].size
        at += series
        return at

    def _flat_weights(self) -> NDArray[np.float32]:
        return self._memory["weights"].reshape(-1)

    def _flat_sums(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        held, below, upto, total = (
            self._sums[name].reshape(-1) for name in ("bucket", "below", "upto", "total")
        )
        return held, below, upto, total

    def scale(self, factor: NDArray[np.float32]) -> None:
        """Multiply all weights by a factor per resource (resources, 1): rare, and as dear as it looks."""
        self._memory["weights"][:] *= factor
        self._sum_anew()

    def _sum_anew(self) -> None:
        weights = self._memory["weights"]
        sums = {name: np.empty(weights.shape[1:]) for name in ("bucket", "below", "upto", "total")}
        for part in chunks(weights.shape[-1]):
            cumulated = np.cumsum(weights[..., part], axis=0, dtype=np.float64)
            bucket = (cumulated >= self._percentile * cumulated[-1]).argmax(axis=0)
            upto = np.take_along_axis(cumulated, bucket[None], axis=0)[0]
            before = np.take_along_axis(cumulated, np.maximum(bucket - 1, 0)[None], axis=0)[0]
            sums["bucket"][:, part] = bucket
            sums["below"][:, part] = np.where(bucket > 0, before, 0)
            sums["upto"][:, part] = upto
            sums["total"][:, part] = cumulated[-1]
        self._sums.restore({"ids": self._memory.ids} | sums)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the weights; their sums follow from them."""
        return self._memory.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a saved state.

        Raises:
            InputError: the weights are missing or have another number of buckets.

        """
        self._memory.restore(state)
        if "weights" not in state:
            self._sums.restore({"ids": self._memory.ids})
            return
        self._memory["weights"] = np.ascontiguousarray(self._memory["weights"])
        self._sum_anew()
