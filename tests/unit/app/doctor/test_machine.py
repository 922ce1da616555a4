"""The machine itself: rights, processes, clock, state folder, control groups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tidegate.app.doctor import State
from tidegate.app.doctor.judge_cgroups import judge_cgroups
from tidegate.app.doctor.judge_machine import (
    judge_clock,
    judge_extras,
    judge_memory,
    judge_processes,
    judge_state,
    judge_system,
)
from tidegate.app.doctor.probe_cgroups import Trial, read_cgroups
from tidegate.app.doctor.probe_machine import (
    ClockSeen,
    missing_capabilities,
    read_extras,
    read_memory,
    read_processes,
    read_state,
    read_system,
)
from tidegate.app.state import state_folder

V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "34 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
)
HYBRID = V1 + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


def by_name(findings):
    return {finding.name: finding for finding in findings}


def test_capabilities_are_read_from_their_bits():
    assert missing_capabilities("Name:\tx\nCapEff:\t000001ffffffffff\n") == ()
    assert missing_capabilities("CapEff:\t0000000000201000\n") == ("CAP_SYS_RESOURCE",)
    assert missing_capabilities("") == ()


@pytest.mark.parametrize(
    ("who", "capabilities", "state", "says"),
    [
        ((0, "0 0 4294967295"), "1ffffffffff", State.WORKS, "all capabilities"),
        ((0, "0 1000 1"), "1ffffffffff", State.LIMITED, "user namespace"),
        ((0, "0 0 4294967295"), "0", State.LIMITED, "CAP_NET_ADMIN"),
        ((1000, "0 0 4294967295"), "0", State.MISSING, "not root"),
    ],
)
def test_rights_are_what_acting_needs(machine, who, capabilities, state, says):
    user_id, user_map = who
    machine.write("proc/self/uid_map", user_map)
    machine.write("proc/self/status", f"CapEff:\t{capabilities}\n")
    root = by_name(judge_system(read_system(machine.outside(user_id=user_id))))["root"]
    assert root.state is state
    assert says in root.seen


@pytest.mark.parametrize(
    ("options", "namespace", "state", "says"),
    [
        ("rw", "pid:[4026531836]", State.WORKS, "all"),
        ("rw,hidepid=invisible", "pid:[4026531836]", State.LIMITED, "hidepid=invisible"),
        ("rw,gid=5,hidepid=0", "pid:[4026531836]", State.WORKS, "all"),
        ("rw", "pid:[4026532999]", State.LIMITED, "container"),
    ],
)
def test_hidden_processes_are_noticed(machine, options, namespace, state, says):
    machine.write("proc/self/mountinfo", f"22 27 0:21 / /proc rw,relatime - proc proc {options}\n")
    machine.link("proc/self/ns/pid", namespace)
    finding = judge_processes(read_processes(machine.outside()))
    assert finding.state is state
    assert says in finding.seen


def test_memory_and_swap_are_read_in_bytes(machine):
    machine.write("proc/meminfo", "MemTotal: 2097152 kB\nMemAvailable: 1048576 kB\nSwapTotal: 0 kB\n")
    memory, swap = judge_memory(read_memory(machine.outside()))
    assert (memory.state, memory.seen) == (State.WORKS, "2 GiB, 1 GiB available")
    assert swap.state is State.MISSING
    machine.write("proc/meminfo", "MemTotal: 524288 kB\nSwapTotal: 1048576 kB\n")
    memory, swap = judge_memory(read_memory(machine.outside()))
    assert (memory.state, memory.seen) == (State.LIMITED, "512 MiB")
    assert (swap.state, swap.seen) == (State.WORKS, "1 GiB")


def test_an_extra_is_installed_when_all_it_brings_is(machine):
    looks = machine.outside(has_module=lambda name: name in {"polars", "plotly", "psycopg"})
    found = by_name(judge_extras(read_extras(looks)))
    assert found["[postgres]"].state is State.WORKS
    assert found["[replay]"].get == "Run pip install 'tidegate[replay]'."


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, State.WORKS),
        ({"now_seconds": 0.0}, State.MISSING),
        ({"source": "hpet"}, State.LIMITED),
        ({"is_synchronised": False}, State.LIMITED),
        ({"is_synchronised": False, "has_daemon": True}, State.WORKS),
    ],
)
def test_a_clock_is_sane_if_it_can_be_true_and_somebody_keeps_it(changes, state):
    clock = ClockSeen(
        now_seconds=1.8e9, installed_seconds=1.7e9, source="tsc", is_synchronised=True, has_daemon=False
    )
    assert judge_clock(replace(clock, **changes)).state is state


def test_state_is_kept_where_xdg_says_unless_that_is_no_whole_path():
    assert state_folder({"XDG_STATE_HOME": "/var/state", "HOME": "/home/a"}) == Path("/var/state/tidegate")
    assert state_folder({"XDG_STATE_HOME": "var/state", "HOME": "/home/a"}) == Path(
        "/home/a/.local/state/tidegate"
    )
    assert state_folder({}) == Path.cwd() / ".local/state/tidegate"


def test_a_state_folder_that_does_not_exist_yet_can_be_made_and_a_file_cannot(machine):
    assert judge_state(read_state(machine.outside())).state is State.WORKS
    machine.write("home/.local")
    finding = judge_state(read_state(machine.outside()))
    assert finding.state is State.MISSING
    assert "XDG_STATE_HOME" in finding.get


def test_little_room_is_limited(machine):
    seen = replace(read_state(machine.outside()), bytes_free=10 << 20)
    assert judge_state(seen).state is State.LIMITED
    assert "10 MiB free" in judge_state(seen).seen


@pytest.mark.parametrize(
    ("mountinfo", "version", "state"),
    [
        (V2, "v2", State.WORKS),
        (V1, "v1", State.LIMITED),
        (HYBRID, "hybrid", State.LIMITED),
        ("", "", State.MISSING),
    ],
)
def test_the_version_is_that_of_the_mounts(machine, mountinfo, version, state):
    machine.write("proc/self/mountinfo", mountinfo)
    seen = read_cgroups(machine.outside())
    assert seen.version == version
    assert by_name(judge_cgroups(seen))["cgroup version"].state is state


def test_a_hybrid_machine_is_asked_for_each_controller_where_it_is(machine):
    machine.write("proc/self/mountinfo", HYBRID)
    machine.write("sys/fs/cgroup/unified/cgroup.controllers", "hugetlb io\n")
    limits = {one.resource: one for one in read_cgroups(machine.outside()).limits}
    assert [limits[name].limit.file for name in ("cpu", "memory", "storage")] == [
        "cpu.cfs_quota_us", "memory.soft_limit_in_bytes", "io.max",
    ]  # fmt: skip
    assert all(one.has_controller for one in limits.values())


def judged(machine, resource, **changes):
    machine.write("proc/self/mountinfo", changes.pop("mountinfo", V2))
    machine.write("sys/fs/cgroup/cgroup.controllers", "cpu io memory\n")
    seen = read_cgroups(machine.outside())
    limits = tuple(replace(one, **changes) for one in seen.limits)
    name = {"cpu": "CPU quota", "memory": "memory soft limit", "storage": "storage rate limit"}[resource]
    return by_name(judge_cgroups(replace(seen, limits=limits)))[name]


@pytest.mark.parametrize(
    ("trial", "state", "says"),
    [
        (Trial.TAKEN, State.WORKS, ""),
        (Trial.ALLOWED, State.WORKS, ""),
        (Trial.REFUSED, State.MISSING, "Run as root"),
        (Trial.ABSENT, State.MISSING, "+cpu > /sys/fs/cgroup/cgroup.subtree_control"),
    ],
)
def test_a_limit_is_judged_by_its_trial(machine, trial, state, says):
    finding = judged(machine, "cpu", trial=trial)
    assert finding.state is state
    assert says in finding.get


def test_a_missing_controller_is_not_asked_to_be_handed_down(machine):
    finding = judged(machine, "memory", trial=Trial.ABSENT, has_controller=False)
    assert finding.seen == "no controller memory"
    assert "cgroup_disable=memory" in finding.get


def test_the_soft_limit_of_v1_is_limited_even_where_it_takes_values(machine):
    finding = judged(machine, "memory", mountinfo=V1, trial=Trial.TAKEN)
    assert finding.state is State.LIMITED
    assert "memory.high" in finding.get


def test_who_is_not_root_tries_nothing(machine):
    machine.write("proc/self/mountinfo", V2)
    machine.write("proc/self/cgroup", "0::/user.slice\n")
    machine.write("sys/fs/cgroup/cgroup.controllers", "cpu memory")
    machine.write("sys/fs/cgroup/user.slice/cpu.max", "max 100000\n")
    trials = {one.resource: one.trial for one in read_cgroups(machine.outside(user_id=1000)).limits}
    assert trials == {"cpu": Trial.ALLOWED, "memory": Trial.ABSENT, "storage": Trial.ABSENT}
    assert (machine.root / "sys/fs/cgroup/user.slice/cpu.max").read_text() == "max 100000\n"


def test_an_empty_group_goes_even_when_what_tries_it_fails(machine):
    machine.write("sys/fs/cgroup/cgroup.procs")
    before = machine.everything()

    def fail():
        with machine.outside().empty_group("/sys/fs/cgroup") as group:
            assert machine.everything() - before == {group.lstrip("/")}
            raise RuntimeError("tried")

    with pytest.raises(RuntimeError, match="tried"):
        fail()
    assert machine.everything() == before
    with machine.outside().empty_group("/nowhere") as group:
        assert group is None
