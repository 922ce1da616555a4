"""On any fleet: nobody is given more than he asked or than there is, higher classes first."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.roster import NO_CARD
from tidegate.model.snapshot import card_worth
from tidegate.plan.placement import Placement, rationed, turn_of
from tidegate.testing.random_fleets import random_snapshot

seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds)
def test_rations_stay_within_room_and_what_was_asked(seed):
    rng = np.random.default_rng(seed)
    places, workloads = int(rng.integers(1, 5)), int(rng.integers(0, 30))
    place = rng.integers(-1, places, workloads).astype(np.int32)
    priority = rng.integers(0, 4, workloads).astype(np.uint8)
    asked = (rng.random((2, workloads)) * [[1.0], [1e12]]).astype(np.float32)
    room = rng.uniform(-1, 5, (2, places)) * [[1.0], [1e12]]
    given_each = rationed(asked, room, turn_of(place, priority, places))
    assert (given_each >= 0).all()
    assert (given_each <= asked).all()
    assert not given_each[:, place < 0].any()
    for number in range(places):
        there = place == number
        for row in range(2):
            got, want = given_each[row, there].astype(np.float64), asked[row, there]
            assert got.sum() <= max(room[row, number], 0) * (1 + 1e-6)
            short = got < want * (1 - 1e-6)
            if short.any():
                highest_short = priority[there][short].max()
                below = priority[there] < highest_short
                assert got[below].sum() <= 1e-9 * asked[row].sum()


@given(seed=seeds)
def test_floors_are_never_cut_where_they_fit(seed):
    snapshot = random_snapshot(seed, in_flight=False)
    rng = np.random.default_rng((seed, 2))
    total = (snapshot.capacity * rng.random(snapshot.capacity.shape)).astype(np.float32)
    placed = Placement().place(total, snapshot)
    covered = placed.host + placed.card * card_worth(snapshot)
    floor = np.minimum(snapshot.roster.floor, total)
    for number in range(len(snapshot.places.names)):
        there = snapshot.host == number
        fits = floor[:, there].sum(axis=1, dtype=np.float64) <= snapshot.places.allocatable[:, number]
        kept = covered[:, there] >= floor[:, there] * (1 - 1e-5)
        assert kept[fits].all()


@given(seed=seeds)
def test_shares_and_shortfall_add_up_to_what_was_asked(seed):
    snapshot = random_snapshot(seed, in_flight=False)
    rng = np.random.default_rng((seed, 3))
    total = (snapshot.capacity * rng.random(snapshot.capacity.shape)).astype(np.float32)
    placed = Placement().place(total, snapshot)
    sums = placed.host + placed.card * card_worth(snapshot) + placed.shortfall
    np.testing.assert_allclose(sums, total, rtol=1e-4)
    assert not placed.card[:, snapshot.card == NO_CARD].any()
    offloaded = placed.card * card_worth(snapshot)
    assert (offloaded <= total * snapshot.roster.offloadable_ratio * (1 + 1e-5)).all()
