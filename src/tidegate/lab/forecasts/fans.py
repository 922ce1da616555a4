"""Fans of a few series: what a model said at each origin, kept to be drawn beside what came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.lab.forecasts.measures import wql
from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.lab.forecasts.measures import PathTally
    from tidegate.lab.forecasts.origins import Origins
    from tidegate.model.paths import Paths

CANDIDATE_BYTES_MAX: Final = 64 * 2**20
"""What paths may take that are kept until it is known whose are drawn; of more series, some are."""
KINDS: Final = (("good", 0.1), ("typical", 0.5), ("bad", 0.9))
"""Where among the candidates each stands, from the least loss to the greatest."""
USE_RATIO_MIN: Final = 0.01
"""Who used less than 1 % of capacity is drawn only where there is nobody else: there is little to see."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fan:
    """One series, and the paths that a model said for it."""

    kind: str
    series: int
    wql: float
    """Over all origins, at the longest horizon."""
    begins: NDArray[np.int64]
    """(fans,) rows of the trace at which each path begins, far enough apart not to overlap."""
    quantiles: NDArray[np.float32]
    """(fans, levels, steps) shares of capacity."""


class Fans:
    """Paths of candidates while origins are worked through."""

    def __init__(self, series: int, origins: Origins) -> None:
        """Choose candidates evenly among the series, as many as the limit allows."""
        every = -(-origins.horizon_steps // origins.steps_apart)
        self._at = [at for at in range(len(origins.steps)) if (len(origins.steps) - 1 - at) % every == 0]
        self._begins = np.array([origins.steps[at] for at in self._at], dtype=np.int64)
        each = len(self._at) * PATH_LEVELS.size * origins.horizon_steps * np.dtype(np.float32).itemsize
        count = max(1, min(series, CANDIDATE_BYTES_MAX // each))
        self._candidates = np.unique(np.linspace(0, series - 1, count).round().astype(np.intp))
        self._kept: list[NDArray[np.float32]] = []

    def add(self, origin: int, paths: Paths) -> None:
        """Keep what the candidates' paths are at the origin with number ``origin``."""
        if origin in self._at:
            self._kept.append(paths.quantiles[:, :, self._candidates].copy())

    def chosen(self, tally: PathTally) -> tuple[Fan, ...]:
        """Return a good, a typical and a bad series among the candidates; fewer where there are fewer."""
        loss = wql(tally.loss_by_series[-1], tally.size_by_series[-1])[self._candidates]
        with np.errstate(invalid="ignore", divide="ignore"):
            use = (tally.size_by_series[-1] / tally.samples_by_series[-1])[self._candidates]
        known = np.flatnonzero(np.isfinite(loss))
        seen = known[use[known] >= USE_RATIO_MIN]
        ranked = seen if seen.size >= len(KINDS) else known
        ranked = ranked[np.argsort(loss[ranked], kind="stable")]
        places = {kind: round(where * (ranked.size - 1)) for kind, where in KINDS} if ranked.size else {}
        first = {place: kind for kind, place in reversed(places.items())}
        return tuple(
            Fan(
                kind=kind,
                series=int(self._candidates[ranked[place]]),
                wql=float(loss[ranked[place]]),
                begins=self._begins,
                quantiles=np.stack([kept[:, :, ranked[place]] for kept in self._kept]),
            )
            for place, kind in sorted(first.items())
        )
