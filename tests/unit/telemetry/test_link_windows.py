"""What the last probes of links say, as links change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.errors import InputError
from tidegate.model.links import PATIENCE_SECONDS, Probes, Train
from tidegate.telemetry.capacity import capacity_bytes_per_second, train_bytes_per_second
from tidegate.telemetry.links import PROBES_MAX, LinkWindows, with_interfaces

WALL = 1_700_000_000.0


class Link:
    """Sends ten probes a second over a link that is as it is told to be."""

    def __init__(self, seed=1):
        self.chance = np.random.default_rng(seed)
        self.now = 100.0
        self.windows = LinkWindows()
        self.windows.follow(["card-b"])

    def run(self, seconds, *, round_trip=0.010, spread=0.0, loss=0.0):
        """Let time pass; return each second's record, as the watch would."""
        said = []
        for _ in range(seconds):
            sent = self.now + np.arange(10) / 10
            back = round_trip + self.chance.uniform(0, spread, 10)
            back[self.chance.random(10) < loss] = np.nan
            self.windows.add("card-b", Probes(sent_seconds=sent, round_trip_seconds=back))
            self.now += 1
            said += self.windows.measure(self.now).records(WALL + self.now)
        return said


def train(at, rate, *, packets=20, length=1228):
    number = np.arange(packets)
    return Train(
        packet_bytes=length,
        sent_seconds=at + number * 1e-5,
        received_seconds=7.0 + number * length / rate,
    )


def test_a_steady_link_is_told_as_it_is():
    last = Link().run(90, round_trip=0.010, spread=0.002, loss=0.02)[-1]
    assert last.peer == "card-b"
    assert last.latency_seconds == pytest.approx(0.011, abs=0.0004)
    assert last.latency_p95_seconds == pytest.approx(0.0119, abs=0.0003)
    assert last.jitter_seconds == pytest.approx(0.002 / 3, rel=0.3)  # two draws differ by a third on average
    assert last.loss_ratio == pytest.approx(0.02, abs=0.015)
    assert last.is_fresh
    assert last.measured_seconds == pytest.approx(WALL + 190.0, abs=0.2)
    assert last.capacity_bytes_per_second is last.used_bytes_per_second is None


def test_a_longer_way_is_noticed_within_six_seconds():
    link = Link()
    link.run(60)
    assert link.run(6, round_trip=0.050)[-1].latency_seconds == pytest.approx(0.050)


def test_loss_that_begins_and_loss_that_ends_are_noticed_within_seconds_and_stay_noticed():
    link = Link()
    link.run(60)
    while_lossy = link.run(40, loss=0.3)
    assert all(0.15 < one.loss_ratio < 0.5 for one in while_lossy[5:])
    after = link.run(40)
    assert all(one.loss_ratio < 0.02 for one in after[10:])


def test_a_dead_link_loses_all_and_is_not_fresh():
    link = Link()
    link.run(60)
    dead = link.run(20, loss=1.0)
    assert dead[5].loss_ratio > 0.7
    assert (dead[-1].latency_seconds, dead[-1].jitter_seconds, dead[-1].is_fresh) == (None, None, False)
    assert dead[-1].loss_ratio > 0.9
    alive = link.run(12)
    assert alive[2].is_fresh
    assert alive[-1].loss_ratio < 0.05


def test_probes_that_may_yet_come_back_make_a_link_look_neither_better_nor_worse():
    windows = LinkWindows()
    windows.follow(["a"])
    young = np.array([10.0, 10.1])
    windows.add("a", Probes(sent_seconds=young, round_trip_seconds=np.array([0.01, 0.01])))
    assert windows.measure(10.5).records(WALL) == ()
    assert windows.measure(10.2 + PATIENCE_SECONDS).records(WALL)[0].loss_ratio < 0.001


@given(st.lists(st.integers(0, 3000), max_size=6), st.integers(0, 2**31))
def test_any_number_of_probes_in_any_order_is_told_within_bounds(sizes, seed):
    chance = np.random.default_rng(seed)
    windows = LinkWindows()
    windows.follow(["a", "b"])
    for size in sizes:
        back = np.where(chance.random(size) < 0.2, np.nan, chance.uniform(0, 0.5, size))
        windows.add("a", Probes(sent_seconds=chance.uniform(0, 60, size), round_trip_seconds=back))
    assert windows._sent.shape == (2, PROBES_MAX)
    for one in windows.measure(60.0).records(WALL):
        assert 0 <= one.loss_ratio <= 1
        assert one.latency_seconds is None or 0 <= one.latency_seconds <= one.latency_p95_seconds <= 0.5


def test_links_come_and_go_and_those_that_stay_are_remembered():
    link = Link()
    link.run(20)
    link.windows.follow(["card-c", "card-b"])
    columns = link.windows.measure(link.now)
    assert np.isnan(columns.latency_seconds[0])
    assert columns.latency_seconds[1] == pytest.approx(0.010)
    assert [one.peer for one in columns.records(WALL)] == ["card-b"]
    link.windows.follow([])
    assert link.windows.measure(link.now).records(WALL) == ()
    with pytest.raises(InputError, match="not watched"):
        link.windows.add("card-b", Probes(sent_seconds=np.empty(0), round_trip_seconds=np.empty(0)))
    with pytest.raises(InputError, match="twice"):
        link.windows.follow(["a", "a"])
    with pytest.raises(InputError, match="4096"):
        link.windows.follow([str(number) for number in range(5000)])


def test_capacity_is_the_middle_train_of_those_that_are_not_old():
    link = Link()
    link.run(5)
    nothing = Probes(sent_seconds=np.empty(0), round_trip_seconds=np.empty(0))
    link.windows.add("card-b", nothing, [train(100.0, rate) for rate in (2.5e6, 2.4e6, 0.9e6)])
    assert link.run(1)[-1].capacity_bytes_per_second == pytest.approx(2.4e6, rel=1e-6)
    link.windows.add("card-b", nothing, [train(105.0, 1.2e6) for _ in range(3)])
    assert link.run(1)[-1].capacity_bytes_per_second == pytest.approx(1.2e6, rel=1e-6)
    assert link.run(125)[-1].capacity_bytes_per_second is None


def test_a_train_the_link_does_not_hold_up_says_nothing_of_its_capacity():
    assert train_bytes_per_second(train(0.0, 122.8e6)) == np.inf  # 1228 bytes each 10 microseconds
    assert train_bytes_per_second(train(0.0, 90e6)) == pytest.approx(90e6)
    assert np.isnan(train_bytes_per_second(train(0.0, 1e6, packets=1)))
    rates = np.array([[1e6, np.inf, np.inf], [1e6, np.inf, np.nan], [np.nan] * 3])
    assert capacity_bytes_per_second(rates).tolist()[:2] == [np.inf, 1e6]
    assert np.isnan(capacity_bytes_per_second(rates)[2])


@pytest.mark.parametrize("late", [slice(0, 4), slice(8, 12), slice(16, 20)])
def test_a_few_packets_that_came_late_do_not_change_a_trains_rate(late):
    """Whoever slept when the first came, or was interrupted once for four, tells four at one moment."""
    whole = train(0.0, 2.5e6)
    received = whole.received_seconds.copy()
    received[late] = received[late].max()
    said = train_bytes_per_second(replace(whole, received_seconds=received))
    assert said == pytest.approx(2.5e6, rel=0.02)


def test_what_is_no_train_is_refused():
    one = np.array([1.0])
    with pytest.raises(InputError, match="as many"):
        Train(packet_bytes=1, sent_seconds=one, received_seconds=np.array([1.0, 2.0]))
    with pytest.raises(InputError, match="nothing arrived"):
        Train(packet_bytes=1, sent_seconds=one[:0], received_seconds=one[:0])


def test_an_interface_bounds_what_trains_say_and_stands_in_where_they_say_nothing():
    windows = LinkWindows()
    windows.follow(["a", "b", "c"])
    sent, back = np.array([0.0]), np.array([0.01])
    for peer, trains in (("a", [train(0.0, 5e6)]), ("b", []), ("c", [])):
        windows.add(peer, Probes(sent_seconds=sent, round_trip_seconds=back), trains)
    columns = with_interfaces(
        windows.measure(2.0), np.array([1e6, 3e6, np.nan]), np.array([1e6, 2e6, np.nan])
    )
    said = columns.records(WALL)
    assert [one.capacity_bytes_per_second for one in said] == [1_000_000, 2_000_000, None]
    assert [one.used_bytes_per_second for one in said] == [1_000_000, 3_000_000, None]
    assert [one.headroom_bytes_per_second for one in said] == [0, 0, None]
