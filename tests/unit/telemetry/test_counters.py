"""Counters that wrap, start anew, are missing, and come in another order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.errors import InputError
from tidegate.model.links import InterfaceCounters
from tidegate.telemetry.counters import WINDOW_SECONDS, CounterWindow, grown

GIGABIT = 125e6


def reading(at, received, sent=None, *, names=("eth0",), bits=64, since=1, speed=GIGABIT, known=True):
    """A reading of one interface or of several."""
    many = len(names)

    def column(value, dtype):
        return np.array(np.broadcast_to(np.array(value, dtype=dtype), many))

    return InterfaceCounters(
        time_seconds=at,
        names=names,
        received_bytes=column(received, np.uint64),
        sent_bytes=column(received if sent is None else sent, np.uint64),
        known=column(known, np.bool_),
        bits=column(bits, np.uint8),
        since=column(since, np.int64),
        is_up=column(1, np.bool_),
        bytes_per_second_max=column(speed, np.float64),
    )


@given(
    st.sampled_from((32, 64)).flatmap(lambda bits: st.tuples(st.just(bits), st.integers(0, 2**bits - 1))),
    st.integers(0, int(GIGABIT)),
)
def test_what_was_carried_is_told_also_where_the_counter_wraps(start, carried):
    bits, at_first = start
    later = (at_first + carried) % 2**bits
    found = grown(reading(10.0, at_first, bits=bits), reading(11.0, later, bits=bits))
    assert found.received_bytes[0] == carried


@pytest.mark.parametrize("bits", [32, 64])
def test_a_counter_that_starts_anew_is_not_taken_for_one_that_wraps(bits):
    found = grown(reading(10.0, 3_000_000_000, bits=bits), reading(11.0, 1000, bits=bits))
    assert np.isnan(found.received_bytes[0])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"since": 2}),
        ({"known": False}, {}),
        ({}, {"known": False}),
        ({"bits": 32}, {}),
        ({"names": ("eth1",)}, {}),
        ({"names": ()}, {}),
    ],
)
def test_what_can_not_be_compared_is_unknown(before, after):
    found = grown(reading(10.0, 1000, **before), reading(11.0, 2000, **after))
    assert np.isnan(found.received_bytes[0])
    assert np.isnan(found.sent_bytes[0])


def test_an_agent_that_tells_late_may_seem_faster_than_its_speed():
    assert grown(reading(0.0, 0), reading(0.5, 10**9)).received_bytes[0] == 10**9
    assert np.isnan(grown(reading(0.0, 0), reading(0.5, 2**63)).received_bytes[0])


def test_a_counter_that_may_have_wrapped_twice_says_nothing():
    assert grown(reading(0.0, 0, bits=32), reading(30.0, 1000, bits=32)).received_bytes[0] == 1000
    assert np.isnan(grown(reading(0.0, 0, bits=32), reading(60.0, 1000, bits=32)).received_bytes[0])


def test_interfaces_may_come_in_another_order():
    before = reading(0.0, [100, 900], names=("a", "b"))
    found = grown(before, reading(2.0, [1000, 5, 150], names=("b", "c", "a")))
    assert found.received_bytes.tolist()[::2] == [100.0, 50.0]
    assert np.isnan(found.received_bytes[1])


def test_time_that_stands_still_is_refused():
    window = CounterWindow()
    window.add(reading(5.0, 1))
    with pytest.raises(InputError, match="one after the other"):
        window.add(reading(5.0, 2))


def test_rates_are_means_over_the_window_and_leave_out_what_is_unknown():
    window = CounterWindow()
    for second in range(20):
        window.add(reading(float(second), 1000 * second, 4000 * second, since=second // 18))
    carried = window.carried()
    assert carried.received_bytes_per_second == pytest.approx([1000.0])
    assert carried.of("eth0") == (pytest.approx(4000.0), GIGABIT)
    assert all(np.isnan(carried.of("eth9")))


def test_a_burst_leaves_the_window():
    window = CounterWindow()
    window.add(reading(0.0, 0))
    for second in range(1, 3 + int(WINDOW_SECONDS)):
        window.add(reading(float(second), 1_000_000))
        if second == 1:
            assert window.carried().of("eth0")[0] == pytest.approx(1_000_000)
    assert window.carried().of("eth0")[0] == 0.0


def test_before_the_first_reading_nothing_is_carried():
    assert all(np.isnan(CounterWindow().carried().of("eth0")))
    window = CounterWindow()
    window.add(reading(0.0, 5, speed=0.0))
    assert all(np.isnan(window.carried().of("eth0")))


def test_too_many_interfaces_are_refused():
    many = tuple(f"port{number}" for number in range(5000))
    with pytest.raises(InputError, match="4096"):
        CounterWindow().add(reading(0.0, 0, names=many))
