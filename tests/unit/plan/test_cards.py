"""Placement over cards: moved where it pays back, emptied where asked, never more than there is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.card_fleet import NOWHERE, CardFleet, Strategy
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.plan.cards import CardPlanner
from tidegate.plan.cards.budgets import budgets, summed
from tidegate.plan.cards.moves import gains, standing, weights
from tidegate.plan.cards.pressure import lateness_of, load_of

RESOURCES = (Resource.CPU, Resource.MEMORY)
ROUNDS_MAX = 20


def fleet(cores, on, need, **other):
    """Cards of so many cores, 16 GB each; applications at ``on`` that need so many cores, and 1 GB each."""
    cards, apps = len(cores), len(on)
    columns = {
        "time_seconds": 0.0,
        "resources": RESOURCES,
        "cards": tuple(f"card-{at}" for at in range(cards)),
        "allocatable": np.array([cores, [16e9] * cards], dtype=np.float64),
        "takes_new": np.ones(cards, dtype=np.bool_),
        "must_leave": np.zeros(cards, dtype=np.bool_),
        "heard": np.ones(cards, dtype=np.bool_),
        "applications": tuple(f"app-{at}" for at in range(apps)),
        "card": np.array(on, dtype=np.int32),
        "need": np.array([need, [1e9] * apps], dtype=np.float32),
        "floor": np.zeros((2, apps), dtype=np.float32),
        "ceiling": np.full((2, apps), np.inf, dtype=np.float32),
        "priority": np.zeros(apps, dtype=np.uint8),
        "score": np.zeros(apps, dtype=np.float32),
        "lateness": np.zeros((apps, cards), dtype=np.float32),
        "state_bytes": np.full(apps, 1e6),
        "hands_off": np.ones(apps, dtype=np.bool_),
        "settled_seconds": np.full(apps, np.inf),
        "between_bytes_per_second": np.full((cards, cards), 1e8),
    }
    return CardFleet(**columns | {name: np.asarray(value) for name, value in other.items()})


def test_a_full_card_gives_to_an_empty_one():
    plan = CardPlanner().plan(fleet([4, 4], [0, 0, 0], [2, 2, 2]))
    assert len(plan.moves) == 1
    move = plan.moves[0]
    assert (move.card_from, move.card_to, move.strategy) == ("card-0", "card-1", Strategy.HANDOFF)
    assert "cpu of card-0 is asked for 150%" in move.reason
    assert 0 < move.pay_back_seconds < 600


def test_nothing_moves_where_all_is_calm():
    assert CardPlanner().plan(fleet([4, 4], [0, 0], [1, 1])).moves == ()


def test_a_move_that_does_not_pay_back_is_not_made():
    crowded = fleet([4, 4], [0, 0, 0], [1.2, 1.2, 1.2])
    assert CardPlanner().plan(crowded).moves
    heavy = replace(crowded, state_bytes=np.full(3, 1e12))
    assert CardPlanner().plan(heavy).moves == ()


def test_who_has_just_moved_stays():
    plan = CardPlanner(dwell_seconds=60).plan(fleet([4, 4], [0, 0], [3, 3], settled_seconds=[59.0, 59.0]))
    assert plan.moves == ()
    assert (
        CardPlanner(dwell_seconds=60).plan(fleet([4, 4], [0, 0], [3, 3], settled_seconds=[59.0, 61.0])).moves
    )


def test_a_drained_card_is_emptied_whatever_it_costs():
    drained = fleet(
        [4, 4, 4], [0, 0, 1], [1, 1, 1], must_leave=[True, False, False], settled_seconds=[0.0] * 3
    )
    plan = CardPlanner().plan(drained)
    assert not np.isin(plan.card, 0).any()
    assert {move.application for move in plan.moves} == {"app-0", "app-1"}
    assert all("card-0 is to be emptied" in move.reason for move in plan.moves)


def test_a_drained_card_keeps_what_fits_nowhere_and_says_why():
    plan = CardPlanner().plan(fleet([4, 1], [0, 0], [0.5, 3], must_leave=[True, False]))
    assert plan.card.tolist() == [1, 0]
    assert [one.application for one in plan.unplaced] == ["app-1"]
    assert "card-1" in plan.unplaced[0].reason
    assert "lacks 2.5 cores of cpu" in plan.unplaced[0].reason


def test_a_newcomer_is_taken_in_where_there_is_most_room():
    assert CardPlanner().plan(fleet([4, 4], [0, NOWHERE], [3, 2])).card.tolist() == [0, 1]


def test_a_newcomer_that_fits_nowhere_is_refused_with_the_shortfall():
    plan = CardPlanner().plan(fleet([4, 4], [0, 1, NOWHERE], [3, 3.5, 2]))
    assert plan.card[2] == NOWHERE
    assert "card-0, the nearest to it, lacks 1 cores of cpu" in plan.unplaced[0].reason
    assert (plan.budget[:, 2] == 0).all()


def test_the_higher_class_is_placed_first():
    plan = CardPlanner().plan(
        fleet([4], [NOWHERE, NOWHERE], [3, 3], priority=np.array([0, 3], dtype=np.uint8))
    )
    assert plan.card.tolist() == [NOWHERE, 0]


def test_within_a_class_the_server_that_presses_hardest_is_placed_first():
    plan = CardPlanner().plan(
        fleet([4], [NOWHERE, NOWHERE], [3, 3], score=np.array([10, 90], dtype=np.float32))
    )
    assert plan.card.tolist() == [NOWHERE, 0]


def test_a_bad_way_is_left_for_a_good_one():
    late = np.array([[0.9, 0.0], [0.0, 0.0]], dtype=np.float32)
    plan = CardPlanner().plan(fleet([4, 4], [0, 1], [1, 1], lateness=late))
    assert plan.card.tolist() == [1, 1]
    assert "the way to card-0 uses up 90% of the latency agreed on" in plan.moves[0].reason


def test_nothing_moves_to_or_from_a_card_nobody_hears():
    silent = fleet([1, 4, 4], [0, 0, 1], [2, 2, 5], heard=[False, True, False])
    assert CardPlanner().plan(silent).moves == ()


def test_what_can_not_hand_over_is_restarted():
    plan = CardPlanner().plan(fleet([2, 4], [0, 0], [2, 2], hands_off=[False, False]))
    assert plan.moves[0].strategy is Strategy.RESTART
    assert plan.moves[0].pause_seconds == 5


def test_budgets_serve_classes_in_turn():
    plan = CardPlanner().plan(fleet([4], [0, 0], [3, 3], priority=np.array([1, 0], dtype=np.uint8)))
    assert plan.budget[0].tolist() == [3, 1]


def test_within_a_class_nobody_is_served_whole_before_all_have_an_even_share():
    """Served in turn, the last would hold less than it uses, look ever hungrier, and stay the last."""
    plan = CardPlanner().plan(fleet([4], [0, 0, 0, 0], [0.5, 1.2, 1.3, 3]))
    np.testing.assert_allclose(plan.budget[0], [0.5, 3.5 / 3, 3.5 / 3, 3.5 / 3], rtol=1e-6)


def test_an_even_share_comes_on_top_of_floors_and_is_more_for_servers_that_press_hard():
    floor = np.array([[2, 0, 0], [0, 0, 0]], dtype=np.float32)
    score = np.array([0, 0, 100], dtype=np.float32)
    plan = CardPlanner().plan(fleet([5], [0, 0, 0], [6, 6, 6], floor=floor, score=score))
    np.testing.assert_allclose(plan.budget[0], [2.75, 0.75, 1.5], rtol=1e-6)


def test_who_is_to_leave_is_not_starved_by_those_who_stay_until_it_has_left():
    """One move is planned, and may wait for room; meanwhile the card is still that of all three."""
    made = fleet([4, 4], [0, 0, 0], [2.5, 2.5, 2.5])
    plan = CardPlanner(moves_max=1).plan(made)
    stays = plan.card == 0
    assert stays.sum() == 2
    np.testing.assert_allclose(plan.budget[0], 4 / 3, rtol=1e-6)
    np.testing.assert_allclose(budgets(made, plan.card)[0, stays], 2, rtol=1e-6)


def test_who_is_to_leave_shrinks_to_what_it_gets_where_it_goes():
    """It has to fit there with what it holds; holding on to more, it would wait for room for ever."""
    made = fleet([6, 4], [0, 0, 0, 1], [3, 3, 3, 3])
    plan = CardPlanner(moves_max=1).plan(made)
    (moved,) = np.flatnonzero(plan.card != made.card)
    assert budgets(made, plan.card)[0, moved] == 2
    assert plan.budget[0, moved] == 2
    assert plan.budget[0, 3] == 2


def test_what_is_left_over_is_shared_out_by_need_but_for_a_tenth():
    plan = CardPlanner().plan(fleet([8], [0, 0], [3, 1]))
    np.testing.assert_allclose(plan.budget[0], [3 + 2.7, 1 + 0.9])


def test_no_applications_is_an_empty_plan():
    assert CardPlanner().plan(fleet([4], [], [])).card.size == 0


def test_no_cards_at_all_refuses_everyone():
    plan = CardPlanner().plan(fleet([], [NOWHERE], [1]))
    assert plan.unplaced[0].reason == "no card takes applications now; put one into service"


def test_columns_that_disagree_are_refused_by_name():
    with pytest.raises(InputError, match="'priority'"):
        fleet([4], [0], [1], priority=np.zeros(2, dtype=np.uint8))


def test_requests_are_ever_later_the_fuller_a_card_is():
    load = np.linspace(0, 10, 2_000)
    late = lateness_of(load)
    assert (np.diff(late, 2) >= -1e-12).all()
    assert late[0] == 0
    assert lateness_of(np.array([1.0])) == pytest.approx(0.25)
    assert lateness_of(np.array([np.inf])) == late[-1]


def test_where_more_is_asked_for_than_all_have_no_card_is_given_up_to_spare_the_others():
    """Forecasts are mostly too high; a card with twice as many would be full in earnest."""
    even = fleet([0.4] * 3, [0] * 4 + [1] * 4 + [2] * 4, [0.12] * 12)
    assert CardPlanner().plan(even).moves == ()
    full = fleet([0.4] * 3, [0] * 9 + [1] * 2 + [2], [0.103] * 12)
    assert sorted(np.bincount(CardPlanner().plan(full).card).tolist()) == [4, 4, 4]


@st.composite
def fleets(draw):
    cards, apps = draw(st.integers(1, 4)), draw(st.integers(1, 10))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    need = random.uniform(0, 3, apps)
    return fleet(
        random.uniform(0.5, 8, cards),
        random.integers(-1, cards, apps),
        need,
        floor=np.stack([need * random.uniform(0, 0.5, apps), np.zeros(apps)]).astype(np.float32),
        takes_new=random.random(cards) < 0.8,
        must_leave=random.random(cards) < 0.2,
        heard=random.random(cards) < 0.9,
        priority=random.integers(0, 4, apps).astype(np.uint8),
        score=random.uniform(0, 100, apps).astype(np.float32),
        lateness=random.uniform(0, 1, (apps, cards)).astype(np.float32) * (random.random() < 0.5),
        hands_off=random.random(apps) < 0.7,
        settled_seconds=random.uniform(0, 400, apps),
    )


@given(fleets())
def test_budgets_never_add_up_to_more_than_a_card_has(made):
    plan = CardPlanner().plan(made)
    held = summed(plan.budget, plan.card, len(made.cards))
    assert (held <= made.allocatable * (1 + 1e-5)).all()
    assert (plan.budget >= 0).all()


@given(fleets())
def test_who_lacks_has_as_much_as_anyone_of_its_class_on_its_card(made):
    """Max-min fairness: nobody above its floor could give to one that has less of it for its weight."""
    card = CardPlanner().plan(made).card
    budget = budgets(made, card)
    need = np.minimum(np.maximum(made.need, made.floor), made.ceiling)
    floors = np.minimum(made.floor, need)
    fit = summed(floors, card, len(made.cards)) <= made.allocatable
    above = (budget - floors) / (1 + made.score / 100)
    for row in range(len(made.resources)):
        for one in np.flatnonzero((card != NOWHERE) & fit[row, card]):
            peers = (card == card[one]) & (made.priority == made.priority[one])
            if budget[row, one] < need[row, one] * (1 - 1e-4):
                assert (above[row, peers] <= above[row, one] * (1 + 1e-3) + 1e-3 * need[row].max()).all()


@given(fleets())
def test_every_move_goes_from_where_it_is_to_a_card_that_takes_it(made):
    plan = CardPlanner().plan(made)
    moved = {move.application for move in plan.moves}
    assert len(moved) == len(plan.moves)
    for move in plan.moves:
        row, to = made.applications.index(move.application), made.cards.index(move.card_to)
        assert made.cards[made.card[row]] == move.card_from != move.card_to
        assert made.takes_new[to]
        assert made.heard[to]
        assert not made.must_leave[to]
        assert made.heard[made.card[row]]
        assert plan.card[row] == to
    for row, name in enumerate(made.applications):
        if name not in moved and made.card[row] != NOWHERE:
            assert plan.card[row] == made.card[row]


@given(fleets())
def test_plans_that_are_carried_out_come_to_an_end(made):
    """Each move for gain makes the whole cost less, so two cards can't play ball for ever."""
    planner = CardPlanner(moves_max=1_000)
    for _ in range(ROUNDS_MAX):
        plan = planner.plan(made)
        if not plan.moves:
            return
        settled = np.where(plan.card == made.card, made.settled_seconds, np.inf)
        made = replace(made, card=plan.card, settled_seconds=settled)
    raise AssertionError(f"still moving after {ROUNDS_MAX} plans: {plan.moves}")


@given(fleets())
def test_gains_are_what_really_changes(made):
    """What `gains` says of all at once equals the whole cost before less that after one move."""
    at = standing(made)
    said = gains(at)
    weight = weights(made)
    for row in range(len(made.applications)):
        if made.card[row] == NOWHERE:
            continue
        for card in range(len(made.cards)):
            placed = made.card.copy()
            placed[row] = card
            np.testing.assert_allclose(
                said[row, card], cost(made, made.card, weight) - cost(made, placed, weight), atol=1e-4
            )


def cost(made, card, weight):
    asked = summed(made.need, card, len(made.cards))
    heavy = summed(weight[None], card, len(made.cards))[0]
    way = np.where(card == NOWHERE, 0, made.lateness[np.arange(card.size), np.maximum(card, 0)])
    return float((heavy * lateness_of(load_of(asked, made.allocatable))).sum() + (weight * way).sum())


@given(fleets())
def test_planning_again_after_each_plan_was_carried_out_comes_to_rest(made):
    planner = CardPlanner()
    made = replace(made, settled_seconds=np.full(len(made.applications), 1e9))
    for _ in range(2 * len(made.applications) + 2):
        plan = planner.plan(made)
        if (plan.card == made.card).all():
            break
        made = replace(made, card=plan.card)
    assert planner.plan(made).moves == ()


@given(fleets(), st.integers(0, 2**32 - 1))
def test_who_said_no_is_not_asked_and_who_may_not_move_stays(made, seed):
    random = np.random.default_rng(seed)
    refused = random.random((len(made.applications), len(made.cards))) < 0.5
    fixed = random.random(len(made.applications)) < 0.3
    plan = CardPlanner().plan(
        replace(made, refused=refused, settled_seconds=np.where(fixed, -np.inf, made.settled_seconds))
    )
    for row, card in enumerate(plan.card):
        if card != made.card[row]:
            assert not refused[row, card]
            assert made.card[row] == NOWHERE or not fixed[row]


def test_room_is_looked_for_only_in_what_is_needed():
    crowded = fleet([4], [0, NOWHERE], [1, 1])
    need = np.array([[1, 1], [20e9, 0]], dtype=np.float32)
    assert CardPlanner().plan(replace(crowded, need=need)).card.tolist() == [0, 0]
    short = CardPlanner().plan(replace(crowded, need=np.array([[4, 1], [20e9, 0]], dtype=np.float32)))
    assert "lacks 1 cores of cpu" in short.unplaced[0].reason


def test_where_each_card_with_room_said_no_the_reason_says_so():
    plan = CardPlanner().plan(fleet([4], [NOWHERE], [1], refused=[[True]]))
    assert "said no to it lately" in plan.unplaced[0].reason


@given(fleets())
def test_gains_of_some_are_those_among_all(made):
    at = standing(made)
    rows = np.arange(0, len(made.applications), 2)
    np.testing.assert_array_equal(gains(at, rows), gains(at)[rows])
