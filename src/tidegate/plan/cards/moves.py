"""What it would gain and cost to have each application on each card: all of them at once.

Everything is in weighted seconds of late service: a class weighs twice the one below, and a server's
score adds up to as much again. A move is worth making where what it gains in the time for which the forecast
holds is more than the pause it costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.card_fleet import NOWHERE, Strategy
from tidegate.plan.cards import ways
from tidegate.plan.cards.budgets import summed
from tidegate.plan.cards.pressure import lateness_of, load_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.card_fleet import CardFleet

HANDOFF_PAUSE_SECONDS: Final = 0.1
"""What a hand-off pauses beside the time its state is on the way."""
RESTART_PAUSE_SECONDS: Final = 5.0
"""What a restart pauses, as operators expect of a service that starts and warms up."""
CLASSES_MAX: Final = 16
"""Classes from here on weigh the same: twice as much each time must stay a number."""


@dataclass(slots=True, kw_only=True, eq=False)
class Standing:
    """Where everyone is while a plan is being made; `put` moves one."""

    fleet: CardFleet
    card: NDArray[np.int32]
    """(applications,)."""
    asked: NDArray[np.float64]
    """(resources, cards) what those on a card need."""
    weight: NDArray[np.float64]
    """(cards,) of those on it."""
    way_left: NDArray[np.float64]
    """(servers, cards) bytes per second left of the way from each server."""

    def put(self, application: int, card: int) -> None:
        """Move one application; from or to nowhere, too."""
        before, need = int(self.card[application]), self.fleet.need[:, application].astype(np.float64)
        weight = float(weights(self.fleet)[application])
        for at, sign in ((before, -1), (card, 1)):
            if at != NOWHERE:
                self.asked[:, at] += sign * need
                self.weight[at] += sign * weight
        ways.charge(self.fleet, self.way_left, application, before, card)
        self.card[application] = card


def standing(fleet: CardFleet) -> Standing:
    """Return where everyone is now."""
    count = len(fleet.cards)
    return Standing(
        fleet=fleet,
        card=fleet.card.copy(),
        asked=summed(fleet.need, fleet.card, count),
        weight=summed(weights(fleet)[None], fleet.card, count)[0],
        way_left=ways.left_of(fleet),
    )


def weights(fleet: CardFleet) -> NDArray[np.float64]:
    """Return what a second of late service weighs for each application: (applications,)."""
    classes = np.minimum(fleet.priority, CLASSES_MAX).astype(np.float64)
    found: NDArray[np.float64] = np.exp2(classes) * (1 + fleet.score / 100)
    return found


def gains(at: Standing, rows: NDArray[np.intp] | None = None) -> NDArray[np.float64]:
    """Return what each would gain by being on each card: (applications, cards), weighted lateness.

    That of the card it leaves and of the one it goes to count for all who are there, its own way to them for
    itself alone. To be where one is gains nothing. Who is nowhere is late all the time. ``rows`` says of
    which applications; of all without it.
    """
    fleet = at.fleet
    rows = np.arange(at.card.size) if rows is None else rows
    mine, need = weights(fleet)[rows], fleet.need[:, rows].astype(np.float64)
    late, nowhere = fleet.lateness[rows], at.card[rows] == NOWHERE
    here = np.maximum(at.card[rows], 0)
    now = at.weight * lateness_of(load_of(at.asked, fleet.allocatable))
    without = lateness_of(load_of(np.maximum(at.asked[:, here] - need, 0), fleet.allocatable[:, here]))
    left = now[here] - np.maximum(at.weight[here] - mine, 0) * without
    joined = load_of(at.asked[:, None, :] + need[:, :, None], fleet.allocatable[:, None, :])
    taken = (at.weight + mine[:, None]) * lateness_of(joined) - now
    way = mine[:, None] * (late[np.arange(here.size), here][:, None] - late)
    found = np.where(nowhere[:, None], mine[:, None] * (1 - late), left[:, None] + way) - taken
    found[np.flatnonzero(~nowhere), here[~nowhere]] = 0
    return found


def pauses(fleet: CardFleet) -> NDArray[np.float64]:
    """Return how long a move to each card would pause each: (applications, cards) seconds."""
    speed = np.maximum(fleet.between_bytes_per_second[np.maximum(fleet.card, 0)], 1.0)
    with np.errstate(divide="ignore"):
        handed = HANDOFF_PAUSE_SECONDS + fleet.state_bytes[:, None] / speed
    found = np.where(fleet.hands_off[:, None], handed, RESTART_PAUSE_SECONDS)
    return np.where((fleet.card == NOWHERE)[:, None], 0.0, found)


def strategy_of(fleet: CardFleet, application: int) -> tuple[Strategy, str]:
    """Return how an application is moved, and why so."""
    if fleet.hands_off[application]:
        return Strategy.HANDOFF, "it hands its state over, and no request is lost"
    return Strategy.RESTART, "it can't hand its state over"
