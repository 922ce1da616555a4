"""A plan in words: why each stays, goes or waits, by what means, and what its move is worth."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.plan.test_cards import fleet
from tidegate.model.card_fleet import NOWHERE, Strategy
from tidegate.plan.cards import CardPlanner
from tidegate.plan.cards.explained import explained
from tidegate.plan.cards.wishes import planned


def told(of, held=None, **planner):
    planner = CardPlanner(**planner)
    mask = np.array([name in (held or {}) for name in of.applications], dtype=np.bool_)
    wishes = planned(planner, of, mask)
    return {one.application: one for one in explained(planner, of, wishes.plan, wishes.wished, held or {})}


def test_one_that_moves_says_what_for_how_and_what_it_costs():
    crowded = fleet([4, 4], [0, 0, 0], [2, 2, 2], hands_off=np.array([True, True, True]))
    moved = [one for one in told(crowded).values() if one.card != one.card_to]
    assert len(moved) == 1
    (one,) = moved
    assert (one.card, one.card_to, one.strategy, one.is_done) == ("card-0", "card-1", Strategy.HANDOFF, True)
    assert "cpu of card-0 is asked for 150%" in one.reason
    assert "hands its state over" in one.strategy_reason
    assert one.pause_seconds > 0
    assert 0 < one.pay_back_seconds < 600
    assert one.need[0] == 2
    assert 0 < one.budget[0] < 2, "until it has left it shares with who stays"


@pytest.mark.parametrize(
    ("of", "why"),
    [
        (fleet([4, 4], [0], [1]), "no other card would serve it"),
        (fleet([4], [0], [1]), "no other card takes it now"),
        (fleet([4, 4], [0, 0], [3, 3], settled_seconds=[5.0, 5.0]), "came 5 s ago, and stays for 120 s"),
        (fleet([4, 4], [0], [3], heard=[False, True]), "card-0 is not heard"),
        (fleet([4, 4], [0], [3], settled_seconds=[-np.inf]), "on its way"),
        (
            fleet([4, 4], [0, 0, 0], [2, 2, 2], state_bytes=np.full(3, 1e12)),
            "on card-1 it would be better, but its pause of 1e+04 s is won back only in",
        ),
        (fleet([4, 4], [NOWHERE], [1]), "where it gains most"),
        (fleet([4, 4], [NOWHERE], [9]), "lacks 5 cores of cpu"),
    ],
)
def test_who_goes_nowhere_says_why(of, why):
    one = told(of)["app-0"]
    assert why in one.reason
    assert one.pause_seconds is None
    assert not one.is_done


def test_a_wish_is_told_with_what_holds_it_back():
    crowded = fleet([4, 4], [0, 0, 0], [2, 2, 2])
    found = told(crowded, held=dict.fromkeys(crowded.applications, "paused: nothing is acted on"))
    wished = [one for one in found.values() if one.pause_seconds is not None]
    (one,) = wished
    assert one.card == one.card_to == "card-0"
    assert not one.is_done
    assert one.reason.startswith("not moved to card-1, paused: nothing is acted on: cpu of card-0")
    others = [one for one in found.values() if one.pause_seconds is None]
    assert all("paused" in one.reason for one in others)


def test_who_must_go_pays_back_at_once():
    drained = fleet([4, 4], [0], [1], must_leave=[True, False])
    assert told(drained)["app-0"].pay_back_seconds == 0


def test_nothing_is_said_of_no_fleet():
    assert told(fleet([4], [], [])) == {}
    nowhere = told(fleet([], [NOWHERE], [1]))["app-0"]
    assert "no card takes applications" in nowhere.reason
