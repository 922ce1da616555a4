"""Whatever the losses and costs: refits keep within their time, and everyone has a turn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.forecast.paths.refits import choose_refits
from tidegate.model.errors import InputError

COSTS = st.lists(st.floats(0.0625, 2, width=32), min_size=1, max_size=40)


def round_of(cost, since, seed, *, budget, rounds=10):
    chance = np.random.default_rng(seed)
    loss = np.where(chance.random(cost.size) < 0.1, np.nan, chance.exponential(size=cost.size))
    capacity = chance.choice([1, 4, 64], size=cost.size)
    return choose_refits(
        loss.astype(np.float32),
        capacity.astype(np.float32),
        cost,
        since,
        refit_seconds_max=budget,
        rounds_max=rounds,
    )


@given(COSTS, st.floats(0, 30), st.integers(0, 2**32 - 1))
def test_a_round_keeps_within_its_time_and_fits_nobody_twice(costs, budget, seed):
    cost = np.array(costs, dtype=np.float32)
    since = np.random.default_rng(seed).integers(1, 30, cost.size)
    chosen = round_of(cost, since, seed, budget=budget)
    assert np.unique(chosen).size == chosen.size
    assert cost[chosen].sum() <= budget * (1 + 1e-5) or chosen.size == 1
    np.testing.assert_array_equal(chosen, round_of(cost, since, seed, budget=budget))


@settings(max_examples=50)
@given(COSTS, st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_nobody_waits_longer_than_promised(costs, rounds, seed):
    cost = np.array(costs, dtype=np.float32)
    dearest = float(cost.max())
    budget = dearest + max(float(cost.sum()) / rounds, dearest) * 1.001  # what the promise needs, no more
    since = np.ones(cost.size, dtype=np.int64)
    for number in range(4 * rounds):
        chosen = round_of(cost, since, seed + number, budget=budget, rounds=rounds)
        assert (np.delete(since, chosen) < rounds).all()
        since += 1
        since[chosen] = 1


@given(COSTS, st.integers(0, 2**32 - 1))
def test_no_time_is_left_that_would_do_for_another(costs, seed):
    cost = np.array(costs, dtype=np.float32)
    budget = 3.0
    chosen = round_of(cost, np.ones(cost.size, dtype=np.int64), seed, budget=budget)
    left = budget - cost[chosen].astype(float).sum()
    assert (np.delete(cost, chosen) > left - 1e-6).all()


def choose(loss, capacity, cost, since, **limits):
    amounts = (np.array(each, dtype=np.float32) for each in (loss, capacity, cost))
    limits = {"refit_seconds_max": 1.0, "rounds_max": 10} | limits
    return choose_refits(*amounts, np.array(since), **limits).tolist()


def test_what_could_be_saved_most_comes_first():
    assert choose([0.1, 0.3, 0.2], [1, 1, 4], [1, 1, 1], [1, 1, 1]) == [2]
    assert choose([0.1, 0.3, 0.2], [1, 1, 1], [1, 1, 1], [1, 1, 1]) == [1]
    assert choose([0.1, 0.3, 0.2], [1, 1, 1], [0.4, 0.8, 0.4], [1, 1, 1]) == [2, 0], "twice as dear"


def test_an_unknown_loss_counts_as_the_largest():
    assert choose([0.1, np.nan, 0.2], [1, 2, 1], [1, 1, 1], [1, 1, 1]) == [1]


def test_who_waited_longest_has_a_turn_whatever_it_saves():
    assert choose([0.0, 9.0, 9.0], [1, 1, 1], [1, 1, 1], [10, 1, 1]) == [0]


def test_a_fit_that_costs_more_than_a_round_is_made_alone_in_its_turn():
    assert choose([1.0, 1.0], [1, 1], [5, 1], [3, 1]) == [1]
    assert choose([1.0, 1.0], [1, 1], [5, 1], [10, 1]) == [0]


def test_nothing_is_chosen_of_nobody_or_without_time():
    assert choose([], [], [], np.zeros(0, dtype=np.int64)) == []
    assert choose([1.0], [1], [1], [99], refit_seconds_max=0) == []


@pytest.mark.parametrize("limits", [{"rounds_max": 0}, {"refit_seconds_max": -1.0}])
def test_limits_that_say_nothing_are_refused(limits):
    with pytest.raises(InputError, match=next(iter(limits))):
        choose([1.0], [1], [1], [1], **limits)
