"""Sends budgets to cards: those that differ from what they tell of, and each again before it would lapse."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tidegate.agents.fleet.columns import budget_of
from tidegate.model.card_fleet import NOWHERE
from tidegate.model.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from tidegate.agents.fleet.asking import AskedCard
    from tidegate.agents.fleet.records import CardSeen, Placed
    from tidegate.model.application import Amounts
    from tidegate.model.card_fleet import CardFleet, CardPlan

BUDGET_CHANGE_RATIO: Final = 0.05
"""A budget that changes by less is not sent again."""
BUDGET_CHANGE_MIN: Final = 0.001
"""In base units: cores are told in thousandths."""
AGAIN_SECONDS: Final = 60.0
"""Each is told again so often: cards let one lapse that was not told for five times as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A budget to be sent."""

    application: str
    card: str
    budget: Amounts


@dataclass(slots=True, kw_only=True)
class Limiting:
    """Sends budgets, and knows when each was last told."""

    cards: Mapping[str, AskedCard]
    _told: dict[tuple[str, str], float] = field(default_factory=dict)
    """By card and application: when."""

    async def send(self, sending: Sequence[Due], now_seconds: float) -> list[tuple[str, str]]:
        """Send budgets; return whose were refused, and why in a sentence."""
        refused = await asyncio.gather(*(self._send(one, now_seconds) for one in sending))
        return [each for each in refused if each is not None]

    def due(
        self,
        plan: CardPlan,
        fleet: CardFleet,
        *,
        placed: Mapping[str, Placed],
        moving: Collection[str],
        held: Collection[str],
        heard: Iterable[CardSeen],
        now_seconds: float,
    ) -> list[Due]:
        """Return the budgets that are not what cards tell of, and those that were not told for a while.

        Those who are ``moving`` get theirs once they are there, those who wait to be moved at once; whom
        people have ``held`` back keep theirs.
        """
        told = {(card.name, one.name): one.spec.budget for card in heard for one in card.applications}
        self._told = {pair: at for pair, at in self._told.items() if pair in told}
        found = []
        for row, name in enumerate(fleet.applications):
            at = int(fleet.card[row])
            if at == NOWHERE or name in moving:
                continue
            pair = (fleet.cards[at], name)
            if pair not in told:
                continue
            before = told[pair]
            budget = before if name in held else budget_of(plan.budget[:, row], placed[name].spec)
            late = now_seconds - self._told.get(pair, -math.inf) >= AGAIN_SECONDS
            if _differs(budget, before) or (late and budget.known()):
                found.append(Due(application=name, card=pair[0], budget=budget))
        return found

    async def _send(self, one: Due, now_seconds: float) -> tuple[str, str] | None:
        try:
            await self.cards[one.card].limit(one.application, one.budget)
        except Refusal as refused:
            return one.application, f"{one.card} did not take its budget: {refused}"
        self._told[one.card, one.application] = now_seconds
        return None


def _differs(budget: Amounts, before: Amounts) -> bool:
    then, now = before.known(), budget.known()
    return then.keys() != now.keys() or any(
        abs(amount - then[name]) > max(BUDGET_CHANGE_RATIO * then[name], BUDGET_CHANGE_MIN)
        for name, amount in now.items()
    )


__all__ = ["Due", "Limiting"]
