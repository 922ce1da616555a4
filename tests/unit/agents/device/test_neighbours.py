"""A card's links: whom it probes, where it says it answers, and what it tells of them."""

from __future__ import annotations

import asyncio
import time
import types

from tidegate.agents.device.neighbours import Links, neighbours, peers_of, reached_at
from tidegate.agents.servers.servers import Told
from tidegate.drivers.probes.responder import Responder

TURNS_MAX = 80


def told(server, address=""):
    return Told(server=server, workloads=1, heard_nanoseconds=0, lost=False, probe_address=address)


def test_servers_that_say_where_they_answer_and_named_cards_are_probed():
    links = Links(cards={"card-b": "10.0.0.3:7"})
    peers = peers_of(links, [told("s1", "10.0.0.1:7"), told("s2")])
    assert {peer.name: peer.address for peer in peers} == {"s1": "10.0.0.1:7", "card-b": "10.0.0.3:7"}


def test_a_card_of_a_servers_name_is_the_card():
    (peer,) = peers_of(Links(cards={"x": "10.0.0.3:7"}), [told("x", "10.0.0.1:7")])
    assert peer.address == "10.0.0.3:7"


def test_who_answers_everywhere_is_reached_by_its_host():
    assert reached_at("0.0.0.0:7431", "card-a.example") == "card-a.example:7431"
    assert reached_at("[::]:7431", "card-a.example") == "card-a.example:7431"
    assert reached_at("10.0.0.2:7431", "card-a.example") == "10.0.0.2:7431"
    assert reached_at("0.0.0.0:7431", "") == "0.0.0.0:7431"


def test_a_server_on_loopback_is_measured_and_forgotten_when_it_goes():
    device = types.SimpleNamespace(links=(), probe_address="")
    there = []

    async def until(what):
        for _ in range(TURNS_MAX):
            if what():
                return
            await asyncio.sleep(0.1)
        raise AssertionError("it did not come to pass")

    async def scenario():
        async with Responder("127.0.0.1:0") as server:
            there.append(told("s1", server.address))
            async with neighbours(
                device,
                Links(probe="127.0.0.1:0"),
                lambda: there,
                now_seconds=time.time,
                monotonic_seconds=time.monotonic,
            ):
                assert device.probe_address.startswith("127.0.0.1:")
                await until(lambda: [link.peer for link in device.links] == ["s1"])
                assert 0 < device.links[0].latency_seconds < 0.5
                there.clear()
                await until(lambda: device.links == ())

    asyncio.run(scenario())
