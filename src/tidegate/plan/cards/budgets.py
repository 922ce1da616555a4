"""What each application may hold on its card: floors, then needs by class, then what is left over.

Within a class all get the same of what they need above their floors, until that is served; those whose server
presses hard get up to twice as much. This is max-min fairness (Bertsekas and Gallager, Data Networks, 6.5.2).
Needs are forecasts of peaks: who serves some of them whole leaves others less than they use now. These then
look as if they needed ever more, since all they use is all they have, and stay last for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.card_fleet import NOWHERE
from tidegate.plan.cards.pressure import load_of
from tidegate.plan.placement import Turn, rationed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.card_fleet import CardFleet

KEPT_RATIO: Final = 0.1
"""Of what is left over, the part nobody is given: who comes next needs not wait for another to shrink."""


def budgets(fleet: CardFleet, card: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return what each may hold (resources, applications) if it is on ``card`` (applications,).

    On no card do they add up to more than is allocatable. Who is nowhere gets nothing.
    """
    turn = served_in_turn(fleet, card)
    need = np.minimum(np.maximum(fleet.need, fleet.floor), fleet.ceiling)
    held = rationed(np.minimum(fleet.floor, need), fleet.allocatable, turn).astype(np.float64)
    for priority in np.unique(fleet.priority)[::-1]:
        mine = np.flatnonzero((fleet.priority == priority) & (card != NOWHERE))
        room = np.maximum(fleet.allocatable - summed(held, card, len(fleet.cards)), 0)
        wanted, weight = (need - held)[:, mine], 1 + fleet.score[mine].astype(np.float64) / 100
        held[:, mine] += [_fair(*row, card[mine], weight) for row in zip(wanted, room, strict=True)]
    return _with_the_rest(fleet, held, need, card)


def _fair(
    wanted: NDArray[np.float64],
    room: NDArray[np.float64],
    card: NDArray[np.int32],
    weight: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Share room (cards,) among those on each card: by weight, to each at most what it wants (applications,).

    In the order of what is wanted for each unit of weight, everyone is served whole as long as an even share
    of what is left would do; from the first on for whom it would not, all get that share.
    """
    order = np.lexsort((wanted / weight, card))
    at, want, weighs = card[order], wanted[order], weight[order]
    first = np.searchsorted(at, at, side="left")
    before, weighed = np.cumsum(want) - want, np.cumsum(weighs) - weighs
    behind = np.bincount(at, weights=weighs, minlength=room.size)[at] - (weighed - weighed[first])
    even = (room[at] - (before - before[first])) / behind
    short = want > even * weighs
    share = np.full(room.size, -np.inf)
    np.maximum.at(share, at[short], even[short])
    share[np.isneginf(share)] = np.inf
    granted: NDArray[np.float64] = np.minimum(wanted, np.maximum(share[card], 0) * weight)
    return granted


def served_in_turn(fleet: CardFleet, card: NDArray[np.int32]) -> Turn:
    """Return the order in which applications take from cards: by class, by server, who needs least first."""
    count = len(fleet.cards)
    at = np.where(card == NOWHERE, count, card).astype(np.int64)
    size = load_of(fleet.need.astype(np.float64), _typical(fleet)[:, None])
    order = np.lexsort((size, -fleet.score, -fleet.priority.astype(np.int16), at))
    place = at[order]
    return Turn(order, place, np.searchsorted(place, place, side="left"))


def summed(amounts: NDArray[np.floating], card: NDArray[np.int32], cards: int) -> NDArray[np.float64]:
    """Sum amounts (resources, applications) by card: (resources, cards); who is nowhere is left out."""
    at = np.where(card == NOWHERE, cards, card)
    return np.stack([np.bincount(at, weights=row, minlength=cards + 1)[:cards] for row in amounts])


def _with_the_rest(
    fleet: CardFleet, held: NDArray[np.float64], need: NDArray[np.float32], card: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Add what is left on each card, by need and up to its ceiling; or no end, where a card has none."""
    count = len(fleet.cards)
    endless = np.isinf(fleet.allocatable)
    left = np.maximum(fleet.allocatable - summed(held, card, count), 0) * (1 - KEPT_RATIO)
    asked = summed(need, card, count)
    with np.errstate(invalid="ignore", divide="ignore"):
        per_unit = np.where((asked > 0) & ~endless, left / asked, 0)
    nowhere = np.zeros((left.shape[0], 1))  # NOWHERE takes the last column: nothing
    more = need * np.take(np.append(per_unit, nowhere, axis=1), card, axis=1)
    more = np.where(np.take(np.append(endless, nowhere, axis=1), card, axis=1) > 0, np.inf, more)
    return np.minimum(held + more, np.maximum(fleet.ceiling, held)).astype(np.float32)


def _typical(fleet: CardFleet) -> NDArray[np.float64]:
    """Return what a card has on average: (resources,)."""
    mean = fleet.allocatable.mean(axis=1)
    return np.where(mean > 0, mean, 1.0)
