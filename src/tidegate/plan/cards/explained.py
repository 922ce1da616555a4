"""A plan in words: for each application why it is where it is or goes where it goes, how, and what for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.card_fleet import NOWHERE
from tidegate.plan.cards import moves as moves_of
from tidegate.plan.cards.planner import GAIN_MIN, open_cards

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tidegate.model.card_fleet import CardFleet, CardPlan, Move, Strategy
    from tidegate.plan.cards.moves import Standing
    from tidegate.plan.cards.planner import CardPlanner


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explained:
    """One application in a plan."""

    application: str
    card: str
    """Where it is; empty: on none."""
    card_to: str
    """Where it is to be; the same where it stays, empty where no card can take it."""
    reason: str
    """Why there, in one sentence."""
    strategy: Strategy
    """How it would be moved, and why so."""
    strategy_reason: str
    pause_seconds: float | None
    """How long nobody would serve; None where it goes nowhere."""
    pay_back_seconds: float | None
    """After so long its move has won what it costs; 0 where it must go, None where it goes nowhere."""
    is_done: bool
    """Whether the move is made; one that is wished and held back is not."""
    need: NDArray[np.float32]
    """(resources,) what it is expected to need."""
    budget: NDArray[np.float32]
    """(resources,) most it may hold for now; infinite: no limit."""


def explained(
    planner: CardPlanner,
    fleet: CardFleet,
    plan: CardPlan,
    wished: Sequence[Move],
    held: Mapping[str, str],
) -> tuple[Explained, ...]:
    """Return every application in a plan; ``held`` says why nobody may act on some, by name."""
    made = {move.application: move for move in plan.moves}
    wishes = {move.application: move for move in wished}
    lacking = {one.application: one.reason for one in plan.unplaced}
    staying = _Staying(planner, fleet, held)
    found = []
    for row, name in enumerate(fleet.applications):
        here, there = int(fleet.card[row]), int(plan.card[row])
        move = made.get(name) or wishes.get(name)
        strategy, because = moves_of.strategy_of(fleet, row)
        if name in made:
            reason = made[name].reason
        elif name in wishes:
            reason = (
                f"not moved to {wishes[name].card_to}, {held.get(name, 'held back')}: {wishes[name].reason}"
            )
        elif name in lacking:
            reason = lacking[name]
        elif here == NOWHERE:
            reason = f"{fleet.cards[there]} is where it gains most among those it fits on"
        else:
            reason = staying.why(row)
        found.append(
            Explained(
                application=name,
                card="" if here == NOWHERE else fleet.cards[here],
                card_to="" if there == NOWHERE else fleet.cards[there],
                reason=reason,
                strategy=strategy,
                strategy_reason=because,
                pause_seconds=None if move is None else move.pause_seconds,
                pay_back_seconds=None if move is None else move.pay_back_seconds,
                is_done=name in made,
                need=fleet.need[:, row],
                budget=plan.budget[:, row],
            )
        )
    return tuple(found)


class _Staying:
    """Why those stay who do."""

    def __init__(self, planner: CardPlanner, fleet: CardFleet, held: Mapping[str, str]) -> None:
        self._planner, self._fleet, self._held = planner, fleet, held
        self._at: Standing = moves_of.standing(fleet)
        self._gain = moves_of.gains(self._at) if fleet.cards else np.zeros((len(fleet.applications), 0))
        self._pause = moves_of.pauses(fleet) if fleet.cards else self._gain
        self._weight = moves_of.weights(fleet)
        self._open = open_cards(self._at) if fleet.cards else self._gain > 0

    def why(self, row: int) -> str:
        fleet, name = self._fleet, self._fleet.applications[row]
        here, settled = int(fleet.card[row]), float(fleet.settled_seconds[row])
        if not fleet.heard[here]:
            return f"{fleet.cards[here]} is not heard, and nothing moves from there"
        if np.isneginf(settled) and name not in self._held:
            return "it is on its way, does not run, or could not be moved just now"
        if settled < self._planner.dwell_seconds:
            return f"it came {settled:.0f} s ago, and stays for {self._planner.dwell_seconds:.0f} s"
        found = self._weighed(row, here)
        return f"{found} ({self._held[name]})" if name in self._held else found

    def _weighed(self, row: int, here: int) -> str:
        """Say what the best other card would be worth to it."""
        fleet = self._fleet
        others = self._open[row].copy()
        others[here] = False
        if not others.any():
            return "no other card takes it now"
        best = int(np.where(others, self._gain[row], -np.inf).argmax())
        gain, pause = float(self._gain[row, best]), float(self._pause[row, best])
        if gain <= GAIN_MIN * self._weight[row]:
            return "no other card would serve it, and those beside it, better"
        back = pause * float(self._weight[row]) / gain
        if math.isfinite(back) and back > self._planner.pay_back_seconds_max:
            told = (
                f"on {fleet.cards[best]} it would be better, but its pause of {pause:.3g} s is won back only"
            )
            return f"{told} in {back:.0f} s, after more than {self._planner.pay_back_seconds_max:.0f} s"
        return f"on {fleet.cards[best]} it would be better, once other moves are made"


__all__ = ["Explained", "explained"]
