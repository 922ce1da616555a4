"""What the network learns from: samples of the fleet's past features and the peaks that followed.

Every five minutes, or every step where that is longer, a bounded number of series is drawn; once their
lead window is over, features and peak go into a bounded pool, the oldest out first, from which batches
are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.forecast.engine.features import COUNT, LAST
from tidegate.forecast.engine.network import bin_of
from tidegate.model.columns import part_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.forecast.engine.past import Sample

DRAWN_MAX: Final = 512
"""Series drawn at a time: the cost of learning does not grow with the fleet."""
POOL_LESSONS_MAX: Final = 400_000
"""About three days of a small fleet's lessons; 30 MB in half precision."""
BATCH: Final = 1024
EARLY_DRAWS: Final = 2016
"""The first week, at a draw every five minutes: three batches a draw, then one."""
EARLY_BATCHES: Final = 3
EARLY_RATE: Final = 3e-3
RATE: Final = 7e-4


@dataclass(slots=True, eq=False)
class Open:
    """Series drawn at one tick, whose lead window is not over yet."""

    rows: NDArray[np.int64]
    features: NDArray[np.float32]
    """(inputs, drawn)."""
    peak: NDArray[np.float32]
    """(drawn,) highest share since; NaN until a sample came."""
    censored: NDArray[np.bool_]
    """(drawn,) whether that peak was cut off."""
    steps: int = 0


class Pool:
    """A ring of finished lessons of one resource, and those still open."""

    def __init__(self, lead_steps: int, lessons_max: int = POOL_LESSONS_MAX) -> None:
        """Start with nothing learned."""
        self._lead_steps = lead_steps
        self._features = np.zeros((lessons_max, COUNT), dtype=np.float16)
        self._bins = np.zeros(lessons_max, dtype=np.int16)
        self._censored = np.zeros(lessons_max, dtype=np.bool_)
        self._taken = 0
        self._open: list[Open] = []

    def __len__(self) -> int:
        """Return how many lessons can be drawn from."""
        return min(self._taken, self._bins.size)

    def draw(self, rows: NDArray[np.int64], features: NDArray[np.float32]) -> None:
        """Open a lesson on the features of some series (inputs, drawn) as they stand now."""
        unknown = np.full(rows.size, np.nan, dtype=np.float32)
        self._open.append(Open(rows, features, unknown, np.zeros(rows.size, dtype=np.bool_)))

    def observe(self, sample: Sample) -> None:
        """Show the samples of all series to the open lessons, and close those whose time is over."""
        for lesson in self._open:
            lesson.steps += 1
            self._look(lesson, sample.share[lesson.rows], sample.censored[lesson.rows])
        if self._open and self._open[0].steps > self._lead_steps:
            self._close(self._open.pop(0))

    def follow(self, moved: NDArray[np.int64]) -> None:
        """Let open lessons follow their series to new rows: ``moved`` (old rows,), -1 for who is gone."""
        for lesson in self._open:
            rows = moved[lesson.rows]
            stays = rows >= 0
            lesson.rows, lesson.features = rows[stays], lesson.features[:, stays]
            lesson.peak, lesson.censored = lesson.peak[stays], lesson.censored[stays]

    def batch(self, random: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return features (inputs, batch), bins and censored flags drawn with replacement."""
        at = random.integers(0, len(self), BATCH)
        return self._features[at].astype(np.float32).T, self._bins[at].astype(np.int64), self._censored[at]

    def _look(self, lesson: Open, share: NDArray[np.float32], censored: NDArray[np.bool_]) -> None:
        """Raise the peak; the step after the window only tells how high a cut-off peak went."""
        if lesson.steps > self._lead_steps:
            share = np.where(lesson.censored & ~censored, share, np.float32(np.nan))
        higher = ~np.isnan(share) & ~(share <= lesson.peak)
        lesson.peak = np.where(higher, share, lesson.peak)
        lesson.censored = np.where(higher, censored, lesson.censored)

    def _close(self, lesson: Open) -> None:
        known = ~np.isnan(lesson.peak)
        features = lesson.features[:, known]
        count = features.shape[1]
        at = (self._taken + np.arange(count)) % self._bins.size
        self._features[at] = features.T
        self._bins[at] = bin_of(lesson.peak[known] - features[LAST])
        self._censored[at] = lesson.censored[known]
        self._taken += count

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the finished and the open lessons, by name."""
        kept = len(self)
        named: dict[str, NDArray[Any]] = {
            "pool.features": self._features[:kept].copy(),
            "pool.bins": self._bins[:kept].copy(),
            "pool.censored": self._censored[:kept].copy(),
            "pool.taken": np.array(self._taken),
            "open.steps": np.array([lesson.steps for lesson in self._open], dtype=np.int64),
        }
        for at, lesson in enumerate(self._open):
            for name in ("rows", "features", "peak", "censored"):
                named[f"open.{at}.{name}"] = getattr(lesson, name).copy()
        return named

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        kept = part_of(state, "pool.bins").size
        self._features[:kept] = part_of(state, "pool.features")
        self._bins[:kept] = part_of(state, "pool.bins")
        self._censored[:kept] = part_of(state, "pool.censored")
        self._taken = int(part_of(state, "pool.taken"))
        self._open = [
            _reopened(state, at, int(steps)) for at, steps in enumerate(part_of(state, "open.steps"))
        ]


def _reopened(state: Mapping[str, NDArray[Any]], at: int, steps: int) -> Open:
    return Open(
        rows=np.array(part_of(state, f"open.{at}.rows")),
        features=np.array(part_of(state, f"open.{at}.features")),
        peak=np.array(part_of(state, f"open.{at}.peak")),
        censored=np.array(part_of(state, f"open.{at}.censored")),
        steps=steps,
    )


def schedule(draws: int) -> tuple[int, float]:
    """Return how many batches to learn after so many draws and at which rate: much and fast at first."""
    if draws >= EARLY_DRAWS:
        return 1, RATE
    return EARLY_BATCHES, EARLY_RATE * (1 - draws / EARLY_DRAWS) + RATE
