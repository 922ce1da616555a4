"""Cards ask each other, over a socket and over the network with certificates."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from tidegate.agents.device.card import SECOND
from tidegate.agents.device.moving import SETTLE_NANOSECONDS
from tidegate.app.certificates import Authority
from tidegate.drivers.local.clock import SystemClock
from tidegate.model.refusals import Because, Refusal
from tidegate.wire.card.v1 import adjustment_pb2, application_pb2, card_pb2, migration_pb2
from tidegate.wire.dialing import dialled
from tidegate.wire.identities import Identity, Role

CARD, WEB = "cards/card-a", "cards/card-a/applications/web"
TESTS_END_SECONDS = 30


def test_an_application_moves_from_one_card_to_another(tmp_path, asked, a_card):
    async def whole():
        async with asked(tmp_path) as (api, here), a_card(tmp_path, "card-b") as (address, there):
            await api.create()
            here.program("web").state = state = bytes(range(256)) * 20_000
            spec = {"application": WEB, "target": "cards/card-b", "target_address": address}
            request = migration_pb2.CreateMigrationRequest(parent=CARD, migration={"spec": spec})
            begun = (await api.migrations.CreateMigration(request)).migration
            watch = migration_pb2.WatchMigrationRequest(name=begun.name)
            phases = [told.migration.status async for told in api.migrations.WatchMigration(watch)]
            assert phases[-1].phase == migration_pb2.MIGRATION_PHASE_SUCCEEDED, phases[-1].reason
            assert phases[-1].bytes_moved == phases[-1].bytes_total == len(state)
            assert there.program("web").state == state
            assert there.program("web").serving
            assert there.program("web").epoch == 1
            while here.found():  # noqa: ASYNC110 - its program is ended once that is written down
                await asyncio.sleep(0.01)
            assert list((tmp_path / "card-a" / "handouts").iterdir()) == []
            get = application_pb2.GetApplicationRequest(name=WEB)
            await api.refused(Because.NOT_FOUND, api.applications.GetApplication, get, "moved to card card-b")

    asyncio.run(asyncio.wait_for(whole(), TESTS_END_SECONDS))


def test_it_serves_on_while_the_other_card_loads_its_program(tmp_path, asked, a_card):
    async def whole():
        async with asked(tmp_path) as (api, here), a_card(tmp_path, "card-b") as (address, there):
            await api.create()
            spec = {"application": WEB, "target": "cards/card-b", "target_address": address}
            request = migration_pb2.CreateMigrationRequest(parent=CARD, migration={"spec": spec})
            begun = (await api.migrations.CreateMigration(request)).migration
            while not there.found():  # noqa: ASYNC110 - nobody sets an event
                await asyncio.sleep(0.01)
            there.program("web").listens = False
            await asyncio.sleep(SETTLE_NANOSECONDS / SECOND + 1.5)
            get = migration_pb2.GetMigrationRequest(name=begun.name)
            waits = (await api.migrations.GetMigration(get)).migration.status
            assert waits.phase == migration_pb2.MIGRATION_PHASE_PREPARING
            assert here.program("web").serving
            there.program("web").listens = True
            watch = migration_pb2.WatchMigrationRequest(name=begun.name)
            phases = [told.migration.status async for told in api.migrations.WatchMigration(watch)]
            assert phases[-1].phase == migration_pb2.MIGRATION_PHASE_SUCCEEDED, phases[-1].reason

    asyncio.run(asyncio.wait_for(whole(), TESTS_END_SECONDS))


async def an_agent_changes_nothing_of_others(speaking):
    """What holds of an agent of a server that the application `web` does no work for."""
    async with speaking as api:
        assert (await api.cards.ListCards(card_pb2.ListCardsRequest())).cards
        adjust = adjustment_pb2.AdjustResourcesRequest(name=WEB, wanted={"cpu_millis": 500})
        await api.refused(Because.NOT_ALLOWED, api.adjustments.AdjustResources, adjust, "own server only")


def test_over_the_network_each_may_do_what_its_role_says(tmp_path, a_card, api_of):
    authority = Authority(tmp_path / "authority", SystemClock())
    authority.init()
    folders = {
        (role, name): authority.issue(role, name)
        for role, name in (
            (Role.DEVICE, "card-a"),
            (Role.DEVICE, "card-b"),
            (Role.DEVICE, "card-c"),
            (Role.AGENT, "server-1"),
            (Role.OPERATOR, "ada"),
        )
    }

    async def whole():
        tcp = "tcp:127.0.0.1:0"
        async with a_card(tmp_path, certificates=folders[Role.DEVICE, "card-a"], listen=tcp) as (address, _):

            @asynccontextmanager
            async def speaking(role, name):
                expects = Identity(Role.DEVICE, "card-a")
                folder = folders[role, name]
                async with dialled(
                    address, expects=expects, clock=SystemClock(), certificates=folder
                ) as line:
                    yield api_of(line)

            standby = application_pb2.APPLICATION_STATE_STANDBY
            async with speaking(Role.AGENT, "server-1") as api:
                await api.refused(Because.NOT_ALLOWED, api.cards.GetCard, card_pb2.GetCardRequest(name=CARD))
            async with speaking(Role.OPERATOR, "ada") as api:
                with pytest.raises(Refusal, match="role device may"):
                    await api.create(start_as=standby)
            async with speaking(Role.DEVICE, "card-b") as api:
                await api.create(start_as=standby, epoch=4)

            await an_agent_changes_nothing_of_others(speaking(Role.AGENT, "server-1"))

            async def activate(_):
                async def sent():
                    header = {"name": WEB, "epoch": 4, "state_bytes": 1}
                    yield migration_pb2.ActivateApplicationRequest(header=header)
                    yield migration_pb2.ActivateApplicationRequest(state=b"x")

                return await api.migrations.ActivateApplication(sent())

            withdraw = application_pb2.DeleteApplicationRequest(name=WEB, epoch=4, withdraw=True)
            async with speaking(Role.DEVICE, "card-c") as api:
                await api.refused(Because.NOT_ALLOWED, activate, None, "comes from card card-b")
                await api.refused(Because.NOT_ALLOWED, api.applications.DeleteApplication, withdraw)
            async with speaking(Role.OPERATOR, "ada") as api:
                await api.refused(Because.NOT_ALLOWED, activate, None)
            async with speaking(Role.DEVICE, "card-b") as api:
                await activate(None)
                card = (await api.cards.GetCard(card_pb2.GetCardRequest(name=CARD))).card
                assert [use.received_bytes_per_second for use in card.status.links[0].uses] == [1]
                delete = api.applications.DeleteApplication
                await api.refused(Because.NOT_NOW, delete, withdraw, "can't be withdrawn")

    asyncio.run(asyncio.wait_for(whole(), TESTS_END_SECONDS))
