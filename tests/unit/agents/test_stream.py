"""An agent and a device over a real stream: samples arrive, orders come back, each outlives the other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tidegate.agents.agent.connection import Connection
from tidegate.agents.servers.service import TelemetryService, served
from tidegate.model.refusals import Because, Refusal
from tidegate.model.roster import HOST
from tidegate.wire.card.v1 import telemetry_pb2, telemetry_pb2_grpc
from tidegate.wire.dialing import dialled
from tidegate.wire.frames import greeting_message
from tidegate.wire.identities import Role
from tidegate.wire.serving import serving

TURNS_MAX = 400
"""Of a bounded wait, in steps of ten milliseconds."""


class Clock:
    def __init__(self, time):
        self.time = time

    def now_seconds(self):
        return int(self.time.seconds)


class Cell:
    """A device on a socket, whose loop is turned by hand."""

    def __init__(self, card, folder):
        self.card, self.address = card, f"unix:{folder / 'device.sock'}"
        self.clock = Clock(card.time)
        self.service = TelemetryService(card.servers, card="card", now_nanoseconds=card.time.nanoseconds)
        card.servers._called = self.service.call

    def serving(self):
        return serving(self.address, [served(self.service)], clock=self.clock, grace_seconds=0.1)

    def connection(self, name, **other):
        return Connection(
            self.card.wires[name].agent,
            address=self.address,
            clock=self.clock,
            **other,
        )


@pytest.fixture
def cell(card, tmp_path):
    card.add("one", 2)
    card.begin(epoch=1)
    return Cell(card, tmp_path)


async def until(what, cell, *, advance=0.0):
    for _ in range(TURNS_MAX):
        if what():
            return
        cell.card.time.seconds += advance
        await asyncio.sleep(0.01)
    raise AssertionError(f"it did not happen within {TURNS_MAX} turns")


async def shown(cell, talking, scenario):
    """Run a scenario while an agent talks; end both."""
    task = asyncio.create_task(talking)
    try:
        await scenario
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_samples_arrive_and_orders_come_back(cell):
    server = cell.card.wires["one"].agent._server
    servers = cell.card.servers

    async def scenario():
        async with cell.serving():

            async def acts():
                await until(lambda: bool(servers.names) and len(servers.read().roster) == 2, cell)
                for _ in range(80):
                    cell.card.time.seconds += 1
                    number = cell.card.wires["one"].agent.number
                    await until(lambda at=number: cell.card.wires["one"].agent.number > at, cell)
                    cell.card.loop.tick()
                await until(lambda: bool((server.grant < 2).all()), cell)
                await until(lambda: not servers._sent, cell)

            await shown(cell, cell.connection("one").run(step_seconds=0.01), acts())

    asyncio.run(scenario())
    assert (server.grant < 2).all()


def test_an_agent_says_that_a_sample_follows_and_hears_that_the_device_is_there(cell):
    """What the device does ahead of the sample is done before that arrives."""
    happened = []
    cell.service._follows = lambda server: happened.append(("follows", server))
    cell.service._arrived = lambda: happened.append(("arrived", "one"))
    heard = []
    cell.card.wires["one"].agent.heard = lambda: heard.append(len(happened))

    async def scenario():
        async with cell.serving():
            talking = cell.connection("one").run(step_seconds=0.1)
            await shown(cell, talking, until(lambda: len(happened) >= 8, cell))

    asyncio.run(scenario())
    kinds = [kind for kind, _ in happened]
    assert kinds[kinds.index("follows") :][:6] == ["follows", "arrived"] * 3, happened
    assert len(heard) >= 3


def test_a_device_need_not_wait_for_the_end_of_a_long_step(cell):
    servers = cell.card.servers

    async def scenario():
        async with cell.serving():
            talking = cell.connection("one").run(step_seconds=3600)
            await shown(cell, talking, until(servers.is_complete, cell))

    asyncio.run(scenario())
    assert servers.read().used.shape[1] == 2


def test_an_agent_goes_on_without_a_device_and_finds_it_when_it_comes(cell):
    told = []

    async def scenario():
        async def acts():
            agent = cell.card.wires["one"].agent
            await until(lambda: agent.number > 5 and told, cell)
            async with cell.serving():
                await until(lambda: bool(cell.card.servers.names), cell)
                await until(lambda: "connected to card 'card'" in told, cell)

        talking = cell.connection("one", told=told.append).run(step_seconds=0.01)
        await shown(cell, talking, acts())

    asyncio.run(scenario())
    assert told[0].startswith("not connected:")


def test_a_device_that_is_started_again_finds_the_last_grants_as_it_left_them(cell, monkeypatch):
    monkeypatch.setattr("tidegate.agents.agent.connection.DIAL_AGAIN_SECONDS", 0.01)
    card, agent = cell.card, cell.card.wires["one"].agent
    server = agent._server

    async def turned(times):
        for _ in range(times):
            card.time.seconds += 1
            number = agent.number
            await until(lambda at=number: agent.number > at, cell)
            card.loop.tick()
        await until(lambda: not card.servers._sent, cell)

    async def scenario():
        async def acts():
            async with cell.serving():
                await until(card.servers.is_complete, cell)
                await turned(80)
            granted, orders = server.grant.copy(), len(server.submitted)
            assert (granted < server.capacity).all()
            card.time.seconds += 20  # the agent holds, and is not alone yet
            number = agent.number
            await until(lambda: agent.number > number + 5, cell)
            np.testing.assert_array_equal(server.grant, granted)
            card.begin(epoch=2)
            new = Cell(card, Path(cell.address.removeprefix("unix:")).parent)
            async with new.serving():
                await until(card.servers.is_complete, cell)
                np.testing.assert_array_equal(card.servers.read().grant[HOST], granted)
                assert len(server.submitted) == orders
                server.demand = server.demand * 3
                await turned(5)
            assert (server.grant > granted).all()
            assert len(server.submitted) > orders

        await shown(cell, cell.connection("one").run(step_seconds=0.01), acts())

    asyncio.run(scenario())


def test_a_second_agent_of_the_same_server_ends_the_first(cell):
    async def scenario():
        async with cell.serving(), dialled(cell.address, expects=Role.DEVICE, clock=cell.clock) as line:
            stub = telemetry_pb2_grpc.TelemetryServiceStub(line)
            first = stub.Connect()
            await first.write(hello(cell))
            assert (await first.read()).WhichOneof("message") == "welcome"
            second = stub.Connect()
            await second.write(hello(cell))
            assert (await second.read()).WhichOneof("message") == "welcome"
            with pytest.raises(Refusal, match="connected anew") as refused, line.answers():
                await drained(first)
            assert refused.value.because is Because.STALE

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("messages", "because", "why"),
    [
        (
            [telemetry_pb2.ConnectRequest(heartbeat=telemetry_pb2.Heartbeat())],
            Because.NOT_NOW,
            "must be a hello",
        ),
        (
            [None, telemetry_pb2.ConnectRequest(batch=telemetry_pb2.Batch(number=1))],
            Because.NOT_NOW,
            "roster",
        ),
        ([None, None], Because.NOT_NOW, "said once"),
        (
            [None, telemetry_pb2.ConnectRequest(roster=telemetry_pb2.RosterColumns(version=1, names=["x"]))],
            Because.INVALID,
            "roster",
        ),
    ],
)
def test_what_does_not_belong_is_refused_and_the_device_goes_on(cell, messages, because, why):
    async def scenario():
        async with cell.serving(), dialled(cell.address, expects=Role.DEVICE, clock=cell.clock) as line:
            call = telemetry_pb2_grpc.TelemetryServiceStub(line).Connect()
            with pytest.raises(Refusal, match=why) as refused, line.answers():
                await drained(call, [hello(cell) if message is None else message for message in messages])
            assert refused.value.because is because

    asyncio.run(scenario())
    assert len(cell.card.servers.read().roster) == 0


async def drained(call, messages=()):
    for message in messages:
        await call.write(message)
    while True:
        await call.read()


def hello(cell):
    greeting = cell.card.wires["one"].agent.greeting()
    return telemetry_pb2.ConnectRequest(hello=greeting_message(greeting))
