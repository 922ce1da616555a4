"""Streams that are replaced, pretend, choke or break: orders go to one, and nobody goes deaf."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.unit.agents.test_stream import Cell, drained, hello, shown, until
from tidegate.agents.agent.connection import WAITING_MAX, Connection
from tidegate.agents.servers.service import TelemetryService
from tidegate.model.refusals import Because, Refusal
from tidegate.wire.card.v1 import telemetry_pb2, telemetry_pb2_grpc
from tidegate.wire.dialing import dialled
from tidegate.wire.frames import greeting_message
from tidegate.wire.identities import Role


@pytest.fixture
def cell(card, tmp_path):
    card.add("one", 2)
    card.begin(epoch=1)
    return Cell(card, tmp_path)


def test_orders_go_to_the_newest_stream_only():
    class Servers:
        """Has one set of orders, once a second stream is there."""

        waiting = False

        def greet(self, _greeting):
            return 1

        def next_orders(self, _server):
            if not self.waiting:
                return None
            self.waiting = False
            return "orders"

    async def said(*messages):
        for message in messages:
            yield message
        await asyncio.Event().wait()

    async def scenario(monkeypatch):
        servers = Servers()
        service = TelemetryService(servers, card="card", now_nanoseconds=lambda: 0)
        greeting = SimpleNamespace(server="one")

        async def greeted(_requests, _context):
            return greeting

        service._greeted = greeted
        monkeypatch.setattr("tidegate.agents.servers.service.HEARTBEAT_SECONDS", 0.05)
        old, new = service.Connect(said(), None), service.Connect(said(), None)
        assert (await anext(old)).HasField("welcome")
        waits = asyncio.create_task(anext(old))
        await asyncio.sleep(0.01)
        assert (await anext(new)).HasField("welcome")
        servers.waiting = True
        with pytest.raises(Refusal, match="connected anew"):
            await waits
        assert servers.waiting  # the old one took nothing
        await old.aclose()
        await new.aclose()

    with pytest.MonkeyPatch.context() as patch:
        asyncio.run(scenario(patch))


def test_nobody_speaks_as_the_card_itself(cell):
    async def scenario():
        async with cell.serving(), dialled(cell.address, expects=Role.DEVICE, clock=cell.clock) as line:
            call = telemetry_pb2_grpc.TelemetryServiceStub(line).Connect()
            greeting = replace(cell.card.wires["one"].agent.greeting(), server="card")
            with pytest.raises(Refusal, match="is this card") as refused, line.answers():
                await drained(call, [telemetry_pb2.ConnectRequest(hello=greeting_message(greeting))])
            assert refused.value.because is Because.NOT_ALLOWED

    asyncio.run(scenario())
    assert cell.card.servers.names == ()


def test_no_sign_of_life_is_given_while_nobody_decides(cell, monkeypatch):
    monkeypatch.setattr("tidegate.agents.servers.service.HEARTBEAT_SECONDS", 0.02)
    decides = []
    cell.service._decides = lambda: bool(decides)

    async def scenario():
        async with cell.serving(), dialled(cell.address, expects=Role.DEVICE, clock=cell.clock) as line:
            call = telemetry_pb2_grpc.TelemetryServiceStub(line).Connect()
            await call.write(hello(cell))
            assert (await call.read()).HasField("welcome")
            reading = asyncio.ensure_future(call.read())
            await asyncio.sleep(0.2)
            assert not reading.done()
            decides.append(True)
            assert (await asyncio.wait_for(reading, 5)).HasField("heartbeat")

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [OSError("a quota can't be set"), ValueError("nobody expected that")])
def test_an_agent_dials_again_whatever_breaks_its_line(cell, monkeypatch, error):
    monkeypatch.setattr("tidegate.agents.agent.connection.DIAL_AGAIN_SECONDS", 0.01)
    told, agent = [], cell.card.wires["one"].agent
    carry_out = agent.carry_out

    def breaks(orders):
        agent.carry_out = carry_out
        raise error

    agent.carry_out = breaks

    async def scenario():
        async with cell.serving():

            async def acts():
                for _ in range(90):
                    cell.card.time.seconds += 1
                    number = agent.number
                    await until(lambda at=number: agent.number > at, cell)
                    cell.card.loop.tick()
                    if len(told) > 2:
                        break
                await until(lambda: told.count("connected to card 'card'") == 2, cell)

            await shown(cell, cell.connection("one", told=told.append).run(step_seconds=0.01), acts())

    asyncio.run(scenario())
    assert any(str(error) in sentence for sentence in told)


def test_a_queue_that_is_full_never_holds_a_sample_without_its_roster(cell):
    agent = cell.card.wires["one"].agent
    connection = Connection(agent, address=cell.address, clock=cell.clock)

    async def scenario():
        for already in range(WAITING_MAX + 1):
            connection._waiting, connection._sent = asyncio.Queue(WAITING_MAX), None
            for _ in range(already):
                connection._waiting.put_nowait(telemetry_pb2.ConnectRequest())
            connection._say(agent.step())
            kinds = [connection._waiting.get_nowait() for _ in range(connection._waiting.qsize())]
            assert [one.WhichOneof("message") for one in kinds[-2:]] == ["roster", "batch"], already

    asyncio.run(scenario())
