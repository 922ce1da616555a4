"""What Tidegate puts on links: counted as rates, held as told, and what is then left of each link."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.errors import InputError
from tidegate.model.links import CapacityFrom, Consumer, LinkTelemetry, LinkUse
from tidegate.telemetry import link_ledger
from tidegate.telemetry.link_ledger import WINDOW_SECONDS, LinkLedger, with_uses


class Time:
    seconds = 100.0

    def now(self):
        return self.seconds


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def ledger(time):
    return LinkLedger(time.now)


def link(peer="s1", capacity=None, used=None, by=CapacityFrom.PROBES):
    return LinkTelemetry(
        peer=peer,
        latency_seconds=0.001,
        latency_p95_seconds=None,
        jitter_seconds=None,
        loss_ratio=0.0,
        capacity_bytes_per_second=capacity,
        used_bytes_per_second=used,
        measured_seconds=5.0,
        is_fresh=True,
        capacity_from=None if capacity is None else by,
    )


def test_a_steady_flow_is_told_at_its_rate_and_one_that_began_just_now_too(ledger, time):
    for step in range(200):
        time.seconds = 100 + step / 10
        ledger.count("s1", Consumer.TELEMETRY, received=100, sent=10)
        if step == 20:
            (use,) = ledger.uses()
            assert use.received_bytes_per_second == pytest.approx(1000, rel=0.1)
    (use,) = ledger.uses()
    assert use.received_bytes_per_second == pytest.approx(1000, rel=0.05)
    assert use.sent_bytes_per_second == pytest.approx(100, rel=0.05)


def test_what_has_ended_is_forgotten_after_the_window(ledger, time):
    ledger.count("b", Consumer.MOVE, "web", sent=10**6)
    time.seconds += WINDOW_SECONDS - 1
    assert ledger.uses()[0].sent_bytes_per_second > 0
    time.seconds += 2.5
    assert ledger.uses() == ()


def test_a_rate_that_is_held_stays_until_released(ledger, time):
    ledger.hold(LinkUse(peer="s1", consumer=Consumer.FAR_MEMORY, about="vm", received_bytes_per_second=5e6))
    time.seconds += 1000
    ledger.hold(LinkUse(peer="s1", consumer=Consumer.FAR_MEMORY, about="vm", received_bytes_per_second=7e6))
    assert [use.received_bytes_per_second for use in ledger.uses()] == [7e6]
    ledger.release("s1", Consumer.FAR_MEMORY, "vm")
    ledger.release("s1", Consumer.FAR_MEMORY, "vm")
    assert ledger.uses() == ()


@pytest.mark.parametrize("rate", [-1.0, math.inf, math.nan])
def test_a_rate_that_can_t_be_is_refused(ledger, rate):
    with pytest.raises(InputError):
        ledger.hold(LinkUse(peer="s1", consumer=Consumer.FAR_MEMORY, sent_bytes_per_second=rate))
    assert ledger.uses() == ()


def test_there_are_no_more_consumers_than_so_many(ledger, time, monkeypatch):
    monkeypatch.setattr(link_ledger, "USES_MAX", 3)
    for at in range(5):
        ledger.count("b", Consumer.MOVE, f"app-{at}", sent=1)
    assert [use.about for use in ledger.uses()] == ["app-0", "app-1", "app-2"]
    time.seconds += 2 * WINDOW_SECONDS
    ledger.count("b", Consumer.MOVE, "later", sent=1)
    assert [use.about for use in ledger.uses()] == ["later"]


def test_the_fuller_of_counters_and_ledger_counts_and_the_busier_direction():
    uses = [
        LinkUse(
            peer="s1", consumer=Consumer.TELEMETRY, received_bytes_per_second=30, sent_bytes_per_second=5
        ),
        LinkUse(peer="s1", consumer=Consumer.MOVE, about="web", sent_bytes_per_second=40),
    ]
    (one,) = with_uses([link(capacity=100, used=20)], uses)
    assert (one.used_bytes_per_second, one.headroom_bytes_per_second) == (45, 55)
    (one,) = with_uses([link(capacity=100, used=90)], uses)
    assert (one.used_bytes_per_second, one.headroom_bytes_per_second) == (90, 10)
    assert len(one.uses) == 2


def test_who_says_what_a_link_carries():
    (one,) = with_uses([link(capacity=100)], (), pci={"s1": 500}, configured={"s1": 9})
    assert (one.capacity_bytes_per_second, one.capacity_from) == (100, CapacityFrom.PROBES)
    (one,) = with_uses([link(capacity=900, by=CapacityFrom.INTERFACE)], (), pci={"s1": 500})
    assert (one.capacity_bytes_per_second, one.capacity_from) == (500, CapacityFrom.PCI)
    (one,) = with_uses([link()], (), configured={"s1": 9})
    assert (one.capacity_bytes_per_second, one.capacity_from) == (9, CapacityFrom.CONFIGURED)
    (one,) = with_uses([link()], ())
    assert (one.capacity_from, one.headroom_bytes_per_second) == (None, None)


def test_a_link_that_is_not_probed_is_told_without_being_late():
    (one,) = with_uses([], (), pci={"s9": 500})
    assert (one.peer, one.measured_seconds, one.headroom_bytes_per_second) == ("s9", 0.0, 500)


@given(
    st.lists(st.tuples(st.floats(0, 3), st.integers(0, 10**9)), max_size=50),
    st.integers(1, 10**10),
)
def test_what_is_left_is_never_below_zero_nor_above_what_it_carries(steps, capacity):
    time = Time()
    ledger = LinkLedger(time.now)
    for wait, sent in steps:
        time.seconds += wait
        ledger.count("s1", Consumer.MOVE, "x", sent=sent)
    (one,) = with_uses([link(capacity=capacity)], ledger.uses())
    assert 0 <= one.headroom_bytes_per_second <= capacity
