"""How sure a difference between two models is: the origins drawn again, in blocks.

Paths of neighbouring origins overlap, and so do their errors. What is drawn are therefore runs of
consecutive origins as long as one path (the circular block bootstrap of Politis and Romano, 1992), the same
ones for every model, so that what made an hour hard for all cancels in their ratio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.lab.forecasts.measures import wql

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.lab.forecasts.measures import PathTally
    from tidegate.lab.forecasts.origins import Origins

DRAWS: Final = 2_000
INTERVAL: Final = (0.025, 0.975)
"""Ends of the interval: 95 % of the draws lie between."""
BLOCKS_MIN: Final = 3
"""Of fewer runs of origins, drawing them again says nothing."""

Interval = tuple[float, float]


def drawn_origins(origins: Origins, horizon: int, seed: int) -> NDArray[np.intp] | None:
    """Return numbers of origins (draws, origins) for one of the horizons (row); None where too few."""
    count = len(origins.steps)
    block = -(-origins.horizons_steps[horizon] // origins.steps_apart)
    if count < BLOCKS_MIN * block:
        return None
    starts = np.random.default_rng(seed).integers(count, size=(DRAWS, -(-count // block)))
    drawn = (starts[:, :, None] + np.arange(block)) % count
    return drawn.reshape(DRAWS, -1)[:, :count]


def wql_interval(of: PathTally, horizon: int, drawn: NDArray[np.intp] | None) -> Interval | None:
    """Return where the WQL of a model lies; None where nothing tells."""
    if drawn is None:
        return None
    loss, size = of.loss_by_origin[horizon][drawn].sum(axis=1), of.size_by_origin[horizon][drawn].sum(axis=1)
    return _ends(wql(loss, size))


def ratio_interval(
    of: PathTally, against: PathTally, horizon: int, drawn: NDArray[np.intp] | None
) -> Interval | None:
    """Return where the ratio of two models' WQL lies, below 1: ``of`` is better; None where nothing tells."""
    if drawn is None:
        return None
    loss = of.loss_by_origin[horizon][drawn].sum(axis=1)
    other = against.loss_by_origin[horizon][drawn].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return _ends(np.where(other > 0, loss / other, np.nan))


def _ends(values: NDArray[np.float64]) -> Interval | None:
    known = values[np.isfinite(values)]
    if not known.size:
        return None
    low, high = np.quantile(known, INTERVAL)
    return float(low), float(high)
