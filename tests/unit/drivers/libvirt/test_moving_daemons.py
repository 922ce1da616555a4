"""Moves between two libvirts that are made up: where a VM is found to run, and what is done about it."""

from __future__ import annotations

import sys
import types

import pytest

from tests.unit.drivers.libvirt.conftest import NO_DOMAIN, FakeError
from tidegate.drivers.libvirt.moving import daemons
from tidegate.drivers.libvirt.moving.daemons import DaemonWay
from tidegate.drivers.libvirt.moving.mover import Mover
from tidegate.drivers.libvirt.moving.orders import MoveOrder, MovePhase
from tidegate.drivers.libvirt.moving.port import Place
from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Refusal

RUNS, PAUSED_BY_OWNER, PAUSED_FOR_MOVE = [1, 1], [3, 1], [3, 2]
MIB = 2**20
FLAGS = ("LIVE", "PEER2PEER", "AUTO_CONVERGE", "POSTCOPY", "UNSAFE", "PERSIST_DEST", "UNDEFINE_SOURCE")
PARAMETERS = ("URI", "DEST_XML", "DEST_NAME", "BANDWIDTH")


class Host:
    """One libvirt, with at most one VM."""

    def __init__(self, uuid):
        self.uuid, self.vm, self.free_kib = uuid, None, 10**7

    def lookupByName(self, name):  # noqa: N802 - libvirt's names
        return self._found(self.vm is not None and self.vm.called == name)

    def lookupByUUIDString(self, uuid):  # noqa: N802
        return self._found(uuid == "1")

    def getCapabilities(self):  # noqa: N802
        return f"<capabilities><host><uuid>{self.uuid}</uuid></host></capabilities>"

    def getMemoryStats(self, _cell):  # noqa: N802
        return {"total": 10**7, "free": self.free_kib, "buffers": 0, "cached": 0}

    def close(self):
        return 0

    def _found(self, is_here):
        if not is_here or self.vm is None:
            raise FakeError("no such domain", NO_DOMAIN)
        return self.vm


class Vm:
    """A VM at one of them; `other` is where it goes when it is moved."""

    def __init__(self, at, state, other=None):
        self.at, self.called, self.now, self.other = at, "web", list(state), other
        self.job, self.asked, self.refuses = {"type": 0}, {}, ""
        at.vm = self

    def name(self):
        return self.called

    def UUIDString(self):  # noqa: N802
        return "1"

    def ID(self):  # noqa: N802
        return 7

    def isActive(self):  # noqa: N802
        return True

    def isPersistent(self):  # noqa: N802
        return False

    def state(self):
        return self.now

    def jobInfo(self):  # noqa: N802
        return [self.job["type"]]

    def jobStats(self, _flags=0):  # noqa: N802
        return self.job

    def abortJob(self):  # noqa: N802
        self.job = {"type": 0}

    def resume(self):
        self.now = list(RUNS)

    def destroy(self):
        self.at.vm = None

    def maxMemory(self):  # noqa: N802
        return 1024 * 1024

    def XMLDesc(self, _flags):  # noqa: N802
        return "<domain type='kvm'><vcpu>1</vcpu><memory>1048576</memory><devices/></domain>"

    def migrateSetMaxDowntime(self, milliseconds):  # noqa: N802
        self.asked["downtime"] = milliseconds

    def migrateToURI3(self, uri, options, flags):  # noqa: N802
        self.asked |= {"uri": uri, "options": options, "flags": flags}
        if self.refuses:
            raise FakeError(self.refuses, 9)
        moved = Vm(self.other, RUNS)
        moved.job = {"time_elapsed": 1500, "downtime": 40, "memory_processed": 99, "memory_iteration": 3}
        self.at.vm = None


@pytest.fixture
def hosts(monkeypatch, tmp_path):
    """Two hosts behind a module called libvirt, and the way between them."""
    made = {"here:///": Host("a"), "there:///": Host("b")}
    module = types.ModuleType("libvirt")
    module.libvirtError, module.open = FakeError, made.__getitem__
    module.registerErrorHandler = lambda _handler, _context: None
    for bit, name in enumerate(FLAGS):
        setattr(module, f"VIR_MIGRATE_{name}", 1 << bit)
    for name in PARAMETERS:
        setattr(module, f"VIR_MIGRATE_PARAM_{name}", name)
    module.VIR_DOMAIN_JOB_STATS_COMPLETED = 1
    monkeypatch.setitem(sys.modules, "libvirt", module)
    monkeypatch.setattr(daemons, "POLL_SECONDS", 0.005)
    here, there = made.values()
    way = lambda: DaemonWay(  # noqa: E731 - made once the VM is there
        name="web", source="here:///", target="there:///", ledger_path=tmp_path / "none.json"
    )
    return here, there, way


def test_a_vm_is_moved_as_it_is_asked(hosts, tmp_path):
    here, there, way = hosts
    vm = Vm(here, RUNS, there)
    order = MoveOrder(bytes_per_second_max=64 * MIB, post_copy=True, post_copy_after_seconds=60)
    record = Mover(folder=tmp_path / "moves").move(way(), order)
    assert (record.phase, record.memory_seconds, record.downtime_seconds) == (MovePhase.SUCCEEDED, 1.5, 0.04)
    assert vm.asked == {
        "uri": "there:///",
        "options": {"BANDWIDTH": 64},
        "flags": 0b1111,
        "downtime": 300,
    }
    assert (here.vm, there.vm.called) == (None, "web")


def test_what_libvirt_refuses_is_told_in_its_words_and_the_vm_runs_on(hosts, tmp_path):
    here, there, way = hosts
    vm = Vm(here, RUNS, there)
    vm.refuses = "unsupported configuration: CPU is not compatible"
    record = Mover(folder=tmp_path / "moves").move(way(), MoveOrder())
    assert (record.phase, record.reason) == (MovePhase.FAILED, vm.refuses)
    assert (here.vm, there.vm) == (vm, None)


@pytest.mark.parametrize(
    ("source", "target", "place"),
    [
        (RUNS, None, Place.SOURCE),
        (RUNS, PAUSED_FOR_MOVE, Place.SOURCE),
        (PAUSED_FOR_MOVE, None, Place.SOURCE),
        (PAUSED_BY_OWNER, None, Place.SOURCE),
        (None, RUNS, Place.TARGET),
        (PAUSED_FOR_MOVE, RUNS, Place.TARGET),
        (None, PAUSED_BY_OWNER, Place.TARGET),
    ],
)
def test_a_vm_ends_at_one_host_alone(hosts, source, target, place):
    here, there, way = hosts
    for host, state in ((here, source), (there, target)):
        if state is not None:
            Vm(host, state)
    settled = way()
    assert settled.settle() is place
    assert settled.settle() is place
    kept, gone = (here, there) if place is Place.SOURCE else (there, here)
    assert gone.vm is None
    assert kept.vm.state() == (PAUSED_BY_OWNER if PAUSED_BY_OWNER in (source, target) else RUNS)


def test_a_move_that_nobody_watches_is_stopped(hosts):
    here, there, way = hosts
    vm = Vm(here, RUNS)
    Vm(there, PAUSED_FOR_MOVE)
    vm.job = {"type": 2, "operation": daemons.OUTGOING}
    assert way().settle() is Place.SOURCE
    assert (vm.job, there.vm) == ({"type": 0}, None)


def test_a_vm_that_runs_twice_is_nobodys_to_end(hosts):
    here, there, way = hosts
    Vm(here, RUNS)
    Vm(there, RUNS)
    with pytest.raises(TidegateError, match="runs at both hosts"):
        way().settle()
    assert here.vm is not None
    assert there.vm is not None


def test_what_can_not_be_moved_is_refused(hosts):
    here, there, way = hosts
    with pytest.raises(Refusal, match="no VM 'web' runs at here"):
        way()
    vm = Vm(here, RUNS)
    there.free_kib = 1000
    with pytest.raises(Refusal, match="which has 1 MB free"):
        way().check(MoveOrder())
    there.free_kib = 10**7
    vm.job = {"type": 1}
    with pytest.raises(Refusal, match="libvirt is busy with VM web"):
        way().check(MoveOrder())
    vm.job = {"type": 0}
    Vm(there, RUNS)
    with pytest.raises(Refusal, match="runs at the target already"):
        way().check(MoveOrder())
    there.vm, there.uuid = None, "a"
    with pytest.raises(Refusal, match="on that host already"):
        way().check(MoveOrder())
