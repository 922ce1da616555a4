"""Plans what may be done, and what would be done if all might: whoever is held back stays, and is told of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.card_fleet import NOWHERE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.card_fleet import CardFleet, CardPlan, Move
    from tidegate.plan.cards.planner import CardPlanner


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """A plan of those who may be moved, and the moves of the others."""

    plan: CardPlan
    wished: tuple[Move, ...] = ()
    """What would be done with those who are held back; nothing of it is done."""


def planned(planner: CardPlanner, fleet: CardFleet, held: NDArray[np.bool_]) -> Wishes:
    """Plan; ``held`` (applications,) are not moved. Who is on no card is placed all the same."""
    if not (held & (fleet.card != NOWHERE)).any():
        return Wishes(plan=planner.plan(fleet))
    stays = np.where(held & (fleet.card != NOWHERE), -np.inf, fleet.settled_seconds)
    names = {name for name, is_held in zip(fleet.applications, held.tolist(), strict=True) if is_held}
    wished = planner.plan(fleet).moves
    return Wishes(
        plan=planner.plan(replace(fleet, settled_seconds=stays)),
        wished=tuple(move for move in wished if move.application in names),
    )


__all__ = ["Wishes", "planned"]
