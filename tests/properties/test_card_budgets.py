"""Budgets, whatever the fleet: they fit on each card, and a class gives way only after those below it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.card_fleet import NOWHERE, CardFleet
from tidegate.model.resources import Resource
from tidegate.plan.cards.budgets import budgets, summed

RESOURCES = (Resource.CPU, Resource.MEMORY)
ROUNDING = 1e-4
"""Of float32 sums over a card, relatively."""


def random_fleet(seed, pressed):
    chance = np.random.default_rng(seed)
    cards, count = int(chance.integers(1, 4)), int(chance.integers(1, 12))
    scale = np.array([[4.0], [8e9]])
    allocatable = scale * chance.uniform(0.5, 2.0, (2, cards))
    need = scale * chance.gamma(1.0, pressed / count, (2, count))
    floor = need * chance.uniform(0, 1.2, (2, count)) * (chance.random((2, count)) < 0.7)
    ceiling = np.where(chance.random((2, count)) < 0.5, np.inf, np.maximum(need, floor) * 1.5)
    return CardFleet(
        time_seconds=0.0,
        resources=RESOURCES,
        cards=tuple(f"card-{at}" for at in range(cards)),
        allocatable=allocatable,
        takes_new=np.ones(cards, dtype=np.bool_),
        must_leave=np.zeros(cards, dtype=np.bool_),
        heard=np.ones(cards, dtype=np.bool_),
        applications=tuple(f"app-{at}" for at in range(count)),
        card=chance.integers(NOWHERE, cards, count).astype(np.int32),
        need=need.astype(np.float32),
        floor=floor.astype(np.float32),
        ceiling=ceiling.astype(np.float32),
        priority=chance.integers(0, 3, count).astype(np.uint8),
        score=chance.uniform(0, 100, count).astype(np.float32),
        lateness=np.zeros((count, cards), dtype=np.float32),
        state_bytes=np.zeros(count),
        hands_off=np.ones(count, dtype=np.bool_),
        settled_seconds=np.full(count, np.inf),
        between_bytes_per_second=np.full((cards, cards), 1e8),
    )


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 2.0, 8.0, 40.0]))
def test_on_no_card_budgets_are_more_than_is_allocatable(seed, pressed):
    fleet = random_fleet(seed, pressed)
    total = summed(budgets(fleet, fleet.card), fleet.card, len(fleet.cards))
    assert (total <= fleet.allocatable * (1 + ROUNDING)).all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 2.0, 8.0, 40.0]))
def test_a_higher_class_is_never_cut_while_a_lower_one_has_more_than_its_floor(seed, pressed):
    fleet = random_fleet(seed, pressed)
    budget = budgets(fleet, fleet.card)
    wants = np.minimum(np.maximum(fleet.need, fleet.floor), fleet.ceiling)
    for row in range(len(RESOURCES)):
        for high in range(len(fleet.applications)):
            if fleet.card[high] == NOWHERE or budget[row, high] >= wants[row, high] * (1 - ROUNDING):
                continue
            lower = (fleet.card == fleet.card[high]) & (fleet.priority < fleet.priority[high])
            room = fleet.allocatable[row, fleet.card[high]] * ROUNDING
            assert (budget[row, lower] <= fleet.floor[row, lower] + room).all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 2.0, 8.0, 40.0]))
def test_nobody_gets_more_than_its_ceiling_and_floors_hold_where_they_fit(seed, pressed):
    fleet = random_fleet(seed, pressed)
    budget = budgets(fleet, fleet.card)
    assert (budget <= np.maximum(fleet.ceiling, fleet.floor) * (1 + ROUNDING)).all()
    least = np.minimum(fleet.floor, np.maximum(fleet.need, fleet.floor))
    fits = (summed(least, fleet.card, len(fleet.cards)) <= fleet.allocatable * (1 - ROUNDING))[
        :, np.maximum(fleet.card, 0)
    ]
    there = fits & (fleet.card != NOWHERE)
    assert (budget[there] >= np.minimum(least, fleet.ceiling)[there] * (1 - ROUNDING)).all()


@pytest.mark.parametrize("pressed", [8.0, 40.0])
def test_under_pressure_somebody_is_cut(pressed):
    cut = 0
    for seed in range(20):
        fleet = random_fleet(seed, pressed)
        wants = np.minimum(np.maximum(fleet.need, fleet.floor), fleet.ceiling)
        here = fleet.card != NOWHERE
        cut += int((budgets(fleet, fleet.card)[:, here] < wants[:, here] * 0.9).any())
    assert cut > 10
