"""Policies in the shadow decide on the same samples and are judged by what they would have held."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

from tidegate.forecast.nothing import NothingForecaster
from tidegate.model.forecast import no_forecast
from tidegate.model.plan import Reason, host_plan
from tidegate.model.roster import HOST
from tidegate.plan.policies.static import Static
from tidegate.plan.shadows import Shadow, Shadows
from tidegate.testing import places_of, roster_of, snapshot_of


class Grants:
    """Wants an amount for everyone, and remembers what it was shown."""

    def __init__(self, amount):
        self.amount = amount
        self.shown = []

    def plan(self, snapshot, forecast, scores):
        self.shown.append(snapshot)
        assert scores is None
        return host_plan(snapshot, np.full(snapshot.used.shape, self.amount, np.float32), Reason.HOLD)


class Watch:
    def stage(self, _name):
        return nullcontext()

    def seconds(self):
        return {}


def company(*amounts):
    rules = [Grants(amount) for amount in amounts]
    shadows = [
        Shadow(name=f"rule-{number}", forecaster=NothingForecaster(), planner=rule)
        for number, rule in enumerate(rules)
    ]
    made = Shadows(Static(), name="mine", shadows=shadows, counterfactual="rule-0", stopwatch=Watch())
    return made, rules


def planned(made, snapshot):
    nothing = no_forecast(snapshot.time_seconds, snapshot.step_seconds, *snapshot.used.shape)
    return made.plan(snapshot, nothing, None)


def test_the_named_shadow_is_the_counterfactual_and_the_plan_is_its_own():
    made, _ = company(1.5, 3.0)
    snapshot = snapshot_of([1.0, 2.0], capacity=4)
    plan = planned(made, snapshot)
    assert plan.counterfactual.tolist() == [[1.5, 1.5]]
    assert plan.wanted[HOST].tolist() == Static().plan(snapshot, None, None).wanted[HOST].tolist()


def test_a_shadow_holds_what_it_wanted_and_is_judged_by_that():
    made, rules = company(1.5, 3.0)
    for _ in range(3):
        planned(made, snapshot_of([1.0, 2.0], capacity=4))
    assert [shown.held.tolist() for shown in rules[0].shown] == [[[4, 4]], [[1.5, 1.5]], [[1.5, 1.5]]]
    assert rules[0].shown[1].pressed.tolist() == [[False, True]]
    mine, tight, loose = made.league.standings(0)
    assert (mine.violation_ratio, loose.violation_ratio) == (0, 0)
    assert tight.violation_ratio == pytest.approx(2 / 6)
    assert tight.reserved_ratio == pytest.approx((4 + 1.5 + 1.5) / 12)


def test_it_wants_no_more_than_was_sold_and_goes_on_where_it_says_nothing():
    made, rules = company(9.0)
    assert planned(made, snapshot_of([1.0], capacity=4)).counterfactual.tolist() == [[4]]
    rules[0].amount = 2.0
    planned(made, snapshot_of([1.0], capacity=4))
    rules[0].amount = np.nan
    assert planned(made, snapshot_of([1.0], capacity=4)).counterfactual.tolist() == [[2]]


def test_shadows_know_no_places_and_nothing_in_flight():
    made, rules = company(1.0)
    flying = np.zeros((2, 1, 1), dtype=np.float32)
    flying[HOST] = 1
    crowded = snapshot_of(
        [1.0],
        capacity=4,
        held=1,
        on_card=1,
        card=1,
        in_flight=flying,
        places=places_of(servers=[1], cards=[1]),
    )
    planned(made, crowded)
    (shown,) = rules[0].shown
    assert (shown.card.tolist(), shown.places.bounded, shown.in_flight.any()) == ([-1], False, False)
    assert shown.held.tolist() == [[4]]


def test_a_newcomer_is_granted_what_it_was_sold_and_others_keep_theirs():
    made, rules = company(1.0)
    planned(made, snapshot_of([1.0, 1.0], capacity=4, roster=roster_of(2, ids=(5, 6))))
    planned(made, snapshot_of([1.0, 1.0], capacity=4, roster=roster_of(2, ids=(6, 7))))
    assert rules[0].shown[1].held.tolist() == [[1, 4]]


def test_it_goes_on_from_its_state():
    made, _ = company(1.5, 3.0)
    for _ in range(3):
        planned(made, snapshot_of([1.0, 2.0], capacity=4))
    again, rules = company(1.5, 3.0)
    again.restore(made.state())
    planned(again, snapshot_of([1.0, 2.0], capacity=4))
    assert rules[0].shown[0].held.tolist() == [[1.5, 1.5]]
    assert again.league.standings(0)[1].samples == 8


def test_a_plan_keeps_its_counterfactual_when_the_next_is_made():
    made, rules = company(1.0)
    first = planned(made, snapshot_of([1.0], capacity=4))
    rules[0].amount = 3.0
    planned(made, snapshot_of([1.0], capacity=4))
    assert first.counterfactual.tolist() == [[1]]
