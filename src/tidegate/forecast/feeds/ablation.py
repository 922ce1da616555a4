"""Does a feed help? Forecasts with and without it, side by side over the past, by groups of series.

Each block of time is forecast with what was learned before it. A feed is on for a group where the loss it
saves is more than chance, in view of all feeds and groups that were looked at, and beyond what the feeds
that are on already save.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.feeds import correction, significance
from tidegate.forecast.feeds.alignment import features
from tidegate.forecast.feeds.samples import LARGEST_ERROR, MEDIAN, bucket_of, pinball
from tidegate.forecast.windows import DAY_SECONDS
from tidegate.model.feed import FeedKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tidegate.forecast.feeds.alignment import Features, Named
    from tidegate.forecast.feeds.correction import Coefficients
    from tidegate.forecast.feeds.samples import Samples
    from tidegate.forecast.feeds.significance import Judged
    from tidegate.model.panel import Panel

FEEDS_MAX: Final = 256
"""Named feeds that are looked at; more are left out, the first stay."""
USED_MAX: Final = 8
"""Feeds that may be on at once."""


GAIN_RATIO_MIN: Final = 0.002
"""What saves less of the loss is not worth waiting for a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedGain:
    """What a feed is worth to a group of series."""

    feed: str
    kind: FeedKind
    group: str
    gain_ratio: float
    """The share of the loss it saves, beside the feeds that are on already."""
    low: float
    high: float
    """The interval of ``gain_ratio``, in view of all that was looked at."""
    on: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Used:
    """A feed that is on for some groups, and how it shifts their paths."""

    name: str
    kind: FeedKind
    on: NDArray[np.bool_]
    """(groups,)."""
    coefficients: Coefficients


@dataclass(slots=True, kw_only=True, eq=False)
class Ablation:
    """The past of one panel, and what the feeds that are on have already made of it."""

    panel: Panel
    samples: Samples
    group: NDArray[np.int64]
    """(series,) the number of each one's group."""
    groups: tuple[str, ...]
    seed: int
    tested: NDArray[np.float32] = field(init=False)
    """(origins, leads, series) the shifts so far, each as learned before its block; shares of capacity."""
    learned: NDArray[np.float32] = field(init=False)
    """The same as learned in the end."""

    def __post_init__(self) -> None:
        """Start without any shift."""
        self.tested = np.zeros_like(self.samples.actual)
        self.learned = np.zeros_like(self.samples.actual)

    def run(self, named: Sequence[Named]) -> tuple[tuple[FeedGain, ...], tuple[Used, ...]]:
        """Return what each feed is worth to each group, and those to use, in the order they are added."""
        named = named[:FEEDS_MAX]
        if not named:
            return (), ()
        trials = [self._trial(one) for one in named]
        base = np.maximum(sum_by(self._loss().sum(axis=(0, 1)), self.group, len(self.groups)), 1e-12)
        gain, moved = (np.concatenate([trial[at] for trial in trials], axis=1) for at in (0, 1))
        judged = significance.judge(gain, moved, seed=self.seed)
        shape = (len(named), len(self.groups))
        low, value = judged.low.reshape(shape), judged.gain.reshape(shape)
        best = np.where(low > 0, value, 0).sum(axis=1)
        records = {
            at: self._records(one, judged, base, columns=slice(at * shape[1], (at + 1) * shape[1]))
            for at, one in enumerate(named)
        }
        used: list[Used] = []
        for at in np.argsort(-best, kind="stable"):
            if best[at] <= 0:
                break
            on, again = self._add(named[at], low[at] > 0, judged.level, base, room=len(used) < USED_MAX)
            records[at] = self._records(named[at], again, base, allowed=on)
            if on.any():
                used.append(self._learn(named[at], on))
        return tuple(record for at in range(len(named)) for record in records[at]), tuple(used)

    def _trial(self, named: Named) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
        """Return what a feed gains and moves, (blocks, groups) each, and the shifts of the tested blocks."""
        told = self._features(named)
        samples, groups = self.samples, len(self.groups)
        bucket = bucket_of(samples.leads, self.panel.step_seconds)
        shifts = np.zeros_like(samples.actual)
        sums = np.zeros(1)
        error = self._error(self.tested)
        for block in range(samples.blocks):
            new = samples.teaches_from == block
            sums = sums + correction.gram(
                told, samples.controls, error, chosen=new, bucket=bucket, group=self.group, groups=groups
            )
            here = np.flatnonzero(samples.tested_in == block)
            if here.size == 0:
                continue
            until = int(here[0])
            found = self._solved(named, sums, self._days(until))
            part = type(told)(values=told.values[here], known=told.known[here])
            shifts[here] = correction.shift(
                found, part, samples.controls[here], bucket=bucket, group=self.group
            )
        shifts = np.clip(shifts, -LARGEST_ERROR, LARGEST_ERROR) * samples.scale
        saved = self._loss() - self._loss(shifts)
        gain = np.zeros((samples.blocks, groups))
        moved = np.zeros((samples.blocks, groups))
        for block in range(samples.blocks):
            here = samples.tested_in == block
            gain[block] = sum_by(saved[here].sum(axis=(0, 1)), self.group, groups)
            distance = (np.abs(shifts[here]) / samples.scale).sum(axis=(0, 1))
            moved[block] = sum_by(distance, self.group, groups)
        return gain, moved, shifts

    def _add(
        self,
        named: Named,
        wanted: NDArray[np.bool_],
        level: float,
        base: NDArray[np.float64],
        *,
        room: bool,
    ) -> tuple[NDArray[np.bool_], Judged]:
        """Try a feed beside those that are on; where it still helps, it is on."""
        gain, moved, shifts = self._trial(named)
        judged = significance.judge(gain, moved, seed=self.seed, level=level)
        on = wanted & (judged.low > 0) & (judged.gain >= GAIN_RATIO_MIN * base) & room
        self.tested += np.where(on[self.group], shifts, 0)
        return on, judged

    def _learn(self, named: Named, on: NDArray[np.bool_]) -> Used:
        """Return the feed with what the whole past teaches of it."""
        told, samples = self._features(named), self.samples
        bucket = bucket_of(samples.leads, self.panel.step_seconds)
        error = self._error(self.learned)
        everything = np.ones(samples.teaches_from.shape, dtype=np.bool_)
        sums = correction.gram(
            told,
            samples.controls,
            error,
            chosen=everything,
            bucket=bucket,
            group=self.group,
            groups=len(self.groups),
        )
        found = self._solved(named, sums, self._days(samples.origins.size - 1))
        found = correction.Coefficients(
            of_feed=np.where(on[:, None, None], found.of_feed, np.float32(0)),
            of_controls=np.where(on[:, None, None], found.of_controls, np.float32(0)),
        )
        moved = correction.shift(found, told, samples.controls, bucket=bucket, group=self.group)
        self.learned += np.clip(moved, -LARGEST_ERROR, LARGEST_ERROR) * samples.scale
        return Used(name=named.name, kind=named.kind, on=on, coefficients=found)

    @staticmethod
    def _solved(named: Named, sums: NDArray[np.float64], days: float) -> Coefficients:
        return correction.solve(
            sums, days=days, doubt_days=named.doubt_days, is_event=named.kind is FeedKind.EVENT
        )

    def _features(self, named: Named) -> Features:
        samples = self.samples
        return features(
            named, self.panel, origins=samples.origins, leads=samples.leads, rest_day=samples.rest_day
        )

    def _error(self, shifts: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what is left of the errors after shifts, in units of scale."""
        samples = self.samples
        error = (samples.actual - samples.quantiles[MEDIAN] - shifts) / samples.scale
        return np.clip(error, -LARGEST_ERROR, LARGEST_ERROR)

    def _loss(self, more: NDArray[np.float32] | None = None) -> NDArray[np.float64]:
        """Return the loss of every tested sample after the shifts so far, and perhaps more; 0 elsewhere."""
        samples = self.samples
        shifts = self.tested if more is None else self.tested + more
        loss = pinball(np.clip(samples.quantiles + shifts, 0, 1), samples.actual)
        counts = ~np.isnan(loss) & (samples.tested_in >= 0)[:, None, None]
        return np.where(counts, loss, 0).astype(np.float64)

    def _days(self, origin: int) -> float:
        """Return how many days lie between the first origin and one of them."""
        steps = int(self.samples.origins[origin] - self.samples.origins[0])
        return steps * self.panel.step_seconds / DAY_SECONDS

    def _records(
        self,
        named: Named,
        judged: Judged,
        base: NDArray[np.float64],
        *,
        columns: slice = slice(None),
        allowed: NDArray[np.bool_] | None = None,
    ) -> list[FeedGain]:
        """Return the records of one feed; off where it isn't allowed."""
        gain, low, high = (part[columns] / base for part in (judged.gain, judged.low, judged.high))
        on = np.zeros(len(self.groups), dtype=np.bool_) if allowed is None else allowed
        return [
            FeedGain(
                feed=named.name,
                kind=named.kind,
                group=group,
                gain_ratio=float(gain[at]),
                low=float(low[at]),
                high=float(high[at]),
                on=bool(on[at]),
            )
            for at, group in enumerate(self.groups)
        ]


def sum_by(values: NDArray[np.float64], group: NDArray[np.int64], groups: int) -> NDArray[np.float64]:
    """Return the sums of values (series,) over each group."""
    return np.bincount(group, weights=values, minlength=groups).astype(np.float64)
