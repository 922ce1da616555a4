"""A card's links over real sockets: telemetry and a move are counted, and what is left is told to all."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import AsyncExitStack

import numpy as np
import pytest

from tests.unit.agents.conftest import MemoryServer, Time
from tests.unit.agents.device.conftest import SERVED_ROOM, Api
from tidegate.agents.agent.agent import Agent
from tidegate.agents.agent.connection import Connection
from tidegate.agents.device.neighbours import Links
from tidegate.agents.device.program import Configuration, Outside, serving_device
from tidegate.agents.device.store import opened
from tidegate.agents.fleet.linking import between, ways
from tidegate.agents.fleet.over_wire import WireCard
from tidegate.agents.fleet.records import Placed
from tidegate.agents.servers.loop import baseline_loop
from tidegate.cli.card_tables import cards_table, links_table
from tidegate.drivers.local.clock import SystemClock
from tidegate.model.application import ApplicationSpec
from tidegate.testing.fake_runtime import FakeRuntime
from tidegate.wire.card.v1 import card_pb2, migration_pb2
from tidegate.wire.dialing import dialled
from tidegate.wire.identities import Role

GIGABIT = 125_000_000
STATE = b"s" * 3_000_000


async def card(stack, folder, name, capacity):
    store = stack.enter_context(opened(folder / name))
    runtime = FakeRuntime(SystemClock())
    configuration = Configuration(
        name=name,
        room=SERVED_ROOM,
        listen=f"unix:{folder / name}.sock",
        state=folder / name,
        links=Links(capacity=capacity),
    )
    outside = Outside(
        store=store,
        runtime=runtime,
        clock=SystemClock(),
        now=time.time_ns,
        new_id=lambda: str(uuid.uuid4()),
    )
    listening = await stack.enter_async_context(serving_device(configuration, outside))
    line = await stack.enter_async_context(
        dialled(listening.address, expects=Role.DEVICE, clock=SystemClock())
    )
    return listening.address, runtime, Api(line)


def agent_of(folder, pci):
    moment = Time()
    server = MemoryServer(moment, 50)
    return Agent(
        name="server-1",
        server=server,
        loop_over=lambda watched: baseline_loop(watched, step_seconds=1),
        folder=folder,
        step_seconds=1,
        incarnation="1",
        now_nanoseconds=time.time_ns,
        pci_bytes_per_second=pci,
    )


async def links_of(api, name="card-a"):
    got = await api.cards.GetCard(card_pb2.GetCardRequest(name=f"cards/{name}"))
    return {one.peer: one for one in got.card.status.links}


async def until(found, tries=100):
    for _ in range(tries):
        done = await found()
        if done:
            return done
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to pass")


def test_an_agent_s_samples_use_its_pci_link(tmp_path):
    async def scenario():
        async with AsyncExitStack() as stack:
            address, _, api = await card(stack, tmp_path, "card-a", {})
            connection = Connection(
                agent_of(tmp_path / "agent", 8 * GIGABIT), address=address, clock=SystemClock()
            )
            running = asyncio.create_task(connection.run(step_seconds=0.05))

            async def counted():
                link = (await links_of(api)).get("server-1")
                return link if link is not None and link.used_bytes_per_second else None

            link = await until(counted)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert link.capacity_bytes_per_second == 8 * GIGABIT
            assert link.capacity_from == card_pb2.CAPACITY_FROM_PCI
            assert link.measured_nanoseconds == 0
            (use,) = link.uses
            assert use.consumer == card_pb2.LINK_CONSUMER_TELEMETRY
            assert use.received_bytes_per_second > 1000
            assert link.headroom_bytes_per_second == 8 * GIGABIT - link.used_bytes_per_second
            row = links_table([link]).columns
            assert next(iter(row[5].cells)) == "pci"
            assert next(iter(row[1].cells)) == "-"

    asyncio.run(scenario())


def test_a_move_uses_the_link_between_cards_and_its_pause_is_told_by_what_is_left(tmp_path):
    async def scenario():
        async with AsyncExitStack() as stack:
            _, here, api = await card(stack, tmp_path, "card-a", {"card-b": GIGABIT})
            there, _, other = await card(stack, tmp_path, "card-b", {"card-a": GIGABIT})
            one = await api.create()
            here.program("web").state = STATE
            request = migration_pb2.CreateMigrationRequest(
                parent="cards/card-a",
                migration=migration_pb2.Migration(
                    spec=migration_pb2.MigrationSpec(
                        application=one.name, target="cards/card-b", target_address=there
                    )
                ),
            )
            begun = (await api.migrations.CreateMigration(request)).migration
            assert begun.status.expected_pause_nanoseconds == pytest.approx(0.1e9, rel=0.01)
            async for message in api.migrations.WatchMigration(
                migration_pb2.WatchMigrationRequest(name=begun.name)
            ):
                told = message.migration.status
            assert told.phase == migration_pb2.MIGRATION_PHASE_SUCCEEDED
            assert told.expected_pause_nanoseconds == 0
            sent = (await links_of(api))["card-b"]
            assert [use.consumer for use in sent.uses] == [card_pb2.LINK_CONSUMER_MOVE]
            assert sent.uses[0].about == "web"
            assert sent.headroom_bytes_per_second == GIGABIT - sent.used_bytes_per_second
            # Without certificates nobody knows from where a state comes: the end that sends it counts.
            assert list((await links_of(other, "card-b"))["card-a"].uses) == []
            assert 0 < sent.uses[0].sent_bytes_per_second <= len(STATE)
            assert sent.uses[0].received_bytes_per_second == 0
            await planned(tmp_path, there, sent)
            shown = await api.cards.ListCards(card_pb2.ListCardsRequest())
            assert "card-b" in next(iter(cards_table(shown.cards).columns[4].cells)).plain

    async def planned(folder, address, sent):
        """The fleet manager takes the same figures into its columns."""
        async with AsyncExitStack() as stack:
            seen = []
            for name, at in (("card-a", f"unix:{folder / 'card-a'}.sock"), ("card-b", address)):
                wired = WireCard(name, at, clock=SystemClock())
                stack.push_async_callback(wired.close)
                seen.append(await wired.look())
            left = between(seen)
            assert left[0, 1] == left[1, 0]
            assert left[0, 1] <= GIGABIT
            assert seen[0].links["card-b"].latency_seconds == 0
            placed = Placed(
                name="web",
                card="card-b",
                epoch=1,
                epoch_asked=1,
                spec=ApplicationSpec(command=("x",), server="server-1"),
                since_seconds=0,
            )
            assert ways(seen, [placed], np.zeros((5, 1), dtype=np.float32)) is None

    asyncio.run(scenario())
