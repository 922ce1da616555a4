"""Applications whose card is among the fleet's no more: who waits says so, who is fenced is placed anew.

A card that left may run what it was asked to take in, so nobody else is asked: there would be two owners.
Only a person can know that it surely runs nothing, and says so by fencing it. Pure functions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tidegate.agents.fleet.records import Event

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tidegate.agents.fleet.records import Moving, Placed
    from tidegate.model.card_fleet import CardPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """What is to be written down where cards were fenced."""

    placed: tuple[Placed, ...] = ()
    """Placed anew, under an epoch the fenced card never saw."""
    forgotten: tuple[str, ...] = ()
    """Those nobody gave to the fleet: a person had put them there."""
    ended: tuple[str, ...] = ()
    """Whose moves are over with their card."""
    events: tuple[Event, ...] = ()


def freed(
    placed: Mapping[str, Placed], moving: Mapping[str, Moving], fenced: Collection[str], now_seconds: float
) -> Freed:
    """Return what becomes of applications on ``fenced`` cards, which surely run nothing."""
    on = [one for one in placed.values() if (one.card or one.asked) in fenced]
    wanted = [one for one in on if one.wanted]
    events = [
        Event(
            time_seconds=now_seconds,
            about=one.name,
            sentence=f"{one.card or one.asked} is fenced: {'placed anew' if one.wanted else 'forgotten'}",
        )
        for one in on
    ]
    return Freed(
        placed=tuple(
            replace(one, card="", asked="", epoch=one.epoch_asked + 1, epoch_asked=one.epoch_asked + 1)
            for one in wanted
        ),
        forgotten=tuple(one.name for one in on if not one.wanted),
        ended=tuple(one.name for one in on if one.name in moving),
        events=tuple(events),
    )


def waits_for(one: Placed, cards: Collection[str], plan: CardPlan | None) -> str:
    """Return why an application does not run anywhere the fleet knows, in a sentence.

    ``plan`` is the latest, which says what those lack whom no card takes.
    """
    card = one.card or one.asked
    if card and card not in cards:
        what = "was asked to take it in" if one.asked else "has it"
        return (
            f"card '{card}' {what} and is no more among the fleet's: add it again with --card, or, where it "
            f"surely runs nothing, start the fleet manager with --fenced {card}"
        )
    if one.asked:
        return f"card '{card}' was asked to take it in and has not answered; it alone may have it"
    if one.card:
        return f"card '{card}' does not answer"
    unplaced = {} if plan is None else {each.application: each.reason for each in plan.unplaced}
    return unplaced.get(one.name, "it is placed at the next turn")


__all__ = ["Freed", "freed", "waits_for"]
