"""Loss of links from counts of probes, many links at once: how large, and whether it has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXPECTED_LOSS_RATIO: Final = 0.001
"""Of a link that nobody has probed yet: links inside a data centre lose less, but are not all perfect."""
EXPECTED_PROBES: Final = 10.0
"""What that expectation counts for: so many probes. One lost of two is not half."""
CHANGE_PROBABILITY: Final = 1e-5
"""What is rarer by chance is a change: a link that is looked at every second is mistaken once in a day."""


def loss_ratio(lost: NDArray[np.int64], probes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share (links,) of probes that are lost, of few probes nearer to what links are like.

    It is the mean of a beta distribution that had seen `EXPECTED_PROBES` before: after none lost of ten it
    says 0.05 %, after one of ten 5 %, after one of a thousand 0.1 %. NaN where nothing was probed.
    """
    smoothed = (lost + EXPECTED_LOSS_RATIO * EXPECTED_PROBES) / (probes + EXPECTED_PROBES)
    return np.where(probes > 0, smoothed, np.nan)


def chance_unchanged(
    lost: NDArray[np.int64],
    probes: NDArray[np.int64],
    lost_before: NDArray[np.int64],
    probes_before: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return how likely (links,) it is that the latest probes are lost as often as those before.

    Fisher's exact test, the rarer side: with both alike, which of all that were lost are late ones is drawn
    without putting back. (R. A. Fisher, "Statistical Methods for Research Workers", 21.02.)
    """
    if not lost.size:
        return np.ones(0)
    both, lost_both = probes + probes_before, lost + lost_before
    log_factorial = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, both.max() + 1)))))

    def log_ways(many: NDArray[np.int64], taken: NDArray[np.int64]) -> NDArray[np.float64]:
        possible = (taken >= 0) & (taken <= many)
        inside = np.where(possible, taken, 0)
        ways = log_factorial[many] - log_factorial[inside] - log_factorial[many - inside]
        return np.where(possible, ways, -np.inf)

    late = np.arange(probes.max() + 1)[None, :]
    lost_all, kept_all = lost_both[:, None], (both - lost_both)[:, None]
    ways = log_ways(lost_all, late) + log_ways(kept_all, probes[:, None] - late)
    chance = np.exp(ways - log_ways(both, probes)[:, None])
    more = np.where(late >= lost[:, None], chance, 0.0).sum(axis=1)
    fewer = np.where(late <= lost[:, None], chance, 0.0).sum(axis=1)
    return np.minimum(more, fewer)
