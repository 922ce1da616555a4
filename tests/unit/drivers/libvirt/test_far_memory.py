"""Far memory in a VM: plugged once, never taken from a guest that still needs it, and waited for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.drivers.libvirt.conftest import FakeError
from tidegate.drivers.libvirt import far_memory
from tidegate.drivers.libvirt.far_memory import go_on, plug, plugged, unplug
from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Refusal

SOCKET = Path("/card/web.sock")


class Domain:
    """A VM with one disk; its guest lets a disk go when it is asked for the second time."""

    def __init__(self):
        self.disks, self.asked, self.lets_go = ["<disk><target dev='vda'/></disk>"], 0, 2
        self.states, self.resumed, self.full = [(1, 0)], 0, False

    def name(self):
        return "web"

    def XMLDesc(self, _flags):  # noqa: N802 - libvirt's names
        return f"<domain><devices>{''.join(self.disks)}</devices></domain>"

    def attachDeviceFlags(self, xml, flags):  # noqa: N802
        assert flags == far_memory.LIVE
        if self.full:
            raise FakeError("No more available PCI slots", 1)
        self.disks.append(xml)

    def detachDeviceFlags(self, xml, _flags):  # noqa: N802
        self.asked += 1
        if self.asked < self.lets_go:
            raise FakeError("device is in the process of unplug", 1)
        self.disks = [one for one in self.disks if "tidegate-far" not in one or "tidegate-far" not in xml]

    def state(self):
        return self.states[0]

    def resume(self):
        self.resumed += 1
        if len(self.states) > 1:
            self.states.pop(0)


@pytest.fixture
def domain(monkeypatch):
    monkeypatch.setattr(far_memory, "ASK_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(far_memory, "POLL_SECONDS", 0.005)
    monkeypatch.setattr(far_memory, "GO_ON_AGAIN_SECONDS", 0.005)
    return Domain()


def test_it_is_plugged_once_and_known_by_its_serial(domain):
    one = plug(domain, "web-1", SOCKET)
    assert (one.device, one.serial) == ("vdb", "tidegate-far-0")
    assert plug(domain, "web-1", SOCKET) == one
    assert plugged(domain) == [one]
    assert len(domain.disks) == 2
    assert "error_policy='stop'" in domain.disks[1]


def test_it_is_asked_back_until_the_guest_lets_it_go(domain):
    one, told = plug(domain, "web-1", SOCKET), []
    unplug(domain, one, lambda serial: told.append(serial) or True)
    assert (told, domain.asked, plugged(domain)) == (["tidegate-far-0"], 2, [])


def test_a_guest_that_needs_it_keeps_it(domain):
    one = plug(domain, "web-1", SOCKET)
    with pytest.raises(Refusal, match="still needs the far memory web-1"):
        unplug(domain, one, lambda _serial: False)
    assert (domain.asked, plugged(domain)) == (0, [one])


def test_a_guest_that_never_lets_go_is_told(domain, monkeypatch):
    monkeypatch.setattr(far_memory, "UNPLUG_SECONDS_MAX", 0.05)
    domain.lets_go = 10**6
    one = plug(domain, "web-1", SOCKET)
    with pytest.raises(Refusal, match="does not let its disk vdb go"):
        unplug(domain, one, lambda _serial: True)
    assert plugged(domain) == [one]


def test_a_vm_without_a_place_for_it_is_told_what_it_lacks(domain):
    domain.full = True
    with pytest.raises(Refusal, match="pcie-root-port"):
        plug(domain, "web-1", SOCKET)


def test_a_vm_that_stands_still_tries_until_it_runs(domain):
    assert not go_on(domain)
    domain.states = [(3, 5), (3, 0), (3, 0), (1, 1)]
    assert go_on(domain)
    assert domain.resumed == 3
    domain.states = [(3, 5)]
    with pytest.raises(TidegateError, match="its far memory does not answer"):
        go_on(domain, 0.02)
    domain.states = [(3, 1)]  # by its owner
    assert not go_on(domain)
