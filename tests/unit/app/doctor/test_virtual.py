"""What runs VMs, and the programs that are asked for their version."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from tidegate.app.doctor import State, outside
from tidegate.app.doctor.judge_virtual import judge_kvm, judge_libvirt, judge_qemu, judge_vsock
from tidegate.app.doctor.probe_virtual import (
    KvmSeen,
    LibvirtSeen,
    read_kvm,
    read_qemu,
    read_vsock,
    version_in,
)


def by_name(findings):
    return {finding.name: finding for finding in findings}


KVM = KvmSeen(
    is_there=True,
    opens=True,
    version=12,
    processor_flag="svm",
    is_virtual=False,
    nested="",
    modules=("kvm_amd",),
    architecture="x86_64",
)


@pytest.mark.parametrize(
    ("changes", "state", "says"),
    [
        ({}, State.WORKS, ""),
        ({"version": None}, State.LIMITED, "modprobe kvm_intel or kvm_amd"),
        ({"version": None, "opens": False}, State.MISSING, "group kvm"),
        ({"version": None, "opens": False, "is_there": False}, State.MISSING, "modprobe kvm_amd"),
        (
            {"version": None, "opens": False, "is_there": False, "processor_flag": ""},
            State.MISSING,
            "firmware",
        ),
        (
            {"version": None, "opens": False, "is_there": False, "processor_flag": "", "is_virtual": True},
            State.MISSING,
            "nested",
        ),
    ],
)
def test_kvm_is_judged_by_whether_it_answers(changes, state, says):
    finding = judge_kvm(replace(KVM, **changes))[0]
    assert finding.state is state
    assert says in finding.get


def test_kvm_is_read_from_processor_modules_and_device(machine):
    machine.write("proc/cpuinfo", "processor : 0\nflags\t\t: fpu vmx hypervisor\n")
    machine.write("sys/module/kvm_intel/parameters/nested", "1\n")
    machine.write("dev/kvm")
    seen = read_kvm(machine.outside())
    assert (seen.processor_flag, seen.is_virtual, seen.nested, seen.modules) == (
        "vmx",
        True,
        "Y",
        ("kvm_intel",),
    )
    assert (seen.is_there, seen.opens, seen.version) == (True, True, None)
    assert by_name(judge_kvm(seen))["nested VMs"].state is State.WORKS


@pytest.mark.parametrize(
    ("says", "state", "version"),
    [
        ("QEMU emulator version 9.2.0 (Debian 1:9.2.0)", State.WORKS, "9.2.0"),
        ("QEMU emulator version 7.2.15 (Debian 1:7.2+dfsg-7)", State.WORKS, "7.2.15"),
        ("QEMU emulator version 6.2.0", State.LIMITED, "6.2.0"),
        ("no version", State.LIMITED, "did not tell"),
    ],
)
def test_qemu_is_asked_for_its_version(machine, says, state, version):
    machine.program("qemu-system-x86_64", f"echo '{says}'")
    machine.program("qemu-system-arm", "exit 1")
    machine.program("qemu-system-x86_64-microvm.sh", "exit 1")
    finding = judge_qemu(read_qemu(machine.outside()))
    assert finding.state is state
    assert version in finding.seen
    assert "and 1 more" in finding.seen


def test_qemu_for_other_processors_only_is_limited(machine):
    machine.program("qemu-system-arm", "echo 9.0.0")
    assert judge_qemu(read_qemu(machine.outside())).state is State.LIMITED


def test_versions_are_found_in_what_programs_say():
    assert version_in("tc utility, iproute2-6.1.0, libbpf 1.1.2") == (6, 1, 0)
    assert version_in("10.0") == (10, 0)
    assert version_in("version 9") == ()


def test_a_program_that_hangs_is_ended_with_what_it_started(machine, monkeypatch):
    monkeypatch.setattr(outside, "COMMAND_SECONDS_MAX", 1.0)
    os.mkfifo(machine.root / "alive")
    reader = os.open(machine.root / "alive", os.O_RDONLY | os.O_NONBLOCK)
    machine.program("hang", f"exec 3>{machine.root}/alive; echo started >&3; /bin/sleep 60 & wait")
    assert machine.outside().said("hang") is None
    os.set_blocking(reader, True)
    with os.fdopen(reader, "rb") as held:
        begun = time.monotonic()
        # Its end is reached only when nobody holds the other side any more.
        assert held.read() == b"started\n"
    assert time.monotonic() - begun < 30


def test_a_program_that_fails_or_is_absent_says_nothing(machine):
    machine.program("fails", "echo no; exit 3")
    machine.write("bin/broken", b"\x7fELF").chmod(0o755)
    assert machine.outside().said("fails") is None
    assert machine.outside().said("absent") is None
    assert machine.outside().said("broken") is None


def test_libvirt_needs_a_socket_rights_and_a_binding():
    seen = LibvirtSeen(
        socket="/run/libvirt/libvirt-sock", has_rights=True, virsh_version="9.0.0", has_binding=True
    )
    assert {one.state for one in judge_libvirt(seen)} == {State.WORKS}
    daemon, client = judge_libvirt(replace(seen, has_rights=False, has_binding=False))
    assert (daemon.state, client.state) == (State.LIMITED, State.LIMITED)
    daemon, client = judge_libvirt(replace(seen, socket="", has_binding=False, virsh_version=""))
    assert (daemon.state, client.state) == (State.MISSING, State.MISSING)


@pytest.mark.parametrize(
    ("devices", "state"), [((), State.MISSING), (("vsock",), State.LIMITED), (("vhost-vsock",), State.WORKS)]
)
def test_a_host_of_vms_needs_the_hosts_end_of_a_vsock(machine, devices, state):
    for device in devices:
        machine.write(f"dev/{device}")
    assert judge_vsock(read_vsock(machine.outside())).state is state
