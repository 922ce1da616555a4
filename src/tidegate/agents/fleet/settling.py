"""What cards tell against what was written down: who is where now. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tidegate.agents.fleet.columns import amounts_of
from tidegate.agents.fleet.records import Event, Placed
from tidegate.model.application import Amounts, ApplicationState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tidegate.agents.fleet.records import ApplicationSeen, CardSeen, Moving
    from tidegate.model.application import ApplicationSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What is to be written down, and told."""

    placed: tuple[Placed, ...]
    """Those that are new or changed."""
    gone: tuple[str, ...]
    """Those that are to be forgotten."""
    events: tuple[Event, ...]


def settled(
    cards: Sequence[CardSeen],
    placed: Mapping[str, Placed],
    moving: Mapping[str, Moving],
    *,
    whole: bool,
    looked_seconds: float,
    now_seconds: float,
) -> Settled:
    """Compare; ``cards`` are those that have answered just now, ``whole`` whether those are all.

    ``looked_seconds`` is when they were asked: who came to its card since can't have been seen there.

    An application is where its highest epoch serves. One that nobody told the fleet of is taken over. One
    that its card, asked just now, no longer knows is forgotten if a person had put it there. If it was given
    to the fleet it is placed again, once every card was heard: a person may have moved it to one that is
    silent.
    """
    found = _owners(cards)
    changed: list[Placed] = []
    events: list[Event] = []
    for name, (card, one) in found.items():
        known = placed.get(name)
        if known is None or (known.card, known.epoch) != (card, one.epoch):
            if known is not None and one.epoch < known.epoch:
                continue  # what has moved on, and not yet heard so
            events.append(Event(time_seconds=now_seconds, about=name, sentence=_told(known, card)))
            changed.append(_taken_over(known, one, card, now_seconds))
        elif (terms := _terms(one.spec, known.spec.amounts)) != known.spec:
            changed.append(replace(known, spec=terms))  # changed on its card
    answered = {card.name for card in cards}
    lost = [
        one
        for name, one in placed.items()
        if name not in found
        and name not in moving
        and one.card in answered
        and one.since_seconds < looked_seconds
        and not _anywhere(cards, name)
        and (whole or not one.wanted)
    ]
    changed += [
        replace(one, card="", epoch=one.epoch_asked + 1, epoch_asked=one.epoch_asked + 1)
        for one in lost
        if one.wanted
    ]
    gone = tuple(one.name for one in lost if not one.wanted)
    events += [
        Event(
            time_seconds=now_seconds,
            about=one.name,
            sentence=f"{one.card} no longer knows it: {'it is placed again' if one.wanted else 'forgotten'}",
        )
        for one in lost
    ]
    return Settled(placed=tuple(changed), gone=gone, events=tuple(events))


def arrived(cards: Sequence[CardSeen], moving: Mapping[str, Moving]) -> tuple[str, ...]:
    """Return applications that serve where they were moved to, whatever the card they left says."""
    return tuple(
        one.name
        for card in cards
        for one in card.applications
        if one.name in moving
        and (moving[one.name].card_to, moving[one.name].epoch) == (card.name, one.epoch)
        and one.state is ApplicationState.RUNNING
    )


def twice(cards: Sequence[CardSeen]) -> Collection[str]:
    """Return applications that serve on two cards at once, which must never be."""
    serving = [
        one.name for card in cards for one in card.applications if one.state is ApplicationState.RUNNING
    ]
    return {name for name in serving if serving.count(name) > 1}


def _owners(cards: Sequence[CardSeen]) -> dict[str, tuple[str, ApplicationSeen]]:
    """Return by name the card and the sight of each application's highest epoch that is no standby."""
    found: dict[str, tuple[str, ApplicationSeen]] = {}
    for card in cards:
        for one in card.applications:
            if one.state is ApplicationState.STANDBY:
                continue
            if one.name not in found or found[one.name][1].epoch < one.epoch:
                found[one.name] = (card.name, one)
    return found


def _anywhere(cards: Sequence[CardSeen], name: str) -> bool:
    return any(one.name == name for card in cards for one in card.applications)


def _taken_over(known: Placed | None, one: ApplicationSeen, card: str, now_seconds: float) -> Placed:
    if known is None:
        return Placed(
            name=one.name,
            card=card,
            epoch=one.epoch,
            epoch_asked=one.epoch,
            spec=_terms(one.spec, one.spec.amounts),
            since_seconds=now_seconds,
        )
    asked = max(known.epoch_asked, one.epoch)
    return replace(
        known,
        card=card,
        asked="",
        epoch=one.epoch,
        epoch_asked=asked,
        spec=_terms(one.spec, known.spec.amounts),
        since_seconds=now_seconds,
    )


def _terms(spec: ApplicationSpec, asked: Amounts) -> ApplicationSpec:
    """Return what was agreed on, with what was asked for at first: a card tells what is held now instead.

    The budget is the fleet's own.
    """
    least, most = spec.floor.known(), spec.ceiling.known()
    kept = {
        name: max(least.get(name, 0.0), min(amount, most.get(name, amount)))
        for name, amount in asked.known().items()
    }
    return replace(spec, amounts=amounts_of(kept), budget=Amounts())


def _told(known: Placed | None, card: str) -> str:
    return f"found on {card}" if known is None or not known.card else f"now on {card}, before on {known.card}"
