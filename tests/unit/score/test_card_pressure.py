"""The score by hand: parts, the largest of them, the sentence, and the ends of the scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.model.errors import InputError
from tidegate.model.forecast import ServerForecast, between_levels
from tidegate.score.card_pressure import CardPressure
from tidegate.score.nothing import NothingScorer
from tidegate.testing import forecast_of, places_of, roster_of, snapshot_of

TWO_BY_ONE = places_of(servers=[[8, 8], [64, 64]], cards=[[8], [16]])


def fleet(*, on_card=0.0, rate=0.1, places=TWO_BY_ONE, used=((1.0, 1.0), (1.0, 1.0))):
    return snapshot_of(
        used, capacity=8, on_card=on_card, host=[0, 1], card=2, places=places,
        roster=roster_of(2, resources=2, violation_rate=rate, offloadable_ratio=1.0),
    )  # fmt: skip


def scored(snapshot, demand, *, levels=(0.5, 0.9)):
    """Scores for ``demand`` (levels, resources, places) over an hour."""
    servers = ServerForecast(
        levels=np.float32(levels), quantiles=np.asarray(demand, dtype=np.float32), horizon_seconds=3600
    )
    return CardPressure().score(snapshot, replace(forecast_of(snapshot, 1.0), servers=servers))


def at_both_levels(frame):
    return [frame, frame]


def test_a_score_is_the_largest_part_clipped():
    # Card: 8 cores, 16 bytes. Server 1 wants 2 cores (25) and 12 bytes (75); server 2 12 cores (150 -> 100).
    scores = scored(fleet(), at_both_levels([[2, 12, 0], [12, 4, 0]]))
    assert scores.parts.tolist() == [[25, 150], [75, 25]]
    assert scores.value.tolist() == [75, 100]
    assert scores.names == ("server-1", "server-2")


def test_the_sentence_names_resource_level_demand_horizon_and_room():
    scores = scored(fleet(), at_both_levels([[2, 12, 0], [12, 4, 0]]))
    assert scores.because(0) == (
        "memory: with probability 0.9 offloadable demand peaks at 12 bytes within 60 minutes, "
        "of 16 allocatable on cards"
    )
    assert scores.because(1).startswith("cpu: with probability 0.9 offloadable demand peaks at 12 cores")


def test_the_strictest_sla_on_a_server_picks_the_level():
    # Server 1 holds to 50 %, server 2 to 10 %: the median and the 90th percentile.
    scores = scored(fleet(rate=[0.5, 0.1]), [[[2, 2, 0], [0, 0, 0]], [[6, 6, 0], [0, 0, 0]]])
    assert scores.value.tolist() == [25, 75]


def test_what_others_hold_on_a_card_is_not_allocatable_and_what_is_one_s_own_is():
    # Server 2's VM holds 4 of the card's 8 cores: 4 are left for server 1, 8 for server 2 itself.
    on_card = [[0, 4], [0, 0]]
    scores = scored(fleet(on_card=on_card), at_both_levels([[2, 2, 0], [0, 0, 0]]))
    assert scores.allocatable[0].tolist() == [4, 8]
    assert scores.value.tolist() == [50, 25]


@pytest.mark.parametrize(("demand", "value"), [(0.0, 0), (0.5, 100)])
def test_a_card_with_nothing_left_is_a_hundred_for_whoever_wants_something(demand, value):
    places = places_of(servers=[[8, 8], [64, 64]], cards=[[0], [0]])
    scores = scored(fleet(places=places), at_both_levels([[demand, demand, 0], [0, 0, 0]]))
    assert scores.value.tolist() == [value, value]


def test_an_unseen_server_scores_nothing():
    nan = float("nan")
    assert scored(fleet(), at_both_levels([[nan, 4, 0], [nan, 0, 0]])).value.tolist() == [0, 50]


def test_without_cards_or_sums_there_is_nothing_to_score():
    bare = snapshot_of([1.0])
    assert CardPressure().score(bare, forecast_of(bare, 1.0)) is None
    assert CardPressure().score(fleet(), forecast_of(fleet(), 1.0)) is None
    assert NothingScorer().score(fleet(), forecast_of(fleet(), 1.0)) is None


def test_an_empty_fleet_has_scores_of_zero():
    empty = snapshot_of(np.empty((2, 0)), places=TWO_BY_ONE)
    assert scored(empty, np.zeros((2, 2, 3))).value.tolist() == [0, 0]


def test_a_score_outside_the_scale_can_t_be_made():
    scores = scored(fleet(), at_both_levels([[2, 2, 0], [2, 2, 0]]))
    for wrong in (101.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="outside 0-100"):
            replace(scores, value=np.float32([wrong, 0]))


def test_a_quantile_between_levels_is_linear_and_flat_outside():
    levels, quantiles = np.float32([0.5, 0.9]), np.float32([[2.0], [6.0]])
    asked = (0.1, 0.5, 0.7, 0.9, 0.999)
    found = [float(between_levels(levels, quantiles, level)[0]) for level in asked]
    assert found == pytest.approx([2, 2, 4, 6, 6])
