"""A simulated fleet that goes on where another stood, and one that leaves steps out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.drivers.simulated.fleet import SimulatedFleet
from tidegate.lab.replay import bare_fleet
from tidegate.model.errors import InputError
from tidegate.model.plan import Reason, host_plan
from tidegate.model.resources import Resource
from tidegate.model.roster import HOST
from tidegate.model.trace import Trace
from tidegate.plan.difference import difference

TICKS = 12


def trace():
    rng = np.random.default_rng(1)
    capacity = np.full((1, TICKS, 3), 4.0, dtype=np.float32)
    capacity[:, :4, 2] = np.nan
    capacity[:, 6:, 1] = 2.0
    used = rng.uniform(0, 4, capacity.shape).astype(np.float32)
    used[np.isnan(capacity)] = np.nan
    return Trace(
        name="t",
        start_seconds=600,
        step_seconds=10,
        resources=(Resource.CPU,),
        vms=("a", "b", "c"),
        servers=(),
        used=used,
        capacity=capacity,
    )


def fleet():
    made = trace()
    return SimulatedFleet(made, bare_fleet(made, 0.01), censored=True)


def resize(of, snapshot, share):
    of.submit(difference(host_plan(snapshot, snapshot.grant[HOST] * share, Reason.BASELINE), snapshot))


@pytest.mark.parametrize("stop", [1, 3, 5, 7, 11])
def test_it_sees_what_the_other_would_have_seen(stop):
    never = fleet()
    for number in range(stop):
        last = never.read()
        if number < stop - 1:
            resize(never, last, np.float32(0.7))
    again = fleet()
    again.go_on(last)
    assert again.now_seconds() == never.now_seconds()
    assert again.ticks_left == TICKS - stop
    for _ in range(again.ticks_left):
        one, other = never.read(), again.read()
        for name in ("time_seconds", "used", "capacity", "pressed", "grant", "card", "in_flight"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


def test_it_leaves_out_steps_and_nobody_is_there_meanwhile():
    plain, skipping = fleet(), fleet()
    for _ in range(5):
        plain.read()
    skipping.skip(5)
    assert skipping.now_seconds() == plain.now_seconds()
    one, other = plain.read(), skipping.read()
    np.testing.assert_array_equal(one.used, other.used)
    np.testing.assert_array_equal(other.grant[HOST], other.capacity)


def test_the_last_step_leaves_none():
    made = fleet()
    for _ in range(TICKS):
        last = made.read()
    again = fleet()
    again.go_on(last)
    assert again.ticks_left == 0
    with pytest.raises(InputError, match="is over after 12 steps"):
        again.read()


@pytest.mark.parametrize("seconds", [600, 605, 611, 600 + 10 * (TICKS + 1), 0])
def test_a_time_that_is_no_steps_end_is_refused(seconds):
    last = replace(fleet().read(), time_seconds=seconds)
    with pytest.raises(InputError, match=f"trace 't' has no step that ends at {seconds}"):
        fleet().go_on(last)
