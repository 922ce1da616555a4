"""Whether gains measured in blocks of time are more than chance, among many that were looked at.

Sources: ratio estimators, Cochran 1977, Sampling Techniques 6; block bootstrap, Kuensch 1989 (circular:
Politis and Romano 1992); choice among many, Benjamini and Hochberg 1995, with intervals that keep their
promise for what was chosen, Benjamini and Yekutieli 2005; quantiles of Student's t, Wallace 1959.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES: Final = 1_000
FALSE_RATIO: Final = 0.05
"""Of what is said to help, so much may not."""
WEIGHT_MIN: Final = 4.0
"""A feed that spoke in fewer blocks, counted by how far it moved the paths in each, is not judged."""
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """Gains and their intervals, (pairs,) each; an interval holds 0 where too little was said to judge."""

    gain: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    level: float
    """What the intervals leave out on each side."""


def judge(
    gain: NDArray[np.float64], moved: NDArray[np.float64], *, seed: int, level: float | None = None
) -> Judged:
    """Return the gain over all blocks of each pair of feed and group, with an interval.

    ``gain`` and ``moved`` (blocks, pairs) are what each block gained and how far paths were moved there.
    What is judged is their ratio, gain by movement: so blocks in which a feed said nothing say nothing of
    it, and a feed of rare events is judged by its events. Without ``level``, it is chosen so that of the
    pairs whose interval lies above zero `FALSE_RATIO` are there by chance.
    """
    total, movement = gain.sum(axis=0), moved.sum(axis=0)
    weight = movement**2 / np.maximum((moved**2).sum(axis=0), 1e-300)
    judged = weight >= WEIGHT_MIN
    ratio = total / np.maximum(movement, 1e-300)
    error = _standard_error(gain - ratio * moved, seed) * np.sqrt(weight / np.maximum(weight - 1, 1))
    freedom = np.maximum(weight - 1, 1)
    if level is None:
        level = _level(_chance(total[judged], error[judged], freedom[judged]), gain.shape[1])
    reach = _student(_NORMAL.inv_cdf(1 - level), freedom) * error
    low, high = total - reach, total + reach
    return Judged(
        gain=total,
        low=np.where(judged, low, np.minimum(0, low)),
        high=np.where(judged, high, np.maximum(0, high)),
        level=level,
    )


def _standard_error(left: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Return the spread of sums (pairs,) when runs of blocks are drawn again; ``left`` sums up to zero."""
    blocks = left.shape[0]
    length = max(1, round(blocks ** (1 / 3)))
    random = np.random.default_rng(seed)
    starts = random.integers(0, blocks, size=(RESAMPLES, -(-blocks // length)))
    drawn = ((starts[:, :, None] + np.arange(length)) % blocks).reshape(RESAMPLES, -1)[:, :blocks]
    counts = np.zeros((RESAMPLES, blocks))
    np.add.at(counts, (np.arange(RESAMPLES)[:, None], drawn), 1)
    return (counts @ left).std(axis=0)


def _chance(
    gain: NDArray[np.float64], error: NDArray[np.float64], freedom: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how likely a gain as large is where there is none: (pairs,)."""
    ratio = gain / np.maximum(error, 1e-300)
    bend = (8 * freedom + 1) / (8 * freedom + 3)
    score = np.copysign(bend * np.sqrt(freedom * np.log1p(np.minimum(ratio**2, 1e200) / freedom)), ratio)
    return np.array([1 - _NORMAL.cdf(float(one)) for one in score])


def _level(chance: NDArray[np.float64], pairs: int) -> float:
    """Return the share of an interval to leave out on a side, for as many pairs as there are."""
    ranked = np.sort(chance)
    within = ranked <= FALSE_RATIO * np.arange(1, ranked.size + 1) / max(pairs, 1)
    chosen = int(np.flatnonzero(within)[-1]) + 1 if within.any() else 1
    return FALSE_RATIO * chosen / max(pairs, 1)


def _student(score: float, freedom: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quantile of Student's t that lies where the normal's is ``score``."""
    bent = score * (8 * freedom + 3) / (8 * freedom + 1)
    return np.sqrt(freedom * np.expm1(np.minimum(bent**2 / freedom, 600)))
