"""Which series are fitted anew this round, when there is not time for all.

A fit is worth most where the loss is largest and where a share of capacity is worth most; but everyone has
a turn, so that a series whose loss is small by luck is not left with an old fit for good. Costs are
estimates the caller gives, not times measured: the same input chooses the same series.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def choose_refits(
    loss: NDArray[np.float32],
    capacity: NDArray[np.float32],
    cost_seconds: NDArray[np.float32],
    rounds_since: NDArray[np.int64],
    *,
    refit_seconds_max: float,
    rounds_max: int,
) -> NDArray[np.intp]:
    """Return the series to fit now; their costs sum to ``refit_seconds_max`` at most.

    All arrays are (series,); ``rounds_since`` is 1 in the round after a fit. First come as many of those
    that have waited longest as must be fitted now for all to be fitted within ``rounds_max`` rounds, then
    whose loss, in shares, times capacity is the largest per second of fitting. That nobody waits longer than
    ``rounds_max`` holds where the costs of all are at most ``rounds_max`` rounds, each less the dearest fit;
    else those who waited longest still come first. A fit that costs more than a round is made alone, when
    its turn has come. An unknown loss (NaN) counts as the largest known.

    Raises:
        InputError: ``rounds_max`` is below one, or ``refit_seconds_max`` is negative.

    """
    if rounds_max < 1:
        raise InputError(f"rounds_max is {rounds_max}; it must be at least 1")
    if not refit_seconds_max >= 0:
        raise InputError(f"refit_seconds_max is {refit_seconds_max}; it must not be negative")
    cost = cost_seconds.astype(np.float64)
    saved = worth(loss, capacity) / np.maximum(cost, 1e-9)
    turns = _turns(saved, cost, np.maximum(rounds_max - rounds_since + 1, 1), refit_seconds_max)
    left = refit_seconds_max - float(cost[turns].sum())
    chosen = turns.tolist()
    others = np.setdiff1d(np.arange(cost.size), turns)
    cheapest = float(cost[others].min(initial=np.inf))
    for at in others[np.argsort(-saved[others], kind="stable")].tolist():
        if left < cheapest:
            break
        if cost[at] <= left:
            left -= cost[at]
            chosen.append(at)
    return np.array(chosen, dtype=np.intp)


def _turns(
    saved: NDArray[np.float64],
    cost: NDArray[np.float64],
    rounds_left: NDArray[np.int64],
    budget: float,
) -> NDArray[np.intp]:
    """Return whose turn it is now, the most pressing first.

    Earliest deadline first: if those due within k rounds cost more than the k - 1 rounds after this one
    surely hold, the difference must be fitted now. A round surely holds its budget less the dearest fit,
    as what is left over at its end is smaller than the fit that did not get in.
    """
    if cost.size == 0 or budget <= 0:
        return np.zeros(0, dtype=np.intp)
    order = np.lexsort((-saved, rounds_left))
    total = np.cumsum(cost[order])
    sure = max(budget - float(cost.max()), budget / 2)
    must = float((total - sure * (rounds_left[order] - 1)).max())
    wanted = int(np.searchsorted(total, must)) + 1 if must > 0 else 0
    fitting = int(np.searchsorted(total, budget, side="right"))
    alone = wanted > 0 and fitting == 0 and rounds_left[order[0]] == 1
    return order[: 1 if alone else min(wanted, fitting)]


def worth(loss: NDArray[np.float32], capacity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what could be saved of each series (series,), base units: its loss in shares, times capacity."""
    known = loss[~np.isnan(loss)]
    most = known.max() if known.size else np.float32(1)
    return np.nan_to_num(np.where(np.isnan(loss), most, loss) * np.maximum(np.nan_to_num(capacity), 0))
