"""A hypervisor's VMs as a server: what is read, what is done, what is given back, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tidegate.drivers.libvirt import memory
from tidegate.drivers.libvirt.server import release
from tidegate.model.errors import InputError
from tidegate.model.outcome import Phase
from tidegate.model.roster import HOST
from tidegate.testing import driver_checks
from tidegate.testing.check_driver import resized

CPU, MEMORY, NETWORK, STORAGE = range(4)
GIB = 2**30
SECONDS = 10**9


def read_twice(host, server, domain, **totals):
    server.read()
    host.advance(10)
    for name, amount in totals.items():
        domain.totals[name.replace("_", ".")] += amount
    return server.read()


def killed(server):
    """Have nothing but the lock given back, as the kernel does for a process that is killed."""
    server._ledger.close()
    server._ledger = server._acting = None


def resize(server, row, ratio):
    """Ask for one resource of everyone, wait until it is done, and return what became of it."""
    actions = resized(server.read(), ratio)
    rows = actions.resource_row == row
    names = ("kind", "workload", "workload_id", "resource_row", "share", "place_from", "place_to")
    for name in (*names, "amount_from", "amount_to"):
        object.__setattr__(actions, name, getattr(actions, name)[rows])
    server.submit(actions)
    assert server.settle(20)
    return server.read(), server.collect()


class Paced:
    """A server of a hypervisor of its own, and the pace its caller keeps: all is done before each read."""

    def __init__(self, host, server_of, path):
        uri = f"fake:///{len(host.by_uri)}"
        self._host = host.by_uri[uri] = type(host)()
        for name in ("web", "batch"):
            self._host.domain(name).used_kib = 64 * 1024
        self._host.domains[1].cpu["vcpu_quota"] = 75_000
        self._server = server_of(uri, act=["*"], ledger_path=path / f"{len(host.by_uri)}.json")
        self.now_seconds, self.submit = self._host.clock.now_seconds, self._server.submit
        self.collect = self._server.collect

    def read(self):
        assert self._server.settle(20)
        self._host.advance(10)
        return self._server.read()


@pytest.mark.parametrize("check", driver_checks(lambda: None), ids=str)
def test_the_libvirt_server_keeps(check, host, server_of, tmp_path):
    own = {one.name: one for one in driver_checks(lambda: Paced(host, server_of, tmp_path))}
    own[check.name]()


def test_used_is_what_passed_between_two_reads_in_base_units(host, server_of):
    web = host.domain("web")
    totals = {"vcpu_0_time": 5 * SECONDS, "vcpu_2_time": 3 * SECONDS, "net_0_rx_bytes": 1000}
    totals |= {"net_0_tx_bytes": 4000, "block_0_rd_bytes": 70, "block_0_wr_bytes": 30}
    snapshot = read_twice(host, server_of(), web, **totals)
    np.testing.assert_allclose(snapshot.used[:, 0], [0.8, GIB / 4, 400, 10])
    np.testing.assert_array_equal(snapshot.capacity[:, 0], np.float32([2, GIB, np.nan, np.nan]))
    assert not snapshot.pressed.any()
    assert tuple(snapshot.roster.names) == ("web",)


def test_vcpus_that_wait_for_the_host_are_pressed_whatever_they_used(host, server_of):
    snapshot = read_twice(host, server_of(), host.domain("web"), vcpu_0_time=SECONDS, vcpu_0_delay=SECONDS)
    assert snapshot.pressed[CPU, 0]


def test_a_guest_that_swaps_is_pressed(host, server_of):
    server, web = server_of(), host.domain("web")
    server.read()
    host.advance(10)
    web.swapped_kib = 64
    assert server.read().pressed[MEMORY, 0]


def test_a_paused_vm_is_there_and_shows_no_demand(host, server_of):
    web = host.domain("web")
    web.state = 3
    snapshot = read_twice(host, server_of(), web)
    assert np.isnan(snapshot.used).all()
    assert np.isfinite(snapshot.capacity[CPU]).all()


def test_a_guest_that_told_nothing_lately_is_not_taken_at_its_word(host, server_of):
    server, web = server_of(), host.domain("web")
    values = web.values()
    web.values = lambda: values
    server.read()
    host.advance(10)
    assert math.isnan(server.read().used[MEMORY, 0])


def test_statistics_get_a_period_where_nobody_set_one_and_lose_it_at_the_end(host, server_of):
    web, batch = host.domain("web"), host.domain("batch")
    batch.period = 7
    server = server_of()
    server.read()
    assert (web.period, batch.period) == (1, 7)
    server.close()
    assert (web.period, batch.period) == (0, 7)


def test_vms_come_go_and_are_renamed_by_their_uuid(host, server_of):
    server, web = server_of(), host.domain("web")
    first = server.read().roster
    web.called = "shop"
    renamed = server.read().roster
    assert renamed.ids.tolist() == first.ids.tolist()
    assert tuple(renamed.names) == ("shop",)
    host.domain("batch")
    assert len(server.read().roster) == 2
    host.domains.clear()
    assert len(server.read().roster) == 0


def test_a_vm_started_anew_has_no_rates_for_one_read(host, server_of):
    server, web = server_of(), host.domain("web")
    server.read()
    host.advance(10)
    web.number += 1
    web.totals["vcpu.0.time"] = 9 * SECONDS
    assert math.isnan(server.read().used[CPU, 0])


def test_without_the_daemon_what_is_held_stands_and_nothing_is_known_of_what_is_used(host, server_of):
    server, web = server_of(act=["*"]), host.domain("web")
    before = read_twice(host, server, web)
    host.is_up = False
    host.advance(10)
    blind = server.read()
    np.testing.assert_array_equal(blind.grant, before.grant)
    assert np.isnan(blind.used).all()
    assert not server.settable.any()
    assert "is gone" in server.away
    host.is_up = True
    host.advance(10)
    server.read()
    host.advance(10)
    assert server.read().used[CPU, 0] == 0
    assert not server.away
    assert host.opened == 2


def test_nothing_is_changed_unless_named(host, server_of):
    web = host.domain("web")
    for server in (server_of(), server_of(act=["batch"])):
        _, outcome = resize(server, CPU, 0.5)
        assert outcome.phase.tolist() == [Phase.REFUSED]
    assert web.calls == []


def test_a_policy_in_the_domain_says_no_and_how_much(host, server_of):
    server, web = server_of(act=["*"]), host.domain("web")
    server.read()
    host.policy(web, "act='no' priority='3' violation_rate='0.05' storage_bytes_per_second_max='5000'")
    snapshot, outcome = resize(server, CPU, 0.5)
    assert outcome.phase.tolist() == [Phase.REFUSED]
    assert snapshot.roster.priority.tolist() == [3]
    assert snapshot.roster.violation_rate.tolist() == [np.float32(0.05)]
    assert snapshot.capacity[STORAGE, 0] == 5000
    assert web.calls == []


def test_a_quota_is_shared_out_over_the_vcpus_and_given_back(host, server_of, tmp_path):
    web = host.domain("web")
    server = server_of(act=["*"])
    server.read()
    snapshot, outcome = resize(server, CPU, 0.5)
    assert web.cpu["vcpu_quota"] == 50_000
    assert outcome.phase.tolist() == [Phase.APPLIED]
    assert snapshot.grant[HOST, CPU, 0] == 1
    assert snapshot.capacity[CPU, 0] == 2
    released = server.close()
    assert released.restored == ("web: vcpu_quota",)
    assert web.cpu["vcpu_quota"] == -1
    assert not (tmp_path / "libvirt.json").exists()


def test_what_the_owner_changed_meanwhile_stays(host, server_of):
    server, web = server_of(act=["*"]), host.domain("web")
    server.read()
    resize(server, CPU, 0.5)
    web.cpu["vcpu_quota"] = 33_333
    assert server.close().left == ("web: vcpu_quota",)
    assert web.cpu["vcpu_quota"] == 33_333


def test_after_a_crash_the_next_start_gives_back(host, server_of, tmp_path):
    web = host.domain("web")
    server = server_of(act=["*"])
    server.read()
    resize(server, CPU, 0.5)
    killed(server)
    assert server_of().released.restored == ("web: vcpu_quota",)
    assert web.cpu["vcpu_quota"] == -1


def test_one_vm_is_released_by_its_name(host, server_of, tmp_path):
    web, batch = host.domain("web"), host.domain("batch")
    server = server_of(act=["*"])
    server.read()
    resize(server, CPU, 0.5)
    path = tmp_path / "libvirt.json"
    with pytest.raises(InputError, match=r"process \d+ is changing VMs"):
        release("fake:///", name="web", ledger_path=path)
    killed(server)
    assert release("fake:///", name="web", ledger_path=path).restored == ("web: vcpu_quota",)
    assert (web.cpu["vcpu_quota"], batch.cpu["vcpu_quota"]) == (-1, 50_000)
    with pytest.raises(InputError, match="nothing of a VM 'web' is noted"):
        release("fake:///", name="web", ledger_path=path)


def test_memory_goes_down_in_small_steps_and_up_in_one(host, server_of):
    server, web = server_of(act=["*"]), host.domain("web")
    server.read()
    snapshot, outcome = resize(server, MEMORY, 0.5)
    assert outcome.phase.tolist() == [Phase.APPLIED]
    assert snapshot.grant[HOST, MEMORY, 0] == GIB / 2
    sizes = [amount for what, amount in web.calls if what == "memory"]
    steps = -np.diff([1024 * 1024, *sizes])
    assert (steps <= 0.05 * 1024 * 1024 + 1).all()
    assert len(steps) == 10
    web.calls.clear()
    resize(server, MEMORY, 1.0)
    assert [call for call in web.calls if call[0] == "memory"] == [("memory", 1024 * 1024)]


def test_memory_in_use_and_a_reserve_are_never_taken(host, server_of):
    server, web = server_of(act=["*"]), host.domain("web")
    web.used_kib = 700 * 1024
    server.read()
    snapshot, outcome = resize(server, MEMORY, 0.25)
    assert outcome.phase.tolist() == [Phase.PARTIAL]
    assert snapshot.grant[HOST, MEMORY, 0] >= (700 + 51) * 2**20
    assert outcome.amount_read_back[0] == snapshot.grant[HOST, MEMORY, 0]


def test_a_guest_that_swaps_on_the_way_down_gets_it_all_back(host, server_of):
    server, web = server_of(act=["*"]), host.domain("web")
    server.read()
    told = web.memoryStats

    def swapping():
        web.swapped_kib = 4096 if web.memory_kib < 800 * 1024 else 0
        return told()

    web.memoryStats = swapping
    _, outcome = resize(server, MEMORY, 0.5)
    assert outcome.phase.tolist() == [Phase.ROLLED_BACK]
    assert web.memory_kib == 1024 * 1024


def test_a_nearly_full_guest_is_relieved_without_being_asked(host, server_of):
    server, web = server_of(act=["*"]), host.domain("web")
    server.read()
    resize(server, MEMORY, 0.5)
    web.used_kib = 510 * 1024
    host.advance(10)
    server.read()
    assert server.settle(20)
    assert web.memory_kib == 1024 * 1024
    assert len(server.collect()) == 0


def test_a_guest_that_does_not_move_is_remembered_and_left_alone(host, server_of, monkeypatch):
    monkeypatch.setattr(memory, "BALLOON_SECONDS_MAX", -1.0)
    server, web = server_of(act=["*"]), host.domain("web")
    web.moves = False
    server.read()
    _, outcome = resize(server, MEMORY, 0.5)
    assert outcome.phase.tolist() == [Phase.TIMED_OUT]
    assert (web.uuid, "memory_kib") in server.unwilling
    assert not server.settable[MEMORY, 0]
    assert server.settable[CPU, 0]
    assert web.calls[-1] == ("memory", 1024 * 1024)  # no request is left that it might follow later
    host.advance(700)
    server.read()
    assert server.settable[MEMORY, 0]


def test_a_guest_without_a_balloon_driver_is_not_shrunk(host, server_of):
    server, web = server_of(act=["*"]), host.domain("web")
    web.tells = False
    snapshot = read_twice(host, server, web)
    assert math.isnan(snapshot.used[MEMORY, 0])
    assert not server.settable[MEMORY, 0]


@pytest.mark.parametrize("at_once", [True, False])
def test_vcpus_are_plugged_and_unplugged_where_the_policy_says_so(host, server_of, at_once):
    server, web = server_of(act=["*"]), host.domain("web")
    web.unplugs_at_once = at_once
    host.policy(web, "plug='yes'")
    server.read()
    snapshot, outcome = resize(server, CPU, 1.0)
    assert outcome.phase.tolist() == [Phase.APPLIED]
    assert (web.vcpus, snapshot.grant[HOST, CPU, 0], snapshot.capacity[CPU, 0]) == (4, 4, 4)
    snapshot, outcome = resize(server, CPU, 0.375)
    assert outcome.phase.tolist() == [Phase.APPLIED]
    assert (web.vcpus, web.cpu["vcpu_quota"]) == (2, 75_000)
    assert snapshot.grant[HOST, CPU, 0] == 1.5
    assert snapshot.capacity[CPU, 0] == 4


def test_an_emulated_vm_is_plugged_no_more_once_it_lost_a_vcpu(host, server_of):
    server, web = server_of(act=["*"]), host.domain("web", kind="qemu")
    host.policy(web, "plug='yes'")
    server.read()
    resize(server, CPU, 1.0)
    resize(server, CPU, 0.5)
    assert web.vcpus == 2
    _, outcome = resize(server, CPU, 1.0)
    assert outcome.phase.tolist() == [Phase.PARTIAL]
    assert web.vcpus == 2
    assert outcome.amount_read_back.tolist() == [2]


def test_disks_share_out_a_rate(host, server_of):
    server, web = server_of(act=["*"]), host.domain("web")
    host.policy(web, "storage_bytes_per_second_max='1000000'")
    server.read()
    snapshot, outcome = resize(server, STORAGE, 0.5)
    assert outcome.phase.tolist() == [Phase.APPLIED]
    assert web.tune["total_bytes_sec"] == 500_000
    assert snapshot.grant[HOST, STORAGE, 0] == 500_000
    server.close()
    assert web.tune["total_bytes_sec"] == 0


def test_what_the_owner_limits_by_way_is_left_alone(host, server_of):
    server, web = server_of(act=["*"]), host.domain("web")
    web.tune["read_bytes_sec"] = 1000
    host.policy(web, "storage_bytes_per_second_max='1000000'")
    server.read()
    _, outcome = resize(server, STORAGE, 0.5)
    assert outcome.phase.tolist() == [Phase.REFUSED]
    assert web.tune["total_bytes_sec"] == 0


def test_a_class_above_the_first_weighs_twice_as_much(host, server_of):
    server, web = server_of(act=["*"]), host.domain("web")
    host.policy(web, "priority='2'")
    server.read()
    resize(server, CPU, 0.5)
    assert web.cpu["cpu_shares"] == 2048
    resize(server, CPU, 0.6)
    assert web.cpu["cpu_shares"] == 2048
    server.close()
    assert web.cpu["cpu_shares"] == 1024


def test_a_vm_that_is_gone_is_refused_and_forgotten(host, server_of, tmp_path):
    server = server_of(act=["*"])
    host.domain("web")
    actions = resized(server.read(), 0.5)
    host.domains.clear()
    server.submit(actions)
    assert server.settle(20)
    server.read()
    outcome = server.collect()
    assert set(outcome.phase.tolist()) == {Phase.REFUSED}
    assert np.isnan(outcome.amount_read_back).all()


def test_what_has_expired_is_refused(host, server_of):
    server, web = server_of(act=["*"]), host.domain("web")
    actions = resized(server.read(), 0.5)
    host.advance(60)
    server.submit(actions)
    assert set(server.collect().phase.tolist()) == {Phase.REFUSED}
    assert web.calls == []
