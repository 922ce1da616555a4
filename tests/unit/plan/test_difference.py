"""What must be done to make a plan true, as people read it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.model.plan import Migrate, Reason, Rehome, Resize, host_plan
from tidegate.model.resources import Resource
from tidegate.model.roster import CARD, HOST
from tidegate.plan.difference import difference
from tidegate.testing import places_of, read_only, roster_of, snapshot_of

PLACES = places_of(servers=[16], cards=[8, 8], worth=0.5)


def fleet(*, held=4.0, on_card=0.0, in_flight=0.0, card=1):
    return snapshot_of(
        [1.0], capacity=8, held=held, on_card=on_card, in_flight=in_flight, card=card, places=PLACES,
        roster=roster_of(1, ids=[42]),
    )  # fmt: skip


def wanting(snapshot, host, on_card=0.0, card=None):
    plan = host_plan(snapshot, np.full((1, 1), host, dtype=np.float32), Reason.HOLD)
    wanted = plan.wanted.copy()
    wanted[CARD] = on_card
    chosen = snapshot.card if card is None else np.array([card], dtype=np.int32)
    return read_only(replace(plan, wanted=wanted, card=chosen))


def test_a_resize_names_its_place_and_both_amounts():
    snapshot = fleet()
    assert list(difference(wanting(snapshot, 6.0), snapshot)) == [
        Resize(workload_id=42, resource=Resource.CPU, place="server-1", amount_from=4.0, amount_to=6.0)
    ]


def test_what_goes_to_the_card_is_a_rehome_and_a_resize_of_what_stays():
    snapshot = fleet()
    shrink, move = difference(wanting(snapshot, 3.0, 2.0), snapshot)
    assert shrink == Resize(
        workload_id=42, resource=Resource.CPU, place="server-1", amount_from=4.0, amount_to=3.0
    )
    assert move == Rehome(
        workload_id=42, resource=Resource.CPU, place_from="server-1", place_to="card-1", amount=2.0
    )


def test_what_comes_home_is_a_rehome_from_the_card():
    snapshot = fleet(on_card=2.0)
    move, shrink = difference(wanting(snapshot, 5.0, 0.0), snapshot)
    assert move == Rehome(
        workload_id=42, resource=Resource.CPU, place_from="card-1", place_to="server-1", amount=1.0
    )
    assert (shrink.place, shrink.amount_to) == ("card-1", 0.0)


def test_another_card_is_a_migration_even_of_the_same_amount():
    snapshot = fleet(on_card=2.0)
    (move,) = difference(wanting(snapshot, 4.0, 2.0, card=2), snapshot)
    assert move == Migrate(
        workload_id=42, resource=Resource.CPU, place_from="card-1", place_to="card-2", amount=2.0
    )


def test_both_shares_growing_are_two_resizes():
    snapshot = fleet(on_card=2.0)
    assert {type(action) for action in difference(wanting(snapshot, 5.0, 3.0), snapshot)} == {Resize}


def test_nothing_wanted_anew_is_no_action():
    snapshot = fleet(on_card=2.0)
    assert len(difference(wanting(snapshot, 4.0, 2.0), snapshot)) == 0


def test_what_is_in_flight_is_not_asked_again():
    flying = np.zeros((2, 1, 1), dtype=np.float32)
    flying[HOST] = 2
    snapshot = fleet(in_flight=flying)
    assert len(difference(wanting(snapshot, 6.0), snapshot)) == 0
    (change,) = difference(wanting(snapshot, 7.0), snapshot)
    assert (change.amount_from, change.amount_to) == (6.0, 7.0)


def test_an_unknown_amount_asks_for_nothing():
    snapshot = fleet()
    assert len(difference(wanting(snapshot, np.nan), snapshot)) == 0


def test_an_action_keeps_the_plan_s_expiry():
    snapshot = fleet()
    plan = wanting(snapshot, 6.0)
    assert difference(plan, snapshot).expires_seconds == plan.expires_seconds


def test_actions_are_a_sequence_of_records():
    snapshot = fleet()
    actions = difference(wanting(snapshot, 3.0, 2.0), snapshot)
    assert len(actions) == 2
    assert actions[1] == list(actions)[1]
    with pytest.raises(IndexError):
        actions[2]
