"""How far to rely on the gates beside the members, by how far ahead one looks.

One number per band of horizons, not a function of the series: as little as can be learned wrong. Members were
judged by what they had learned from the first part of the history, and answer after learning from all of it,
while gates change little: so the gates get a quarter of the share that would have been best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.paths.calibration import ROWS_MIN, bands_of
from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.forecast.paths.judging import Judged

SHARES: Final = np.linspace(0, 1, 9, dtype=np.float32)
"""Shares of the gates that are tried."""
BENEFIT: Final = np.float32(0.25)
"""What is left of the gates' best share once members have learned from the rest, too. On Bitbrains (August)
the LSTM lost 10 % of its loss on CPU a day ahead by that. A quarter keeps the pooled loss below both parts',
and small VMs' typical error within 2 % of the LSTM's; a half gains no more and costs them 5 %."""
SHARE_MIN: Final = np.float32(0.1)
"""Two that err differently are better than one, so gates always have some say."""
SHARE_START: Final = np.float32(0.2)
"""The gates' share where too little was judged."""
SCORED: Final = slice(0, int(np.searchsorted(PATH_LEVELS, 0.91)))
"""Levels that count: those of the loss."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reliance:
    """How much of the answer is the gates'."""

    bands: NDArray[np.intp]
    """(bands - 1,) upper ends in steps."""
    share: NDArray[np.float32]
    """(bands,)."""

    def share_at(self, ahead: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the gates' share at each horizon."""
        shares: NDArray[np.float32] = self.share[np.searchsorted(self.bands, ahead)]
        return shares


def measured(judged: Judged, step_seconds: int) -> Reliance:
    """Return a quarter of the shares with the least weighted pinball loss where members were asked."""
    bands = bands_of(step_seconds)
    band = np.searchsorted(bands, judged.ahead)
    asked = ~np.isnan(judged.members).any(axis=1)
    share = np.full(bands.size + 1, SHARE_START, dtype=np.float32)
    for at in range(share.size):
        inside = asked & (band == at)
        if inside.sum() >= ROWS_MIN:
            gates, members = judged.gates[inside], judged.members[inside]
            mixed = [part * gates + (1 - part) * members for part in SHARES]
            losses = [_loss(said, judged.came[inside], judged.weight[inside]) for said in mixed]
            share[at] = max(SHARE_MIN, BENEFIT * SHARES[int(np.argmin(losses))])
    return Reliance(bands=bands, share=share)


def _loss(quantiles: NDArray[np.float32], came: NDArray[np.float32], weight: NDArray[np.float32]) -> float:
    levels = PATH_LEVELS[SCORED]
    short = came[:, None] - quantiles[:, SCORED]
    return float((np.maximum(levels * short, (levels - 1) * short) * weight[:, None]).sum())
