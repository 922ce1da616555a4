"""Plans respect links: nothing is placed or moved onto one without headroom, and pauses follow it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.plan.test_cards import fleet
from tidegate.model.card_fleet import NOBODY, NOWHERE, Ways
from tidegate.model.errors import InputError
from tidegate.plan.cards import CardPlanner
from tidegate.plan.cards.moves import pauses


def with_ways(of, server, need, left):
    return replace(
        of,
        ways=Ways(
            server=np.array(server, dtype=np.int32),
            need_bytes_per_second=np.array(need, dtype=np.float64),
            left_bytes_per_second=np.array(left, dtype=np.float64),
        ),
    )


def between(cards, **left):
    found = np.full((cards, cards), 1e8)
    for pair, rate in left.items():
        row, column = map(int, pair.removeprefix("at_").split("_"))
        found[row, column] = rate
    return found


def test_a_newcomer_goes_where_the_link_from_its_server_has_room():
    alone = fleet([4, 4], [NOWHERE], [1])
    assert CardPlanner().plan(with_ways(alone, [0], [5e6], [[1e6, 1e8]])).card.tolist() == [1]
    assert CardPlanner().plan(with_ways(alone, [0], [5e6], [[1e8, 1e6]])).card.tolist() == [0]


def test_one_that_fits_but_for_its_links_is_told_so():
    plan = CardPlanner().plan(with_ways(fleet([4, 4], [NOWHERE], [1]), [0], [5e6], [[1e6, 2e6]]))
    assert plan.card.tolist() == [NOWHERE]
    (one,) = plan.unplaced
    assert "link from its server to card-1" in one.reason
    assert "2 MB/s" in one.reason
    assert "needs 5 MB/s" in one.reason


def test_two_newcomers_of_a_plan_do_not_share_the_same_room():
    both = with_ways(fleet([8, 8], [NOWHERE, NOWHERE], [1, 1]), [0, 0], [5e6, 5e6], [[8e6, 8e6]])
    assert sorted(CardPlanner().plan(both).card.tolist()) == [0, 1]
    three = fleet([8, 8], [NOWHERE] * 3, [1, 1, 1])
    plan = CardPlanner().plan(with_ways(three, [0] * 3, [5e6] * 3, [[8e6, 8e6]]))
    assert sorted(plan.card.tolist()) == [NOWHERE, 0, 1]


def test_far_memory_counts_like_traffic_and_nobody_s_work_takes_no_link():
    crowded = fleet([4, 4], [0, 0, 0], [2, 2, 2])
    plan = CardPlanner().plan(with_ways(crowded, [0, 0, NOBODY], [6e6, 6e6, 6e6], [[0, 5e6]]))
    assert [move.application for move in plan.moves] == ["app-2"]


def test_nothing_moves_over_a_link_without_headroom_and_all_goes_by_the_other():
    crowded = fleet([4, 4, 4], [0, 0, 0], [2, 2, 2])
    assert CardPlanner().plan(crowded).moves
    full = replace(crowded, between_bytes_per_second=between(3, at_0_1=0.0))
    plan = CardPlanner().plan(full)
    assert plan.moves
    assert {move.card_to for move in plan.moves} == {"card-2"}
    none = replace(crowded, between_bytes_per_second=between(3, at_0_1=0.0, at_0_2=1000.0))
    assert CardPlanner().plan(none).moves == ()


def test_a_drained_card_whose_links_are_full_waits_and_says_so():
    full = fleet([4, 4], [0], [1], must_leave=[True, False], between_bytes_per_second=between(2, at_0_1=0.0))
    plan = CardPlanner().plan(full)
    assert plan.card.tolist() == [0]
    assert "links from card-0" in plan.unplaced[0].reason


def test_what_does_not_take_its_state_along_needs_no_link_between_cards():
    full = fleet(
        [4, 4],
        [0],
        [1],
        must_leave=[True, False],
        hands_off=np.array([False]),
        between_bytes_per_second=between(2, at_0_1=0.0),
    )
    assert CardPlanner().plan(full).card.tolist() == [1]


def test_a_move_s_predicted_seconds_follow_what_is_left():
    one = fleet([4, 4], [0], [1], state_bytes=np.array([1e8]))
    assert pauses(one)[0, 1] == pytest.approx(1.1)
    half = replace(one, between_bytes_per_second=between(2, at_0_1=5e7))
    assert pauses(half)[0, 1] == pytest.approx(2.1)
    assert np.isfinite(pauses(replace(one, between_bytes_per_second=between(2, at_0_1=0.0)))).all()


def test_columns_of_ways_that_disagree_are_refused():
    with pytest.raises(InputError, match="need_bytes_per_second"):
        with_ways(fleet([4], [0], [1]), [0], [1.0, 2.0], [[1.0]])
