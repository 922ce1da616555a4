"""Plans placement over cards: who must leave first, then whatever pays back soonest.

Greedy, one move at a time, each judged with all those before it made: a plan is moves one can explain one
by one. Bin packing has better answers on paper; they move everyone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.card_fleet import NOWHERE, CardPlan, Move, Unplaced
from tidegate.plan.cards import moves as moves_of
from tidegate.plan.cards import ways
from tidegate.plan.cards.budgets import budgets, served_in_turn
from tidegate.plan.cards.pressure import lateness_of, load_of, load_parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.card_fleet import CardFleet
    from tidegate.plan.cards.moves import Standing

MOVES_MAX: Final = 8
"""Moves of one plan that are made for gain; what must leave a card is not counted."""
PAY_BACK_SECONDS_MAX: Final = 600.0
"""A move has to win back its pause within this: a forecast for longer is a guess."""
GAIN_MIN: Final = 0.01
"""Weighted lateness below which nothing is moved: noise."""
DWELL_SECONDS: Final = 120.0
"""Who has just moved stays so long, or two cards would play ball."""
NO_CARD: Final = "no card takes applications now; put one into service"
REFUSED: Final = "each card with room said no to it lately; it is asked again in a while, or add a card"


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPlanner:
    """Remembers nothing: the same fleet gets the same plan."""

    moves_max: int = MOVES_MAX
    dwell_seconds: float = DWELL_SECONDS
    pay_back_seconds_max: float = PAY_BACK_SECONDS_MAX

    def plan(self, fleet: CardFleet) -> CardPlan:
        """Return where everything should be, the moves that lead there, and what each may hold."""
        if not fleet.applications or not fleet.cards:
            unplaced = [Unplaced(application=name, reason=NO_CARD) for name in fleet.applications]
            nothing = np.zeros_like(fleet.need)
            return CardPlan(card=fleet.card, budget=nothing, moves=(), unplaced=tuple(unplaced))
        at = moves_of.standing(fleet)
        made, unplaced = _evacuated(at)
        made += self._gained(at)
        return CardPlan(
            card=at.card,
            budget=_until_moved(fleet, at.card),
            moves=tuple(made),
            unplaced=tuple(unplaced),
        )

    def _gained(self, at: Standing) -> list[Move]:
        """Make the moves that pay back, the best first."""
        fleet, made = at.fleet, list[Move]()
        pause = moves_of.pauses(fleet)
        weight = moves_of.weights(fleet)[:, None]
        movable = (at.card == fleet.card) & (fleet.card != NOWHERE) & fleet.heard[np.maximum(fleet.card, 0)]
        movable &= fleet.settled_seconds >= self.dwell_seconds
        while len(made) < self.moves_max:
            gain = np.where(movable[:, None] & open_cards(at), moves_of.gains(at), 0)
            with np.errstate(divide="ignore", invalid="ignore"):
                back = np.where(gain > GAIN_MIN * weight, pause * weight / gain, np.inf)
            value = np.where(back <= self.pay_back_seconds_max, gain, 0)
            application, card = divmod(int(value.argmax()), value.shape[1])
            if value[application, card] <= 0:
                break
            made.append(_move(at, application, card, pause=pause, back=back[application, card], why=None))
            at.put(application, card)
            movable[application] = False
        return made


def _until_moved(fleet: CardFleet, card: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return what each may hold (resources, applications), while moves to ``card`` are still to be made.

    A move can take its time. Until then nobody may hold more than where all are now, or who is to leave would
    have what others do not want; nor more than once all have arrived, which makes room for them: so also who
    is to leave, as it is with what it holds that it has to fit there.
    """
    planned = budgets(fleet, card)
    if (card == fleet.card).all():
        return planned
    is_new = fleet.card == NOWHERE
    return np.where(is_new, planned, np.minimum(planned, budgets(fleet, fleet.card)))


def _evacuated(at: Standing) -> tuple[list[Move], list[Unplaced]]:
    """Place who must leave and who asks to be taken in, in turn, each where it gains most and fits."""
    fleet = at.fleet
    homeless = (fleet.card == NOWHERE) | _must(fleet)
    made, unplaced = list[Move](), list[Unplaced]()
    pause = moves_of.pauses(fleet)
    turn = served_in_turn(fleet, np.zeros_like(fleet.card))
    for application in turn.order[homeless[turn.order]].tolist():
        card = _best(at, application)
        if card == NOWHERE:
            name = fleet.applications[application]
            unplaced.append(Unplaced(application=name, reason=_lacking(at, application)))
            continue
        if fleet.card[application] != NOWHERE:
            why = f"{fleet.cards[fleet.card[application]]} is to be emptied"
            made.append(_move(at, application, card, pause=pause, back=0.0, why=why))
        at.put(application, card)
    return made, unplaced


def _must(fleet: CardFleet) -> NDArray[np.bool_]:
    """Return who must leave and can: (applications,)."""
    here = np.maximum(fleet.card, 0)
    leaves = (fleet.card != NOWHERE) & fleet.must_leave[here] & fleet.heard[here]
    return leaves & ~np.isneginf(fleet.settled_seconds)


def open_cards(at: Standing, rows: NDArray[np.intp] | None = None) -> NDArray[np.bool_]:
    """Return which card would take whom in, over links with room for it: (applications, cards).

    ``rows`` says of which applications; of all without it.
    """
    fleet = at.fleet
    rows = np.arange(at.card.size) if rows is None else rows
    cards = fleet.takes_new & fleet.heard & ~fleet.must_leave
    everyone = cards & ways.open_to(fleet, at.way_left, rows)
    return everyone if fleet.refused is None else everyone & ~fleet.refused[rows]


def _best(at: Standing, application: int) -> int:
    """Return the card on which one application would gain most among those it fits on; or `NOWHERE`."""
    fits = open_cards(at, np.array([application]))[0] & (_joined(at, application) <= 1)
    if not fits.any():
        return NOWHERE
    gain = moves_of.gains(at, np.array([application]))[0]
    return int(np.where(fits, gain, -np.inf).argmax())


def _joined(at: Standing, application: int) -> NDArray[np.float64]:
    """Return the load of each card (cards,) if one application more were there, in what that needs."""
    need = at.fleet.need[:, application].astype(np.float64)[:, None]
    return load_of(np.where(need > 0, at.asked + need, 0), at.fleet.allocatable)


def _move(
    at: Standing, application: int, card: int, *, pause: NDArray[np.float64], back: float, why: str | None
) -> Move:
    fleet = at.fleet
    strategy, because = moves_of.strategy_of(fleet, application)
    return Move(
        application=fleet.applications[application],
        card_from=fleet.cards[int(fleet.card[application])],
        card_to=fleet.cards[card],
        strategy=strategy,
        pause_seconds=float(pause[application, card]),
        pay_back_seconds=float(back),
        reason=f"{why or _why(at, application, card)}; {strategy.value}: {because}",
    )


def _why(at: Standing, application: int, card: int) -> str:
    """Say in one clause what is wrong where it is: the way there, or that the card is full."""
    fleet, here = at.fleet, int(at.card[application])
    way = float(fleet.lateness[application, here] - fleet.lateness[application, card])
    parts = load_parts(at.asked[:, here], fleet.allocatable[:, here])
    row = int(parts.argmax())
    if way > float(lateness_of(parts[row])):
        used = fleet.lateness[application, here]
        return f"the way to {fleet.cards[here]} uses up {used:.0%} of the latency agreed on"
    return f"{fleet.resources[row].label} of {fleet.cards[here]} is asked for {parts[row]:.0%}"


def _lacking(at: Standing, application: int) -> str:
    """Say why no card takes an application: what lacks, and how much, on the card nearest to fit."""
    fleet = at.fleet
    open_to = np.flatnonzero(fleet.takes_new & fleet.heard & ~fleet.must_leave)
    if open_to.size == 0:
        return NO_CARD
    load = _joined(at, application)[open_to]
    if load.min() <= 1:
        return ways.crowded(fleet, at.way_left, application, open_to[load <= 1]) or REFUSED
    nearest = int(open_to[load.argmin()])
    need = fleet.need[:, application].astype(np.float64)
    short = at.asked[:, nearest] + need - fleet.allocatable[:, nearest]
    row = int(np.argmax(np.where(need > 0, short, -np.inf) / np.where(need > 0, need, 1)))
    lacking = f"{short[row]:.4g} {fleet.resources[row].unit} of {fleet.resources[row].label}"
    return (
        f"no card has room: {fleet.cards[nearest]}, the nearest to it, lacks {lacking}; "
        "add a card, or lower what is asked for"
    )
