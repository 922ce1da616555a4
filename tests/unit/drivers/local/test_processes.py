"""Where there are no cgroups, process groups are the workloads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tidegate.drivers.local.machine import read_machine
from tidegate.drivers.local.outside import Outside
from tidegate.drivers.local.processes import Process, ProcessGroups, read_processes
from tidegate.drivers.local.server import LocalServer

CPU, MEMORY, NETWORK, STORAGE = range(4)


def process(pid, group, *, name="job", start=100.0, cpu=0.0, memory=1e6, disk=0.0):
    return Process(
        pid=pid,
        group=group,
        name=name,
        start_seconds=start,
        cpu_seconds=cpu,
        memory_bytes=memory,
        disk_bytes=disk,
        major_faults=0.0,
        swap_bytes=0.0,
    )


@pytest.fixture
def server(fake):
    """A server on a machine that has no cgroup to show."""
    return fake.server()


def test_a_group_is_named_by_its_leader_and_sums_its_processes(fake, server):
    fake.processes = [process(10, 10, name="make"), process(11, 10, name="cc", memory=3e6)]
    server.read()
    fake.advance(10)
    fake.processes = [process(10, 10, cpu=1.0), process(11, 10, cpu=4.0, memory=3e6, disk=1e4)]
    snapshot = server.read()
    assert list(snapshot.roster.names) == ["make-10"]
    np.testing.assert_array_equal(snapshot.used[:, 0], np.float32([0.5, 4e6, np.nan, 1e3]))
    np.testing.assert_array_equal(snapshot.capacity[:2, 0], [4.0, 16 * 2**30])


def test_a_process_that_ends_takes_nothing_back_and_one_that_starts_counts_from_zero(fake, server):
    fake.processes = [process(10, 10, cpu=50.0), process(11, 10, cpu=900.0)]
    server.read()
    fake.advance(10)
    fake.processes = [process(10, 10, cpu=52.0), process(12, 10, cpu=3.0, start=1e6)]
    assert server.read().used[CPU].tolist() == [0.5]


def test_a_group_keeps_its_identity_when_its_leader_ends(fake, server):
    fake.processes = [process(10, 10, name="make"), process(11, 10)]
    first = server.read()
    fake.processes = [process(11, 10)]
    assert server.read().roster is first.roster


def test_a_number_used_again_is_another_group(fake, server):
    fake.processes = [process(10, 10)]
    first = server.read()
    fake.processes = [process(10, 10, start=200.0)]
    assert server.read().roster.ids.tolist() != first.roster.ids.tolist()


def test_chosen_groups_are_the_only_ones(fake):
    fake.processes = [process(10, 10, name="make"), process(20, 20, name="vim")]
    assert list(fake.server(chosen=["vim-*"]).read().roster.names) == ["vim-20"]
    assert len(fake.server(chosen=["emacs-*"]).read().roster) == 0


def test_a_machine_that_gets_cgroups_is_read_by_them_from_then_on(fake, server):
    fake.processes = [process(10, 10, cpu=5.0)]
    server.read()
    fake.advance(10)
    fake.cgroup("web")
    snapshot = server.read()
    assert list(snapshot.roster.names) == ["web"]
    assert np.isnan(snapshot.used[CPU, 0])


def test_a_leader_names_the_group_before_its_elders():
    groups = ProcessGroups().follow([process(11, 10, name="old", start=1.0), process(10, 10, name="lead")])
    assert groups[10].name == "lead-10"


def test_this_machines_processes_are_read():
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with child:
        child.stdout.readline()
        found = {one.pid: one for one in read_processes(Path("/"))}
        mine, its = found[os.getpid()], found[child.pid]
        child.stdin.close()
    assert its.group == child.pid != mine.group == os.getpgid(0)
    assert mine.cpu_seconds > 0
    assert mine.memory_bytes > 1e6
    assert its.start_seconds >= mine.start_seconds
    assert all(one.group > 0 for one in found.values()), "the kernel's own threads are no workload"


def test_this_machine_is_read_without_privileges_or_cgroups(tmp_path):
    server = LocalServer(
        step_seconds=1,
        chosen=["*"],
        ledger_path=tmp_path / "limits.json",
        outside=Outside(root=tmp_path, gpus=lambda: None),
    )
    snapshot = server.read()
    assert snapshot.roster.names
    assert (snapshot.used[MEMORY] > 0).any()
    machine = read_machine(Path("/"))
    assert snapshot.capacity[CPU, 0] == machine.cores == os.cpu_count()
    assert 0 < machine.memory_bytes_used < machine.memory_bytes
    assert server.behaviour.machine.load_average[0] >= 0
