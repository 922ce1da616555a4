"""The check-up as a whole: everything is looked at, and nothing changed."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from tidegate.app.doctor import CheckUp, Finding, Need, Outside, State, check_up
from tidegate.app.doctor.probe_cgroups import mounts_of
from tidegate.model.errors import InputError

V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "34 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
)
HYBRID = V1 + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


def by_name(findings):
    return {finding.name: finding for finding in findings}


def test_an_empty_machine_is_all_missing_and_says_how_to_get_it(machine):
    found = by_name(check_up(machine.outside()).findings)
    for name in ("KVM", "QEMU", "libvirt", "cgroup version", "CPU quota", "[replay]", "process visibility"):
        assert found[name].state is State.MISSING, name
        assert found[name].get.endswith("."), name
    assert found["Python"].state is State.WORKS


def test_names_are_unique_and_remedies_are_sentences(machine):
    found = check_up(machine.outside())
    assert len(by_name(found.findings)) == len(found.findings)
    for finding in found.findings:
        assert finding.good_for
        assert "\n" not in finding.seen + finding.get
        assert not finding.get or (finding.get[0].isupper() and finding.get.endswith(".")), finding


def test_groups_stay_together(machine):
    groups = [finding.group for finding in check_up(machine.outside()).findings]
    assert len(dict.fromkeys(groups)) == 1 + sum(one != other for one, other in pairwise(groups))


def test_a_check_up_leaves_the_machine_as_it_was(machine):
    machine.write("proc/self/mountinfo", HYBRID)
    for controller in ("cpu,cpuacct", "memory", "unified"):
        machine.write(f"sys/fs/cgroup/{controller}/cgroup.procs")
    machine.write("sys/fs/cgroup/unified/cgroup.controllers", "io")
    before = machine.everything()
    check_up(machine.outside())
    assert machine.everything() == before


def test_this_machine_can_be_looked_at_and_keeps_its_control_groups():
    mounts = mounts_of(Outside().text("/proc/self/mountinfo") or "")
    points = {mounts.unified, *mounts.by_controller.values()} - {""}
    found = check_up(Outside())
    assert found.machine["cores"] >= 1
    assert found.findings
    ours = f"tidegate-doctor-{os.getpid()}"
    assert not [point for point in points if (Path(point) / ours).exists()]


def test_what_only_linux_has_says_so_elsewhere(machine):
    machine.program("qemu-system-x86_64", "echo QEMU emulator version 9.2.0")
    found = by_name(check_up(machine.outside(system="darwin")).findings)
    assert found["KVM"].seen == found["CPU quota"].seen == found["systemd"].seen == "Linux only"
    assert found["KVM"].get == ""
    assert found["QEMU"].state is State.WORKS
    assert "Linux host" in found["operating system"].get


def test_the_most_useful_comes_first():
    def one(name, need, state, get="Do it."):
        return Finding(name=name, group="g", state=state, seen="x", good_for="y", need=need, get=get)

    found = CheckUp(
        machine={},
        findings=(
            one("card", Need.HARDWARE, State.MISSING),
            one("slow", Need.ACTING, State.LIMITED),
            one("fine", Need.RUNNING, State.WORKS, ""),
            one("swap", Need.MORE, State.MISSING),
            one("kvm", Need.ACTING, State.MISSING),
            one("disk", Need.RUNNING, State.LIMITED),
        ),
    )
    assert [finding.name for finding in found.remedies()] == ["disk", "kvm", "slow", "swap", "card"]


@pytest.mark.parametrize("wrong", [{"seen": ""}, {"get": "Do it."}])
def test_a_finding_that_is_a_riddle_is_refused(wrong):
    right = {"name": "n", "group": "g", "state": State.WORKS, "seen": "x", "good_for": "y", "need": Need.MORE}
    Finding(**right)
    with pytest.raises(InputError, match=r"name it|leave that out"):
        Finding(**{**right, **wrong})
