"""Links of known shape, measured from their ends: namespaces, TUN devices and real packets."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import aclosing

import numpy as np
import pytest

from tidegate.agents.links.watch import LinkWatch, Peer
from tidegate.drivers.interfaces.reading import InterfaceReader
from tidegate.drivers.probes.budget import Budget
from tidegate.drivers.probes.prober import Prober
from tidegate.drivers.probes.responder import Responder
from tidegate.model.errors import TidegateError
from tidegate.model.links import PATIENCE_SECONDS
from tidegate.testing.links import EmulatedLink, LinkShape

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: network namespaces, TUN"),
    pytest.mark.skipif(
        sys.platform == "linux" and os.geteuid() != 0,
        reason="needs root to make network namespaces: run the tests as root",
    ),
]
SECRET = b"a secret of both ends"
MEGABIT = 125_000
TURNS_MAX = 30


def namespaces():
    return subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout


async def watched(link, until, *, turns=TURNS_MAX, act=None, **options):
    """Watch the link until its record is as wanted; return how many turns that took, and the record.

    ``act`` is called before the first turn, once the link is known.
    """
    here, there = reversed(link.namespaces)
    with InterfaceReader(here) as interfaces:
        async with (
            Responder(f"{link.addresses[0]}:0", secret=SECRET, namespace=there) as responder,
            LinkWatch(
                seed=1,
                now_seconds=time.time,
                monotonic_seconds=time.monotonic,
                secret=SECRET,
                namespace=here,
                interfaces=interfaces,
                **options,
            ) as watch,
        ):
            await watch.follow([Peer(name="card-a", address=responder.address)])
            seen, number = [], 0
            async with aclosing(watch.turns()) as stream:
                async for links in stream:
                    seen += links
                    if act is not None and len(seen) == 4:
                        act()
                    number += act is None or len(seen) > 4
                    if links and number and until(links[0]):
                        return number, links[0]
                    assert number < turns, seen[-5:]
    raise AssertionError("the watch ended by itself")


def test_five_milliseconds_each_way_and_one_percent_of_loss():
    shape = LinkShape(delay_seconds=0.005, loss_ratio=0.005)  # a round trip passes twice
    budget = Budget(packets_per_second=600, bytes_per_second=100_000)

    async def run(link):
        async with (
            Responder(f"{link.addresses[0]}:0", secret=SECRET, namespace=link.namespaces[0]) as responder,
            Prober(
                responder.address,
                seed=1,
                secret=SECRET,
                namespace=link.namespaces[1],
                budget=budget,
                probes_per_second=450.0,
                train_every_seconds=float("inf"),
            ) as prober,
        ):
            await asyncio.sleep(6 + PATIENCE_SECONDS)
            return prober.take()[0]

    with EmulatedLink(shape, seed=4) as link:
        probes = asyncio.run(run(link))
        carried = link.carried()
    known = probes.sent_seconds < probes.sent_seconds.max() - PATIENCE_SECONDS
    assert known.sum() > 1200
    lost = np.isnan(probes.round_trip_seconds[known]).mean()
    assert lost == pytest.approx(0.01, abs=0.01)
    truly = sum(way.lost for way in carried) / probes.sent_seconds.size
    assert lost == pytest.approx(truly, abs=0.003)  # what the link says it has lost
    assert 0.0100 < np.nanmedian(probes.round_trip_seconds) < 0.0125


def test_the_capacity_of_a_slow_link_is_told_and_so_is_what_it_carries():
    seen = []

    def is_told(one):
        """By several trains; where this machine is busy the link itself stutters, and takes some more."""
        seen.append(one.capacity_bytes_per_second or 0)
        near = abs(seen[-1] - 20 * MEGABIT) < 0.25 * 20 * MEGABIT
        return len(seen) >= 7 and near and one.used_bytes_per_second

    with EmulatedLink(LinkShape(delay_seconds=0.005, bytes_per_second=20 * MEGABIT)) as link:
        _, record = asyncio.run(watched(link, is_told, train_every_seconds=1.0))
    assert 500 < record.used_bytes_per_second < 200_000  # the probes themselves
    assert record.headroom_bytes_per_second < record.capacity_bytes_per_second


def test_a_longer_way_is_noticed_within_seconds():
    with EmulatedLink(LinkShape(delay_seconds=0.002)) as link:
        turns, record = asyncio.run(
            watched(
                link,
                lambda one: one.latency_seconds > 0.037,
                act=lambda: link.change(LinkShape(delay_seconds=0.020)),
            )
        )
    assert turns <= 8
    assert record.is_fresh
    assert 0.037 < record.latency_seconds < 0.060


def test_a_link_that_breaks_is_noticed_within_seconds():
    with EmulatedLink(LinkShape()) as link:
        turns, record = asyncio.run(
            watched(
                link, lambda one: one.loss_ratio > 0.5, act=lambda: link.change(LinkShape(loss_ratio=1.0))
            )
        )
    assert turns <= 6
    assert record.peer == "card-a"


def test_two_links_join_the_same_namespaces_and_leave_them_there():
    with EmulatedLink(LinkShape()) as outer:
        slow, fast = LinkShape(delay_seconds=0.03), LinkShape()
        with (
            EmulatedLink(slow, between=outer.namespaces) as one,
            EmulatedLink(fast, between=outer.namespaces) as other,
        ):
            assert len({*one.addresses, *other.addresses, *outer.addresses}) == 6
            _, late = asyncio.run(watched(one, lambda _: True, act=lambda: None))
            _, soon = asyncio.run(watched(other, lambda _: True, act=lambda: None))
        assert all(name in namespaces() for name in outer.namespaces)
    assert soon.latency_seconds < 0.03
    assert 0.06 < late.latency_seconds < 0.1


def test_jitter_is_told():
    with EmulatedLink(LinkShape(delay_seconds=0.002, jitter_seconds=0.009), seed=2) as link:
        _, later = asyncio.run(watched(link, lambda _: True, act=lambda: None))
    # Of two sums of two draws out of 9 ms each the mean difference is 4.2 ms (7/15 of 9); load adds.
    assert 0.0025 < later.jitter_seconds < 0.020
    assert later.latency_p95_seconds > later.latency_seconds + 0.002


def test_what_was_made_is_gone_afterwards_also_where_it_fails():
    link = EmulatedLink(LinkShape())
    with link:
        assert all(name in namespaces() for name in link.namespaces)
        relay = link._relay
        relay.kill()
        relay.wait(10)
        with pytest.raises(TidegateError, match="not there"):
            link.change(LinkShape())
    assert not any(name in namespaces() for name in link.namespaces)
    taken = EmulatedLink(LinkShape())
    subprocess.run(["ip", "netns", "add", taken.namespaces[1]], check=True)
    try:
        with pytest.raises(TidegateError, match="failed"):
            taken.__enter__()
        assert taken.namespaces[0] not in namespaces()
    finally:
        subprocess.run(["ip", "netns", "del", taken.namespaces[1]], check=True)
