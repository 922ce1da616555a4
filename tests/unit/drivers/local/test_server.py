"""This machine as a server, on a tree that stands for one: what is read, what is done, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tidegate.model.errors import InputError
from tidegate.model.outcome import Phase
from tidegate.model.resources import Resource
from tidegate.model.roster import CARD, HOST, NO_CARD
from tidegate.testing import driver_checks
from tidegate.testing.check_driver import resized

MIB, GIB = 2**20, 2**30
CPU, MEMORY, NETWORK, STORAGE = range(4)
STEP = 10


class Paced:
    """A server and the pace its caller keeps: one step before every read."""

    def __init__(self, fake, **options):
        self._fake, self._server, self._turn = fake, fake.server(**options), 0
        self.now_seconds, self.submit = self._server.now_seconds, self._server.submit
        self.collect = self._server.collect

    def read(self):
        self._fake.advance(STEP)
        self._turn += 1
        for path in ("web", "batch"):
            self._fake.use(path, cpu_seconds=3.0 * self._turn, memory=(100 + self._turn) * MIB)
        return self._server.read()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("check", driver_checks(lambda: None), ids=str)
def test_the_local_server_keeps(check, version, fake_of):
    def make():
        fake = fake_of(version)
        fake.cgroup("web")
        fake.cgroup("batch", pids=(102,))
        fake.set_quota("batch", 150_000)
        return Paced(fake, act=["*"])

    own = {made.name: made for made in driver_checks(make)}
    own[check.name]()


def read_twice(fake, server, **use):
    """Let one step pass in which `web` used something."""
    server.read()
    fake.advance(STEP)
    fake.use("web", **use)
    return server.read()


def test_used_is_what_passed_between_two_reads_in_base_units(fake):
    fake.cgroup("web")
    snapshot = read_twice(
        fake, fake.server(), cpu_seconds=15.0, memory=200 * MIB, read=3_000_000, written=2_000_000
    )
    assert snapshot.resources == (Resource.CPU, Resource.MEMORY, Resource.NETWORK, Resource.STORAGE)
    np.testing.assert_allclose(snapshot.used[:, 0], [1.5, 200 * MIB, np.nan, 500_000])
    assert snapshot.time_seconds == fake.clock.now_seconds()
    assert snapshot.step_seconds == STEP
    assert list(snapshot.roster.names) == ["web"]


def test_rates_are_over_the_time_that_really_passed(fake):
    fake.cgroup("web")
    server = fake.server()
    server.read()
    fake.advance(12.5)
    fake.use("web", cpu_seconds=5.0)
    assert server.read().used[CPU, 0] == np.float32(0.4)
    assert server.behaviour.interval_seconds == 12.5


def test_the_first_read_has_amounts_and_no_rates(fake):
    fake.cgroup("web")
    fake.use("web", cpu_seconds=100.0, memory=MIB)
    snapshot = fake.server().read()
    np.testing.assert_array_equal(snapshot.used[:, 0], np.float32([np.nan, MIB, np.nan, np.nan]))
    assert not snapshot.pressed.any()


def test_there_is_one_place_without_a_card(fake):
    fake.cgroup("web")
    fake.larger(network_bytes_per_second_max=1.25e9)
    snapshot = fake.server().read()
    assert snapshot.places.names == ("here",)
    np.testing.assert_array_equal(snapshot.places.allocatable[:, 0], [np.inf, np.inf, 1.25e9, np.inf])
    assert snapshot.host.tolist() == [0]
    assert snapshot.card.tolist() == [NO_CARD]
    assert not snapshot.grant[CARD].any()


def test_without_limits_everyone_was_sold_the_machine_and_holds_it(fake):
    fake.cgroup("web")
    snapshot = fake.server().read()
    np.testing.assert_array_equal(snapshot.capacity[:, 0], [4.0, 16 * GIB, np.nan, np.nan])
    np.testing.assert_array_equal(snapshot.grant[HOST], snapshot.capacity)


def test_sold_is_the_least_of_the_owners_limits_and_those_above(fake):
    fake.cgroup("system.slice/web.service")
    fake.cgroup("system.slice")
    fake.set_quota("system.slice", 250_000)
    fake.set_quota("system.slice/web.service", 300_000)
    fake.set_soft("system.slice/web.service", 3 * GIB)
    fake.use("system.slice/web.service", hard=2 * GIB)
    snapshot = fake.server().read()
    np.testing.assert_array_equal(snapshot.capacity[:2, 0], [2.5, 2 * GIB])
    np.testing.assert_array_equal(snapshot.grant[HOST, :2, 0], [2.5, 2 * GIB])


def test_floors_are_small_and_never_above_what_was_sold(fake):
    fake.cgroup("web")
    fake.cgroup("tiny", pids=(102,))
    fake.set_quota("tiny", 2_000)
    fake.set_soft("tiny", MIB)
    floor = fake.server().read().roster.floor
    np.testing.assert_allclose(floor, [[0.02, 0.05], [MIB, 64 * MIB], [0, 0], [0, 0]])


def test_the_roster_is_the_same_object_until_somebody_comes_or_goes(fake):
    fake.cgroup("web")
    server = fake.server()
    first, again = server.read(), server.read()
    assert again.roster is first.roster
    assert again.places is first.places
    fake.cgroup("batch", pids=(102,))
    grown = server.read()
    assert list(grown.roster.names) == ["batch", "web"]
    fake.remove("batch")
    assert server.read().roster.ids.tolist() == first.roster.ids.tolist()


def test_identifiers_outlive_a_restart(fake):
    fake.cgroup("web")
    assert fake.server().read().roster.ids.tolist() == fake.server().read().roster.ids.tolist()


def test_a_newcomer_has_no_rate_until_its_second_read(fake):
    server = fake.server()
    fake.cgroup("web")
    server.read()
    fake.advance(STEP)
    fake.cgroup("batch", pids=(102,))
    assert np.isnan(server.read().used[CPU]).tolist() == [True, False]
    fake.advance(STEP)
    assert not np.isnan(server.read().used[CPU]).any()


def test_a_counter_that_fell_is_a_missing_sample(fake):
    fake.cgroup("web")
    fake.use("web", cpu_seconds=50.0)
    snapshot = read_twice(fake, fake.server(), cpu_seconds=1.0)
    assert np.isnan(snapshot.used[CPU, 0])
    assert not snapshot.pressed[CPU, 0]


@pytest.mark.parametrize(
    ("use", "pressed"),
    [
        ({"cpu_seconds": 9.5, "throttled_seconds": 0.1}, True),
        ({"cpu_seconds": 8.0, "throttled_seconds": 0.1}, False),
        ({"cpu_seconds": 9.5}, False),
        ({"cpu_seconds": 9.995}, True),
    ],
    ids=["throttled near its quota", "throttled in short bursts", "below its quota", "at its quota"],
)
def test_cpu_is_pressed_where_it_was_held_back(fake, use, pressed):
    fake.cgroup("web")
    fake.set_quota("web", 100_000)
    assert read_twice(fake, fake.server(), **use).pressed[CPU, 0] == pressed


def test_memory_is_pressed_where_it_reached_its_soft_limit(fake):
    fake.cgroup("web")
    fake.set_soft("web", 128 * MIB)
    server = fake.server()
    assert not server.read().pressed[MEMORY, 0]
    fake.use("web", memory=128 * MIB)
    assert server.read().pressed[MEMORY, 0]


def test_network_is_known_where_a_workload_has_a_namespace_to_itself(fake):
    fake.cgroup("alone", pids=(201,))
    fake.cgroup("ours", pids=(202,))
    fake.cgroup("pair-1", pids=(203,))
    fake.cgroup("pair-2", pids=(204,))
    server = fake.server()
    for received in (0, 5000):
        fake.namespace(201, 7, received=received, sent=received // 2)
        fake.namespace(203, 8, received=received)
        fake.namespace(204, 8, received=received)
        fake.advance(STEP)
        snapshot = server.read()
    np.testing.assert_array_equal(snapshot.used[NETWORK], [500.0, np.nan, np.nan, np.nan])


def test_behaviour_tells_what_no_frame_holds(fake):
    fake.cgroup("web")
    server = fake.server()
    server.read()
    fake.advance(STEP)
    fake.use(
        "web",
        cpu_seconds=10.0,
        throttled_seconds=2.0,
        memory=500 * MIB,
        inactive=100 * MIB,
        cache=200 * MIB,
        faults=50,
        swap=3 * MIB,
        stalled=0.25,
    )
    fake.larger(cpu_seconds=120.0, disk_bytes=1e9 + 5e6, received_bytes=1e6 + 1e3, sent_bytes=2e6)
    snapshot = server.read()
    told = server.behaviour
    assert told.roster is snapshot.roster
    assert told.throttled_seconds[0] == pytest.approx(2.0)
    assert told.throttled_seconds_total[0] == 2.0
    assert told.throttled_periods_ratio[0] == pytest.approx(0.2)
    assert told.major_faults_per_second[0] == 5.0
    assert told.memory_bytes_working_set[0] == 400 * MIB
    assert told.memory_bytes_cache[0] == 200 * MIB
    assert told.swap_bytes[0] == 3 * MIB
    known = fake.version == 2
    np.testing.assert_allclose(told.stalled_some_ratio[:, 0], [0.025] * 3 if known else [np.nan] * 3)
    np.testing.assert_allclose(told.stalled_full_ratio[:, 0], [0.0125] * 3 if known else [np.nan] * 3)
    np.testing.assert_allclose(
        told.stalled_some_ratio_10_seconds[:, 0], [0.25] * 3 if known else [np.nan] * 3
    )
    assert told.machine.cpu_cores_used == 2.0
    assert told.machine.disk_bytes_per_second == 5e5
    assert told.machine.network_receive_bytes_per_second == 100.0


def test_more_workloads_than_rows_are_summed_as_other(fake):
    for number in range(5):
        fake.cgroup(f"box-{number}", pids=(300 + number,))
        fake.use(f"box-{number}", memory=(number + 1) * GIB)
    server = fake.server(workloads_max=3, act=["*"])
    server.read()
    fake.advance(STEP)
    for number in range(5):
        fake.use(f"box-{number}", cpu_seconds=1.0 + number, memory=(number + 1) * GIB)
    snapshot = server.read()
    assert list(snapshot.roster.names) == ["box-2", "box-3", "box-4", "other"]
    np.testing.assert_allclose(snapshot.used[CPU], [0.3, 0.4, 0.5, 0.3])
    np.testing.assert_allclose(snapshot.used[MEMORY], np.array([3, 4, 5, 3]) * GIB)
    for stalled in (server.behaviour.stalled_some_ratio, server.behaviour.stalled_some_ratio_10_seconds):
        assert np.isnan(stalled[:, 3]).all(), "shares of time don't add up"
    server.submit(resized(snapshot, 0.9))
    refused = snapshot.roster.ids[3]
    outcome = server.collect()
    assert set(outcome.workload_id[outcome.phase == Phase.REFUSED].tolist()) == {int(refused)}
    server.close()


@pytest.mark.parametrize("wrong", [{"step_seconds": 0}, {"violation_rate": 0.0}, {"violation_rate": 0.6}])
def test_senseless_numbers_are_refused(fake, wrong):
    with pytest.raises(InputError, match=r"too short|outside"):
        fake.server(**wrong)


def test_an_empty_machine_is_an_empty_fleet(fake):
    server = fake.server()
    server.read()
    fake.advance(STEP)
    snapshot = server.read()
    assert snapshot.used.shape == (4, 0)
    assert math.isnan(server.behaviour.machine.stalled_some_ratio[0])
