"""Seats and histories: who is remembered, and at what time."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.forecast.day_ahead.history import BLOCKS, History
from tidegate.forecast.day_ahead.seats import PerSeat, Seats
from tidegate.model.errors import InputError
from tidegate.testing import roster_of, snapshot_of

COLUMNS = {
    "amount": PerSeat(dtype=np.float32, fill=np.nan),
    "past": PerSeat(dtype=np.float16, fill=-1, leading=(2,), trailing=(3,)),
}


def fleet(ids, capacity=1.0):
    at = np.array(ids, dtype=np.int64)
    return snapshot_of(at * 0.1, capacity=capacity, roster=roster_of(at.size, ids=at))


def seated(seats, snapshot, **given):
    seats.follow(snapshot, **given)
    return seats.in_rows(seats["amount"], np.nan)[0].tolist()


def test_who_stays_keeps_its_seat_and_who_comes_begins_anew():
    seats = Seats(COLUMNS, series_max=100)
    seats.follow(fleet([4, 2, 9]))
    seats["amount"][0] = [4, 2, 9]
    seats["past"][:] = 7
    assert seated(seats, fleet([9, 2, 4])) == [9, 2, 4]
    assert np.isnan(seated(seats, fleet([2, 5]))[1])
    assert seated(seats, fleet([2, 5]))[0] == 2
    assert (seats.in_rows(np.moveaxis(seats["past"], -1, 0), 0)[..., 1] == -1).all()
    np.testing.assert_allclose(seats.in_seats(fleet([2, 5]).used)[0][seats.seat], [0.2, 0.5])
    assert seated(seats, fleet([])) == []
    assert not seats.taken.any()


def test_seats_grow_with_the_fleet_and_hold_what_was_there():
    seats = Seats(COLUMNS, series_max=100)
    for count in (3, 4, 30, 100):
        seats.follow(fleet(range(count)))
        assert seats.taken.sum() == count
        assert seats["past"].shape == (2, 1, seats.ids.size, 3)
        if count == 3:
            seats["amount"][0, seats.seat] = [0, 1, 2]
        assert seated(seats, fleet(range(count)))[:3] == [0, 1, 2]
    assert seats.ids.size <= 100


def test_where_not_all_can_sit_the_largest_do_and_are_looked_for_anew():
    seats = Seats(COLUMNS, series_max=2)
    sizes = np.array([1, 5, 3], dtype=np.float32)
    seats.follow(fleet([0, 1, 2], sizes))
    assert (seats.seat >= 0).tolist() == [False, True, True]
    seats.follow(fleet([0, 1, 2], sizes[::-1].copy()))
    assert (seats.seat >= 0).tolist() == [False, True, True]
    seats.follow(fleet([0, 1, 2], sizes[::-1].copy()), again=True)
    assert (seats.seat >= 0).tolist() == [True, True, False]
    # Of equals, who sits stays.
    seats.follow(fleet([0, 1, 2], 1.0), again=True)
    assert (seats.seat >= 0).tolist() == [True, True, False]


def test_a_state_that_does_not_fit_is_refused():
    seats = Seats(COLUMNS, series_max=10)
    seats.follow(fleet([1, 2]))
    state = seats.state()
    Seats(COLUMNS, series_max=10).restore(state)
    with pytest.raises(InputError, match="past"):
        Seats(COLUMNS, series_max=10).restore(state | {"past": state["past"][:1]})


def remembered(step_seconds):
    history = History(step_seconds=step_seconds)
    seats = Seats(history.columns, series_max=10)
    seats.follow(fleet([0, 1]))
    return history, seats


def add(history, seats, time_seconds, step_seconds, *shares):
    frame = np.array([shares], dtype=np.float32)
    return [
        (slot, means.tolist()[0]) for slot, means in history.add(seats, time_seconds, step_seconds, frame)
    ]


def test_fine_samples_are_averaged_and_handed_on_when_the_slot_is_over():
    history, seats = remembered(60)
    over = [add(history, seats, 60 * (at + 1), 60, at / 10, np.nan) for at in range(10)]
    done = [each[0] for each in over if each]
    assert [slot for slot, _ in done] == [0, 1]
    np.testing.assert_allclose([means for _, means in done], [[0.2, np.nan], [0.7, np.nan]], rtol=1e-5)
    first, shares = history.read(seats, 0, np.array([0]))
    assert first == 0
    np.testing.assert_allclose(shares, [[0.2, 0.7]], atol=1e-3)


def test_a_clock_a_second_off_moves_no_sample_to_another_slot():
    history, seats = remembered(300)
    slots = [add(history, seats, 300 * (at + 1) + (-1) ** at, 300, at / 10, 0)[0][0] for at in range(6)]
    assert slots == list(range(6))


def test_a_slot_cut_short_is_handed_on_with_what_it_has():
    history, seats = remembered(60)
    assert add(history, seats, 60, 60, 0.4, 0.4) == []
    ((slot, means),) = add(history, seats, 960, 60, 0.8, 0.8)
    assert slot == 0
    np.testing.assert_allclose(means, 0.4)
    _, shares = history.read(seats, 0, np.array([1]))
    np.testing.assert_allclose(shares, [[0.4, np.nan, np.nan]], atol=1e-3)


@pytest.mark.parametrize("step", [3600, 7000])
def test_two_weeks_are_kept_and_older_days_go(step):
    history, seats = remembered(step)
    per_block = -(-86_400 // step)
    count = per_block * (BLOCKS + 3) + 2
    for at in range(count):
        add(history, seats, step * (at + 1), step, at / count, 0)
    first, shares = history.read(seats, 0, np.array([0]))
    assert first + shares.shape[1] == count
    assert shares.shape[1] >= 14 * per_block
    np.testing.assert_allclose(shares[0], np.arange(first, count) / count, atol=1e-3)


def test_a_gap_longer_than_the_ring_leaves_nothing_of_before():
    history, seats = remembered(3600)
    for at in range(50):
        add(history, seats, 3600 * (at + 1), 3600, 0.5, 0.5)
    add(history, seats, 3600 * 1001, 3600, 0.25, 0.25)
    _, shares = history.read(seats, 0, np.array([0]))
    assert np.isnan(shares[0, :-1]).all()
    assert shares[0, -1] == 0.25
