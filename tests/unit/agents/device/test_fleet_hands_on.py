"""One address for all: a fleet manager hands on what only cards can do, and pages what is on all of them."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tidegate.agents.fleet import handing, service
from tidegate.agents.fleet.cell import Cell
from tidegate.agents.fleet.over_wire import WireCard
from tidegate.agents.fleet.service import ANY, served
from tidegate.agents.fleet.store import Store
from tidegate.cli.main import run
from tidegate.drivers.local.clock import SystemClock
from tidegate.model.refusals import Because
from tidegate.wire.card.v1 import (
    adjustment_pb2,
    amounts_pb2,
    application_pb2,
    migration_pb2,
    plan_pb2,
    plan_pb2_grpc,
    profiling_pb2,
)
from tidegate.wire.dialing import dialled
from tidegate.wire.identities import Role
from tidegate.wire.serving import serving

WEB = f"{ANY}/applications/web"


class Fleet:
    """A fleet manager turned by hand, and every stub of a line to it."""

    def __init__(self, cell, api, runtimes):
        self.cell, self.api, self.runtimes = cell, api, runtimes

    async def put(self, card, name="web", port=7000):
        spec = application_pb2.ApplicationSpec()
        spec.CopyFrom(self.api.spec)
        spec.ports[:] = [port]
        await self.api.applications.CreateApplication(
            application_pb2.CreateApplicationRequest(
                parent=f"cards/{card}",
                application_id=name,
                application=application_pb2.Application(spec=spec),
            )
        )
        await self.cell.tick()

    async def listed(self, size):
        """Return the names on each page."""
        pages, request = [], application_pb2.ListApplicationsRequest(parent=ANY, page_size=size)
        while True:
            answer = await self.api.applications.ListApplications(request)
            pages.append([one.name for one in answer.applications])
            request.page_token = answer.next_page_token
            if not request.page_token:
                return pages


@pytest.fixture
def fleet(a_card, api_of, tmp_path):
    @asynccontextmanager
    async def make(*names):
        async with AsyncExitStack() as stack:
            clock, cards, runtimes = SystemClock(), {}, {}
            for name in names or ("card-a", "card-b"):
                address, runtimes[name] = await stack.enter_async_context(a_card(tmp_path, name))
                cards[name] = WireCard(name, address, clock=clock)
                stack.push_async_callback(cards[name].close)
            store = Store(tmp_path / "fleet")
            stack.callback(store.close)
            cell = Cell(cards=cards, store=store, now_seconds=lambda: clock.now_nanoseconds() / 1e9)
            at = await stack.enter_async_context(
                serving(
                    f"unix:{tmp_path / 'fleet.sock'}", served(cell, cards), clock=clock, grace_seconds=0.1
                )
            )
            line = await stack.enter_async_context(dialled(at.address, expects=Role.FLEET, clock=clock))
            yield Fleet(cell, api_of(line), runtimes)

    return make


def test_an_application_is_sized_on_whichever_card_has_it(fleet):
    async def scenario():
        async with fleet() as made:
            await made.put("card-b")
            request = adjustment_pb2.AdjustResourcesRequest(
                name=WEB, wanted=amounts_pb2.Amounts(cpu_millis=2000)
            )
            done = (await made.api.adjustments.AdjustResources(request)).adjustment
            assert done.name.startswith("cards/card-b/applications/web/adjustments/")
            assert made.runtimes["card-b"].program("web").held.cpu_cores == 2.0
            listed = await made.api.adjustments.ListAdjustments(
                adjustment_pb2.ListAdjustmentsRequest(parent=WEB)
            )
            get = adjustment_pb2.GetAdjustmentRequest(name=listed.adjustments[0].name)
            assert (await made.api.adjustments.GetAdjustment(get)).adjustment == done

    asyncio.run(scenario())


def test_what_a_card_refuses_comes_back_with_its_code_field_and_limit(fleet):
    async def scenario():
        async with fleet() as made:
            await made.put("card-a")
            over = adjustment_pb2.AdjustResourcesRequest(
                name=WEB, wanted=amounts_pb2.Amounts(cpu_millis=9000)
            )
            await made.api.refused(
                Because.INVALID,
                made.api.adjustments.AdjustResources,
                over,
                "above the ceiling of 3",
                field="wanted.cpu_cores",
                limit=3.0,
            )
            stale = adjustment_pb2.AdjustResourcesRequest(
                name="cards/card-a/applications/web", wanted=amounts_pb2.Amounts(cpu_millis=1), etag="0"
            )
            await made.api.refused(Because.STALE, made.api.adjustments.AdjustResources, stale)
            nobody = profiling_pb2.GetProfileRequest(name=f"{ANY}/applications/nobody/profile")
            await made.api.refused(Because.NOT_FOUND, made.api.profiles.GetProfile, nobody, "nobody")
            none = migration_pb2.ListMigrationsRequest(parent="cards/card-z")
            await made.api.refused(
                Because.NOT_FOUND, made.api.migrations.ListMigrations, none, "card-a, card-b"
            )

    asyncio.run(scenario())


def test_a_card_that_hangs_costs_the_caller_no_more_than_it_waits(fleet, monkeypatch):
    async def scenario():
        async with fleet() as made:
            await made.put("card-a")
            monkeypatch.setattr(made.runtimes["card-a"], "adjust", lambda *_: time.sleep(3))
            request = adjustment_pb2.AdjustResourcesRequest(
                name=WEB, wanted=amounts_pb2.Amounts(cpu_millis=2000)
            )
            began = asyncio.get_running_loop().time()

            async def impatient(asked):
                await made.api.adjustments.AdjustResources(asked, timeout=0.5)

            await made.api.refused(Because.TOO_LATE, impatient, request)
            assert asyncio.get_running_loop().time() - began < 2

    asyncio.run(scenario())


def test_an_application_is_moved_by_its_name_and_the_target_s_alone(fleet):
    async def scenario():
        async with fleet() as made:
            await made.put("card-a")
            made.runtimes["card-a"].program("web").state = b"what it knows"
            request = migration_pb2.CreateMigrationRequest(
                parent=ANY,
                migration=migration_pb2.Migration(
                    spec=migration_pb2.MigrationSpec(application=WEB, target="cards/card-b")
                ),
            )
            begun = (await made.api.migrations.CreateMigration(request)).migration
            watching = made.api.migrations.WatchMigration(
                migration_pb2.WatchMigrationRequest(name=begun.name)
            )
            told = [message.migration.status.phase async for message in watching]
            assert told[-1] == migration_pb2.MIGRATION_PHASE_SUCCEEDED
            assert made.runtimes["card-b"].program("web").state == b"what it knows"
            await made.cell.tick()
            assert made.cell.store.placed()["web"].card == "card-b"
            listed = await made.api.migrations.ListMigrations(
                migration_pb2.ListMigrationsRequest(parent="cards/card-a")
            )
            assert [one.name for one in listed.migrations] == [begun.name]

    asyncio.run(scenario())


def test_samples_are_watched_through_it_and_no_more_than_so_many_streams(fleet, monkeypatch):
    monkeypatch.setattr(handing, "STREAMS_MAX", 1)

    async def scenario():
        async with fleet() as made:
            await made.put("card-a")
            await made.api.profiles.CreateProfile(profiling_pb2.CreateProfileRequest(parent=WEB))
            watch = profiling_pb2.WatchProfileRequest(parent=WEB)
            stream = made.api.profiles.WatchProfile(watch)
            async for message in stream:
                if message.samples:
                    assert message.samples[0].application == "cards/card-a/applications/web"
                    break

            async def another(request):
                async for _ in made.api.profiles.WatchProfile(request):
                    pass

            await made.api.refused(Because.NO_ROOM, another, watch, limit=1)
            stream.cancel()
            await asyncio.sleep(0.1)
            async for _ in made.api.profiles.WatchProfile(watch):
                break  # the first one's place is free again

    asyncio.run(scenario())


def test_pages_of_all_cards_hold_everyone_once_in_order(fleet, monkeypatch):
    monkeypatch.setattr(service, "CARDS_AT_ONCE", 1)

    async def scenario():
        async with fleet("card-a", "card-a.b") as made:
            for at, (card, name) in enumerate(
                [("card-a", "one"), ("card-a", "two"), ("card-a.b", "mid"), ("card-a", "zed")]
            ):
                await made.put(card, name, port=7000 + at)
            whole = await made.listed(0)
            assert len(whole) == 1
            assert len(whole[0]) == 4
            assert whole[0] == sorted(whole[0])
            for size in (1, 2, 3, 4):
                pages = await made.listed(size)
                assert [name for page in pages for name in page] == whole[0]
                assert all(len(page) == size for page in pages[:-1])
            await made.cell.cards["card-a"].close()
            made.cell.cards["card-a"]._address = "unix:/nowhere/at/all.sock"
            assert [name for page in await made.listed(2) for name in page] == whole[0]
            bad = application_pb2.ListApplicationsRequest(parent=ANY, page_token="?")
            await made.api.refused(Because.INVALID, made.api.applications.ListApplications, bad)

    asyncio.run(scenario())


def test_the_plan_is_shown_with_its_reasons(fleet, tmp_path, capsys):
    async def scenario():
        async with fleet() as made:
            request = plan_pb2.ListPlannedApplicationsRequest(parent=ANY)
            stub = plan_pb2_grpc.PlanServiceStub(made.api.line)
            await made.api.refused(Because.NOT_NOW, stub.ListPlannedApplications, request)
            await made.put("card-a")
            await made.put("card-b", "zed", port=7001)
            told = await stub.ListPlannedApplications(request)
            assert [one.application for one in told.applications] == ["web", "zed"]
            web = told.applications[0]
            assert (web.card, web.target) == ("cards/card-a", "cards/card-a")
            assert "stays for 120 s" in web.reason
            assert web.strategy == migration_pb2.STRATEGY_HANDOFF
            assert web.budget.cpu_millis >= web.need.cpu_millis > 0
            assert told.planned_nanoseconds > 0
            request.page_size = 1
            first = await stub.ListPlannedApplications(request)
            request.page_token = first.next_page_token
            assert (await stub.ListPlannedApplications(request)).applications[0].application == "zed"
            one_card = plan_pb2.ListPlannedApplicationsRequest(parent="cards/card-b")
            assert [
                one.application for one in (await stub.ListPlannedApplications(one_card)).applications
            ] == ["zed"]
            address, path = made.api.line.address, str(tmp_path / "plan.json")
            command = ["plan", "show", "--address", address, "--json", path]
            assert await asyncio.to_thread(run, command) == 0
            assert await asyncio.to_thread(run, [*command, "--workload", "z*", "--changed"]) == 0
            assert await asyncio.to_thread(run, [*command, "--journal", "x"]) == 2

    asyncio.run(scenario())
    out = capsys.readouterr().out
    assert "The plan of 2 cards" in out
    assert "stays for 120 s" in out
    assert "0 of 2 applications are to go to another card" in out
    assert json.loads((tmp_path / "plan.json").read_text())["rows"] == []


def test_a_delete_that_is_sent_again_is_answered_as_the_first_time(fleet):
    async def scenario():
        async with fleet() as made:
            delete = made.api.applications.DeleteApplication
            same = "2f6f0e0a-0d5b-4d8e-9a55-1f2f7c1d9a10"
            for name in (WEB, "cards/card-a/applications/web"):
                await made.put("card-a")
                request = application_pb2.DeleteApplicationRequest(name=name, request_id=same)
                await delete(request)
                await delete(request)
                same = "7b0ee0b1-4f9d-4f6c-8f0c-2a8dd10b33c2"
            anew = application_pb2.DeleteApplicationRequest(name=WEB)
            await made.api.refused(Because.NOT_FOUND, delete, anew)

    asyncio.run(scenario())
