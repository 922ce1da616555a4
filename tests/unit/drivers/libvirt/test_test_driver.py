"""The driver on libvirt's own test hypervisor: real calls of the real binding, no VM."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.drivers.libvirt.server import LibvirtServer
from tidegate.model.outcome import Phase
from tidegate.model.roster import HOST
from tidegate.testing import ManualClock, driver_checks
from tidegate.testing.check_driver import resized

libvirt = pytest.importorskip(
    "libvirt", reason="libvirt's Python binding is not installed: tests/real/install.sh brings it"
)

CPU, MEMORY = 0, 1
DOMAIN = (
    "<domain type='test'><name>{name}</name><memory unit='KiB'>1048576</memory>"
    "<vcpu>2</vcpu><os><type>hvm</type></os>"
    "<devices><memballoon model='virtio'/></devices></domain>"
)


class Paced:
    """A server over a test hypervisor of its own; what that can't set (CPU, here) is left out."""

    def __init__(self, path):
        self.clock = ManualClock(1_704_067_200)
        # One of a file is the connection's own; test:///default is the whole process's.
        node = path.with_suffix(".xml")
        node.write_text(f"<node>{DOMAIN.format(name='test')}</node>")
        self.server = LibvirtServer(
            f"test://{node}",
            step_seconds=10,
            clock=self.clock,
            act=["*"],
            ledger_path=path,
            memory_step_seconds=0.0,
        )
        self.now_seconds, self.submit = self.clock.now_seconds, self.server.submit
        self.collect = self.server.collect

    def read(self):
        assert self.server.settle(20)
        self.clock.advance(10)
        snapshot = self.server.read()
        grant, used, pressed = snapshot.grant.copy(), snapshot.used.copy(), snapshot.pressed.copy()
        grant[HOST, ~self.server.settable] = np.nan
        used[CPU], pressed[CPU] = np.nan, False  # its VMs' CPU time is the clock on the wall
        return replace(snapshot, grant=grant, used=used, pressed=pressed)


@pytest.mark.parametrize("check", driver_checks(lambda: None), ids=str)
def test_the_driver_keeps(check, tmp_path):
    made = []

    def make():
        made.append(Paced(tmp_path / f"{len(made)}.json"))
        return made[-1]

    try:
        {one.name: one for one in driver_checks(make)}[check.name]()
    finally:
        for one in made:
            one.server.close()


def test_vms_that_appear_and_vanish_are_seen(tmp_path):
    one = Paced(tmp_path / "ledger")
    with one.server as server:
        own = server._connection.get()
        before = len(one.read().roster)
        domains = [own.createXML(DOMAIN.format(name=f"vm{at}"), 0) for at in range(3)]
        assert len(one.read().roster) == before + 3
        for domain in domains:
            domain.destroy()
        assert len(one.read().roster) == before


def test_memory_is_read_back_from_libvirt_and_given_back(tmp_path):
    one = Paced(tmp_path / "ledger")
    domain = one.server._connection.get().lookupByName("test")
    had = domain.info()[2]
    snapshot = one.read()
    one.submit(resized(snapshot, 0.5))
    after = one.read()
    outcome = one.collect()
    assert outcome.phase.tolist() == [Phase.APPLIED]
    assert domain.info()[2] == had // 2
    assert after.grant[HOST, MEMORY, 0] == outcome.amount_read_back[0] == had // 2 * 1024
    # The test hypervisor ends with its connection: look before it is closed.
    released = one.server._acting.restore_all()
    assert released.restored == ("test: memory_kib",)
    assert domain.info()[2] == had
    one.server.close()


def test_a_quota_that_the_hypervisor_has_not_is_not_offered(tmp_path):
    one = Paced(tmp_path / "ledger")
    with one.server as server:
        one.read()
        assert not server.settable[CPU].any()
