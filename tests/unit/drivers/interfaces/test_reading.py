"""Counters of this machine's interfaces, and of its namespaces where this is root."""

from __future__ import annotations

import os
import socket
import sys

import numpy as np
import psutil
import pytest

from tidegate.drivers.interfaces.ethtool import SOFTWARE, bytes_per_second_max, driver_of, is_up
from tidegate.drivers.interfaces.reading import InterfaceReader, counters_of
from tidegate.telemetry.counters import CounterWindow
from tidegate.testing.links import EmulatedLink, LinkShape

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /proc/net/dev")
HEADER = "Inter-|   Receive  |  Transmit\n face |bytes packets\n"


def test_the_kernels_table_is_read_whatever_stands_in_it():
    text = (
        f"{HEADER}    lo: 100 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0\n"
        "eth0:18446744073709551615 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\nbroken: x\nshort: 1 2\n\n"
    )
    assert counters_of(text) == {"lo": (100, 200), "eth0": (2**64 - 1, 7)}
    assert counters_of("") == {}


def test_what_the_loopback_carries_is_counted():
    with (
        InterfaceReader() as reader,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
    ):
        there.bind(("127.0.0.1", 0))
        before = reader.read()
        for _ in range(100):
            here.sendto(bytes(1000), there.getsockname())
        after = reader.read()
        assert reader.owning("127.0.0.1") == "lo"
        assert reader.owning("203.0.113.9") is None
    row, later = before.names.index("lo"), after.names.index("lo")
    carried = int(after.sent_bytes[later]) - int(before.sent_bytes[row])
    assert carried >= 100 * 1028
    assert np.isnan(after.bytes_per_second_max[later])  # nobody tells the loopback's
    assert after.is_up[later]
    assert after.since[later] == before.since[row]
    window = CounterWindow()
    window.add(before)
    window.add(after)
    assert window.carried().of("lo")[0] > 0


def test_an_interface_that_is_not_there_has_no_driver():
    assert driver_of("not-there") == ""
    assert np.isnan(bytes_per_second_max("not-there"))
    assert not is_up("not-there")


def test_this_machines_interfaces_tell_what_psutil_is_told():
    """By another way to the same kernel; those without a wire are left out."""
    for name, state in psutil.net_if_stats().items():
        if driver_of(name) not in SOFTWARE and state.speed:
            assert bytes_per_second_max(name) == state.speed * 125_000
        assert is_up(name) == state.isup


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make network namespaces: run the tests as root")
def test_a_namespace_has_interfaces_of_its_own_and_a_tun_device_no_speed():
    with EmulatedLink(LinkShape()) as link, InterfaceReader(link.namespaces[0]) as reader:
        counters = reader.read()
        assert sorted(counters.names) == ["link0", "lo"]
        row = counters.names.index("link0")
        assert np.isnan(counters.bytes_per_second_max[row])
        assert reader.owning(link.addresses[0]) == "link0"
        assert counters.is_up[row]
