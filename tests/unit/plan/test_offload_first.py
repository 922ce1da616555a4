"""Every branch of the plain rule: from the card, from the host, neither, back, and nothing known."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.model.plan import Reason
from tidegate.model.roster import CARD, HOST, NO_CARD
from tidegate.plan.policies.offload_first import OffloadFirst
from tidegate.testing import forecast_of, places_of, roster_of, snapshot_of

NAN = float("nan")

# One VM of 8 cores on a server, half of its work offloadable; a card core is worth half a host core.
# held host, held card, predicted | server has, card has || host, card, shortfall, reason
BRANCHES = {
    # 2 cores short: 4 card cores do them, 3 cores' worth may go to the card at all (6 x 0.5).
    "card_has_room": (4, 0, 6, 8, 8, 4, 4, 0, Reason.TAKE_FROM_CARD),
    # 2 short, the card has 2 cores left (worth 1), the host gives the other.
    "card_has_some": (4, 0, 6, 8, 2, 5, 2, 0, Reason.TAKE_FROM_CARD),
    # 4 short, but only 0.5 x 8 = 4 cores' worth may be on the card, 3 are there: 1 from it, 3 from the host.
    "no_more_is_offloadable": (1, 6, 8, 8, 99, 4, 8, 0, Reason.TAKE_FROM_CARD),
    "card_is_full": (4, 0, 6, 8, 0, 6, 0, 0, Reason.TAKE_FROM_HOST),
    "both_are_full": (4, 0, 6, 4, 0, 4, 0, 2, Reason.FAILURE),
    "host_has_some": (4, 0, 7, 6, 0, 6, 0, 1, Reason.FAILURE),
    "too_much_on_the_host": (6, 0, 4, 8, 8, 4, 0, 0, Reason.GIVE_BACK),
    # 3 cores too much: 2 card cores (worth 1) go back first, then 2 of the host.
    "too_much_card_first": (5, 2, 3, 8, 8, 3, 0, 0, Reason.GIVE_BACK),
    "just_right": (3, 2, 4, 8, 8, 3, 2, 0, Reason.HOLD),
    "nothing_known": (3, 2, NAN, 8, 8, 3, 2, 0, Reason.HOLD),
    # Predicted above what was sold is what was sold.
    "above_what_was_sold": (8, 0, 12, 9, 9, 8, 0, 0, Reason.HOLD),
}


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_branch(branch):
    host, on_card, predicted, server_has, card_has, *wanted = BRANCHES[branch]
    snapshot = snapshot_of(
        [1.0],
        capacity=8,
        held=host,
        on_card=on_card,
        card=1,
        places=places_of(servers=[server_has], cards=[card_has], worth=0.5),
        roster=roster_of(1, offloadable_ratio=0.5),
    )
    plan = OffloadFirst().plan(snapshot, forecast_of(snapshot, predicted), None)
    assert plan.shortfall is not None
    found = (plan.wanted[HOST, 0, 0], plan.wanted[CARD, 0, 0], plan.shortfall[0, 0], plan.reason[0, 0])
    assert [float(value) for value in found] == pytest.approx([float(value) for value in wanted])


def test_a_workload_without_card_takes_from_the_host():
    snapshot = snapshot_of(
        [1.0], capacity=8, held=4, card=NO_CARD, places=places_of(servers=[8], cards=[8]),
        roster=roster_of(1, offloadable_ratio=1.0),
    )  # fmt: skip
    plan = OffloadFirst().plan(snapshot, forecast_of(snapshot, 6), None)
    assert plan.wanted[:, 0, 0].tolist() == [6, 0]
    assert plan.reason[0, 0] == Reason.TAKE_FROM_HOST


def test_a_floor_is_kept_when_demand_falls_below_it():
    snapshot = snapshot_of(
        [0.1], capacity=8, held=4, places=places_of(servers=[8]), roster=roster_of(1, floor=2.0)
    )
    plan = OffloadFirst().plan(snapshot, forecast_of(snapshot, 0.5), None)
    assert plan.wanted[HOST, 0, 0] == 2


def test_the_higher_class_takes_the_last_of_the_card():
    # The card has 2 cores; both want 2 more; class 5 gets them, class 1 turns to the host.
    snapshot = snapshot_of(
        [1.0, 1.0],
        capacity=8,
        held=2,
        card=1,
        places=places_of(servers=[8], cards=[2], worth=1.0),
        roster=roster_of(2, priority=[1, 5], offloadable_ratio=0.5),
    )
    plan = OffloadFirst().plan(snapshot, forecast_of(snapshot, 4), None)
    assert plan.wanted[CARD, 0].tolist() == [0, 2]
    assert plan.wanted[HOST, 0].tolist() == [4, 2]
    assert plan.reason[0].tolist() == [Reason.TAKE_FROM_HOST, Reason.TAKE_FROM_CARD]


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_sentence_of_its_own(reason):
    assert reason.sentence
    assert sum(other.sentence == reason.sentence for other in Reason) == 1
    if reason.name.startswith("GUARD"):
        assert reason.sentence.startswith("guard: ")


def test_success_and_failure_are_said_aloud():
    said = {reason: reason.sentence.split(":")[0] for reason in Reason}
    assert said[Reason.FAILURE] == "FAILURE"
    taken = (Reason.TAKE_FROM_CARD, Reason.TAKE_FROM_HOST, Reason.GIVE_BACK)
    assert {said[reason] for reason in taken} == {"SUCCESS"}


def test_an_unknown_neighbour_takes_nothing_from_anyone():
    snapshot = snapshot_of(
        [np.nan, 1.0], capacity=[np.nan, 8], held=[np.nan, 4], card=1,
        places=places_of(servers=[8], cards=[8]), roster=roster_of(2, offloadable_ratio=0.5),
    )  # fmt: skip
    plan = OffloadFirst().plan(snapshot, forecast_of(snapshot, 6), None)
    assert plan.wanted[:, 0, 1].tolist() == [4, 4]
