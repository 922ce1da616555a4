"""Which budgets are to be sent to which card: those that differ from what it tells of. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidegate.agents.fleet.columns import budget_of
from tidegate.model.card_fleet import NOWHERE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from tidegate.agents.fleet.records import CardSeen, Placed
    from tidegate.model.application import Amounts
    from tidegate.model.card_fleet import CardFleet, CardPlan

BUDGET_CHANGE_RATIO: Final = 0.05
"""A budget that changes by less is not sent again."""
BUDGET_CHANGE_MIN: Final = 0.001
"""In base units: cores are told in thousandths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A budget to be sent."""

    application: str
    card: str
    budget: Amounts


def due(
    plan: CardPlan,
    fleet: CardFleet,
    *,
    placed: Mapping[str, Placed],
    left_alone: Collection[str],
    heard: Iterable[CardSeen],
) -> list[Due]:
    """Return the budgets that are not what cards tell of, but those of who is ``left_alone``.

    That is who moves, until it is there, and whom people have held back.
    """
    told = {(card.name, one.name): one.spec.budget for card in heard for one in card.applications}
    found = []
    for row, name in enumerate(fleet.applications):
        at = int(fleet.card[row])
        if at == NOWHERE or plan.card[row] != at or name in left_alone:
            continue
        before = told.get((fleet.cards[at], name))
        budget = budget_of(plan.budget[:, row], placed[name].spec)
        if before is not None and _differs(budget, before):
            found.append(Due(application=name, card=fleet.cards[at], budget=budget))
    return found


def _differs(budget: Amounts, before: Amounts) -> bool:
    then, now = before.known(), budget.known()
    return then.keys() != now.keys() or any(
        abs(amount - then[name]) > max(BUDGET_CHANGE_RATIO * then[name], BUDGET_CHANGE_MIN)
        for name, amount in now.items()
    )


__all__ = ["Due", "due"]
