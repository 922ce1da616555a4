"""The watch over several links: peers that come, move, go, and can't be probed."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import numpy as np
import pytest

from tidegate.agents.links.watch import AGAIN_SECONDS, PEERS_MAX, LinkWatch, Peer
from tidegate.drivers.probes.responder import Responder
from tidegate.model.errors import InputError, TidegateError
from tidegate.model.links import InterfaceCounters

WALL = 1_700_000_000.0


class Interfaces:
    """One interface that carries 1 MB a second, and may be unreadable."""

    def __init__(self):
        self.fails = False
        self.reads = 0

    def read(self):
        if self.fails:
            raise TidegateError("interface counters can't be read: it rains")
        self.reads += 1
        return InterfaceCounters(
            time_seconds=float(self.reads),
            names=("port0", "other"),
            received_bytes=np.array([10**6 * self.reads, 0], dtype=np.uint64),
            sent_bytes=np.array([10**3 * self.reads, 0], dtype=np.uint64),
            known=np.array([True, True]),
            bits=np.array([64, 64], dtype=np.uint8),
            since=np.array([1, 1]),
            is_up=np.array([True, True]),
            bytes_per_second_max=np.array([125e6, np.nan]),
        )

    def owning(self, host):
        return "port0" if host == "127.0.0.1" else None


def watch_of(**options):
    given = {
        "seed": 1,
        "now_seconds": lambda: WALL,
        "monotonic_seconds": time.monotonic,
        "probes_per_second": 40.0,
        "train_every_seconds": 0.4,
    }
    return LinkWatch(**given | options)


def known(watch, names):
    """Wait, not for ever, until the watch tells of exactly these."""

    async def until():
        deadline = time.monotonic() + 10
        while {one.peer for one in watch.look()} != set(names):
            assert time.monotonic() < deadline, watch.latest
            await asyncio.sleep(0.05)
        return {one.peer: one for one in watch.latest}

    return until()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    for module in ("drivers.probes.prober", "telemetry.links"):
        monkeypatch.setattr(f"tidegate.{module}.PATIENCE_SECONDS", 0.2)


def test_links_are_told_of_with_what_their_interfaces_say():
    async def run():
        interfaces = Interfaces()
        async with (
            Responder("127.0.0.1:0") as one,
            Responder("127.0.0.1:0") as other,
            watch_of(interfaces=interfaces) as watch,
        ):
            assert watch.look() == watch.latest == ()
            await watch.follow(
                [
                    Peer(name="server-1", address=one.address),
                    Peer(name="card-b", address=other.address, interface="other"),
                ]
            )
            return await known(watch, ["server-1", "card-b"]), watch.problems

    links, problems = asyncio.run(run())
    assert problems == {}
    assert links["server-1"].latency_seconds < 0.05
    assert links["server-1"].loss_ratio < 0.2
    assert links["server-1"].used_bytes_per_second == 10**6
    assert links["server-1"].capacity_bytes_per_second <= 125_000_000
    assert links["card-b"].used_bytes_per_second == 0
    assert WALL - 2 < links["card-b"].measured_seconds <= WALL


def test_peers_come_and_go_and_one_that_answers_elsewhere_is_begun_anew():
    async def run():
        async with Responder("127.0.0.1:0") as one, Responder("127.0.0.1:0") as other, watch_of() as watch:
            first = Peer(name="a", address=one.address)
            await watch.follow([first])
            before = (await known(watch, ["a"]))["a"]
            prober = watch._watched["a"].prober
            await watch.follow([Peer(name="b", address=other.address), first])
            assert watch._watched["a"].prober is prober
            await known(watch, ["a", "b"])
            await watch.follow([Peer(name="a", address=other.address)])
            assert watch.look() == ()  # nothing is known of the new way yet
            assert prober._socket is None
            moved = (await known(watch, ["a"]))["a"]
            await watch.follow([])
            assert watch.look() == ()
            return before, moved

    before, moved = asyncio.run(run())
    assert before.used_bytes_per_second is None
    assert moved.is_fresh


def test_who_can_not_be_probed_is_named_and_tried_again_later():
    async def run():
        seconds = [1000.0]
        async with Responder("127.0.0.1:0") as one, watch_of(monotonic_seconds=lambda: seconds[0]) as watch:
            lost = Peer(name="lost", address="no.such.host.invalid:7")
            await watch.follow([lost, Peer(name="a", address=one.address)])
            said = watch.problems
            at_first = watch._watched["lost"].tried_seconds
            seconds[0] += AGAIN_SECONDS - 1
            await asyncio.gather(*watch._open_due())
            too_early = watch._watched["lost"].tried_seconds
            seconds[0] += 1
            await asyncio.gather(*watch._open_due())
            return said, at_first, too_early, watch._watched["lost"].tried_seconds

    said, at_first, too_early, later = asyncio.run(run())
    assert list(said) == ["lost"]
    assert "no.such.host.invalid" in said["lost"]
    assert (at_first, too_early, later) == (1000.0, 1000.0, 1000.0 + AGAIN_SECONDS)


def test_counters_that_can_not_be_read_cost_no_latency():
    async def run():
        interfaces = Interfaces()
        interfaces.fails = True
        async with Responder("127.0.0.1:0") as one, watch_of(interfaces=interfaces) as watch:
            await watch.follow([Peer(name="a", address=one.address)])
            links, said = await known(watch, ["a"]), watch.problems
            interfaces.fails = False
            watch.look()
            return links["a"], said, watch.problems

    link, said, later = asyncio.run(run())
    assert link.latency_seconds is not None
    assert link.used_bytes_per_second is None
    assert "it rains" in said["(interfaces)"]
    assert later == {}


class Switch:
    """Has one port, and may be silent."""

    def __init__(self):
        self.reads, self.fails = 0, False

    async def read(self):
        if self.fails:
            raise TidegateError("SNMP agent 'switch' gave no answer")
        self.reads += 1
        return InterfaceCounters(
            time_seconds=float(10 * self.reads),
            names=("Ethernet7",),
            received_bytes=np.array([10**8 * self.reads], dtype=np.uint64),
            sent_bytes=np.array([10**3 * self.reads], dtype=np.uint64),
            known=np.array([True]),
            bits=np.array([64], dtype=np.uint8),
            since=np.array([1]),
            is_up=np.array([True]),
            bytes_per_second_max=np.array([np.nan]),
        )


def test_what_a_switch_counts_stands_before_what_this_end_counts_while_it_tells():
    async def run():
        switch = Switch()
        async with (
            Responder("127.0.0.1:0") as one,
            watch_of(interfaces=Interfaces(), switch=switch) as watch,
        ):

            async def read_again():
                watch._switch_due = 0.0
                await known(watch, ["a", "b"])
                await asyncio.wait([watch._switch_task])
                return [link.used_bytes_per_second for link in watch.look()]

            await watch.follow(
                [Peer(name="a", address=one.address, port="Ethernet7"), Peer(name="b", address=one.address)]
            )
            await known(watch, ["a", "b"])
            before = await read_again()
            switch.fails = True
            return before, await read_again(), watch.problems

    before, after, problems = asyncio.run(run())
    assert before == [10**7, 10**6]
    assert after == [10**6, 10**6]
    assert "no answer" in problems["(switch)"]


def test_a_turn_takes_a_second():
    async def run():
        async with Responder("127.0.0.1:0") as one, watch_of() as watch:
            await watch.follow([Peer(name="a", address=one.address)])
            began, turns = time.monotonic(), []
            async with aclosing(watch.turns()) as stream:
                async for links in stream:
                    turns.append(links)
                    if len(turns) == 2:
                        return time.monotonic() - began, turns, watch.latest
        return None

    took, turns, latest = asyncio.run(run())
    assert took == pytest.approx(2.0, abs=0.5)
    assert turns[-1] == latest
    assert [one.peer for one in latest] == ["a"]


def test_what_can_not_be_followed_changes_nothing():
    async def run():
        async with watch_of() as watch:
            await watch.follow([Peer(name="a", address="127.0.0.1:9")])
            one = Peer(name="b", address="127.0.0.1:9")
            for wrong, said in (
                ([one, one], "twice"),
                ([Peer(name="b", address="there")], "host:port"),
                ([Peer(name=str(number), address="127.0.0.1:9") for number in range(PEERS_MAX + 1)], "256"),
            ):
                with pytest.raises(InputError, match=said):
                    await watch.follow(wrong)
            return list(watch._watched)

    assert asyncio.run(run()) == ["a"]
    with pytest.raises(InputError, match="16 or more"):
        watch_of(secret=b"short")


def test_a_name_that_takes_for_ever_to_look_up_keeps_nobody_waiting(monkeypatch):
    monkeypatch.setattr("tidegate.agents.links.watch.OPEN_SECONDS", 0.1)
    looking = []

    class Slow:
        def __init__(self, *_, **__):
            pass

        async def __aenter__(self):
            looking.append("up")
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                looking.append("no more")
                raise

    monkeypatch.setattr("tidegate.agents.links.watch.Prober", Slow)

    async def run():
        async with watch_of() as watch:
            await watch.follow([Peer(name="slow", address="slow:9")])
            watch._open_due()
            await asyncio.sleep(0)
            assert watch.look() == ()
        await asyncio.sleep(0)

    asyncio.run(run())
    assert looking == ["up", "no more"]
