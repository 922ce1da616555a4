"""Which cgroups are workloads: the usual ones, or those chosen; each counted once."""

from __future__ import annotations

import os

import pytest

from tidegate.drivers.cgroups.hierarchy import find_hierarchy
from tidegate.drivers.local.discover import find_cgroups, identifier, matches


def found(fake, *chosen):
    return {cgroup.path: cgroup.pid for cgroup in find_cgroups(find_hierarchy(fake.root), chosen)}


def test_services_scopes_and_user_slices_below_slices_are_workloads(fake):
    fake.cgroup("system.slice/web.service", pids=(11,))
    fake.cgroup("machine.slice/machine-qemu-1.scope", pids=(12,))
    fake.cgroup("user.slice/user-1000.slice/session-1.scope", pids=(13,))
    assert found(fake) == {
        "machine.slice/machine-qemu-1.scope": 12,
        "system.slice/web.service": 11,
        "user.slice/user-1000.slice": 13,
    }


def test_a_service_is_one_workload_with_all_below_it(fake):
    fake.cgroup("system.slice/docker.service/init", pids=(21,))
    fake.cgroup("system.slice/docker.service/payload", pids=(22,))
    assert found(fake) == {"system.slice/docker.service": 21}


@pytest.mark.parametrize(
    ("path", "workload"),
    [
        ("docker/0123abcd", "docker/0123abcd"),
        ("kubepods/burstable/pod7/c1", "kubepods/burstable/pod7/c1"),
        (
            "kubepods.slice/kubepods-pod7.slice/cri-c1.scope",
            "kubepods.slice/kubepods-pod7.slice/cri-c1.scope",
        ),
        ("machine/qemu-1-vm.libvirt-qemu/emulator", "machine/qemu-1-vm.libvirt-qemu"),
        ("batch", "batch"),
    ],
)
def test_containers_and_machines_without_systemd_are_workloads(fake, path, workload):
    fake.cgroup(path, pids=(31,))
    assert found(fake) == {workload: 31}


def test_who_holds_processes_is_not_divided(fake):
    fake.cgroup("batch", pids=(41,))
    fake.cgroup("batch/part", pids=(42,))
    assert found(fake) == {"batch": 41}


def test_an_empty_cgroup_is_no_workload(fake):
    fake.cgroup("system.slice/done.service", pids=())
    fake.cgroup("left-over", pids=())
    assert found(fake) == {}


def test_chosen_ones_are_workloads_at_any_level_even_when_empty(fake):
    fake.cgroup("user.slice/user-1000.slice/session-1.scope", pids=(51,))
    fake.cgroup("user.slice/user-1000.slice/session-2.scope", pids=())
    fake.cgroup("system.slice/web.service", pids=(52,))
    assert found(fake, "session-*.scope") == {
        "user.slice/user-1000.slice/session-1.scope": 51,
        "user.slice/user-1000.slice/session-2.scope": None,
    }
    assert found(fake, "system.slice/*") == {"system.slice/web.service": 52}


def test_of_chosen_ones_above_each_other_the_upper_counts(fake):
    fake.cgroup("batch/part", pids=(61,))
    assert found(fake, "batch", "*part") == {"batch": 61}


def test_on_version_1_a_chosen_cgroup_may_be_under_memory_alone(fake_of):
    fake = fake_of(1)
    fake.cgroup("box")
    for controller in ("cpu", "cpuacct", "blkio"):
        for file in fake.folder("box", controller).iterdir():
            file.unlink()
        fake.folder("box", controller).rmdir()
    assert found(fake) == {}
    assert found(fake, "box") == {"box": 101}


def without_accounts(fake, path):
    """Leave a cgroup its limits alone, as systemd does where CPUAccounting is off."""
    for file in fake.folder(path, "cpuacct").iterdir():
        file.unlink()
    fake.folder(path, "cpuacct").rmdir()


def test_on_version_1_who_is_limited_and_not_accounted_for_is_a_workload(fake_of):
    fake = fake_of(1)
    fake.cgroup("box")
    without_accounts(fake, "box")
    assert found(fake) == {"box": 101}
    assert found(fake, "box") == {"box": 101}


def test_its_cpu_use_is_that_of_its_processes_and_the_children_they_waited_for(fake_of):
    fake = fake_of(1)
    fake.cgroup("box", pids=(101, 102))
    without_accounts(fake, "box")
    server = fake.server()
    per_second = os.sysconf("SC_CLK_TCK")
    for elapsed in (0, 10):
        for pid, ticks in ((101, (0.2, 0.1, 0.0, 0.0)), (102, (0.0, 0.0, 0.5, 0.2))):
            fields = " ".join(str(int(part * elapsed * per_second)) for part in ticks)
            fake.write(f"proc/{pid}/stat", f"{pid} (a )b) S 1 1 1 0 -1 0 0 0 0 0 {fields} 20 0")
        if elapsed:
            fake.advance(elapsed)
        snapshot = server.read()
    assert snapshot.used[0, 0] == pytest.approx(1.0, abs=0.01)


def test_an_identifier_is_63_bits_of_the_words_alone():
    assert identifier("system.slice/web.service") == 1895129120950361568
    assert 0 <= identifier("x") < 2**63
    assert identifier("x") != identifier("y")


def test_a_glob_matches_the_whole_path_or_its_last_part():
    assert matches("system.slice/web.service", ["web.*"])
    assert matches("system.slice/web.service", ["no", "system.slice/*"])
    assert not matches("system.slice/web.service", ["system"])
    assert not matches("system.slice/web.service", [])
