"""A fleet manager over real sockets: two cards with simulated programs, asked as people ask."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from tidegate.agents.fleet.cell import Cell
from tidegate.agents.fleet.over_wire import WireCard, _card_seen
from tidegate.agents.fleet.service import ANY, served
from tidegate.agents.fleet.store import Store
from tidegate.drivers.local.clock import SystemClock
from tidegate.model.refusals import Because, Refusal
from tidegate.plan.cards import CardPlanner
from tidegate.wire.card.v1 import amounts_pb2, application_pb2, card_pb2
from tidegate.wire.dialing import dialled
from tidegate.wire.identities import Role
from tidegate.wire.serving import serving

NAMES = ("card-a", "card-b")
TURNS_MAX = 60


class Fleet:
    """A fleet manager turned by hand, and a line to it."""

    def __init__(self, cell, api, runtimes):
        self.cell, self.api, self.runtimes = cell, api, runtimes
        self.line = api.line

    async def turn(self, until=lambda: True):
        for _ in range(TURNS_MAX):
            tick = await self.cell.tick()
            if until():
                return tick
            await asyncio.sleep(0.1)
        raise AssertionError("it did not come to pass")

    def on(self, name):
        return [
            card for card, runtime in self.runtimes.items() for one in runtime.found() if one.name == name
        ]

    async def list(self):
        request = application_pb2.ListApplicationsRequest(parent=ANY)
        with self.line.answers():
            return (await self.api.applications.ListApplications(request)).applications


@pytest.fixture
def fleet(a_card, api_of, tmp_path):
    @asynccontextmanager
    async def make():
        async with AsyncExitStack() as stack:
            clock, cards, runtimes = SystemClock(), {}, {}
            for name in NAMES:
                address, runtimes[name] = await stack.enter_async_context(a_card(tmp_path, name))
                cards[name] = WireCard(name, address, clock=clock)
                stack.push_async_callback(cards[name].close)
            store = Store(tmp_path / "fleet")
            stack.callback(store.close)
            now = lambda: clock.now_nanoseconds() / 1e9  # noqa: E731
            cell = Cell(cards=cards, store=store, now_seconds=now, planner=CardPlanner(dwell_seconds=0))
            at = await stack.enter_async_context(
                serving(
                    f"unix:{tmp_path / 'fleet.sock'}", served(cell, cards), clock=clock, grace_seconds=0.1
                )
            )
            line = await stack.enter_async_context(dialled(at.address, expects=Role.FLEET, clock=clock))
            yield Fleet(cell, api_of(line), runtimes)

    return make


def test_an_application_given_to_the_fleet_runs_on_some_card_and_is_found_there(fleet):
    async def scenario():
        async with fleet() as made:
            await made.turn()
            given = await made.api.create(parent=ANY)
            assert given.name == f"{ANY}/applications/web"
            await made.turn(lambda: len(made.on("web")) == 1)
            (found,) = await made.list()
            assert found.name == f"cards/{made.on('web')[0]}/applications/web"
            get = application_pb2.GetApplicationRequest(name=f"{ANY}/applications/web")
            assert (await made.api.applications.GetApplication(get)).application.name == found.name

    asyncio.run(scenario())


def test_a_drained_card_hands_its_application_over_to_the_other(fleet):
    async def scenario():
        async with fleet() as made:
            await made.turn()
            await made.api.create(parent=ANY)
            await made.turn(lambda: len(made.on("web")) == 1)
            before = made.on("web")[0]
            made.runtimes[before].program("web").state = b"what it knows"
            drain = card_pb2.UpdateCardRequest(
                card=card_pb2.Card(
                    name=f"cards/{before}", spec=card_pb2.CardSpec(service=card_pb2.SERVICE_DRAINING)
                ),
                update_mask=FieldMask(paths=["spec.service"]),
            )
            await made.api.cards.UpdateCard(drain)
            await made.turn(lambda: made.on("web") and before not in made.on("web"))
            after = made.on("web")[0]
            assert made.runtimes[after].program("web").state == b"what it knows"
            await made.turn(lambda: made.cell.store.placed()["web"].card == after)

    asyncio.run(scenario())


def test_its_budget_arrives_at_the_card(fleet):
    async def scenario():
        async with fleet() as made:
            await made.turn()
            await made.api.create(parent=ANY)
            await made.turn(lambda: len(made.on("web")) == 1)
            await made.turn()
            (found,) = await made.list()
            assert 1000 <= found.spec.budget.cpu_millis <= 3000

    asyncio.run(scenario())


def test_refusals_name_what_is_lacking_or_wrong(fleet):
    async def scenario():
        async with fleet() as made:
            await made.turn()
            create, get = made.api.applications.CreateApplication, made.api.applications.GetApplication
            huge = application_pb2.CreateApplicationRequest(
                parent=ANY,
                application_id="huge",
                application=application_pb2.Application(
                    spec=application_pb2.ApplicationSpec(
                        command=["x"], amounts=amounts_pb2.Amounts(cpu_millis=99_000)
                    )
                ),
            )
            await made.api.refused(Because.NO_ROOM, create, huge, "lacks 95.5 cores of cpu")
            elsewhere = application_pb2.CreateApplicationRequest(parent="cards/none", application_id="x")
            await made.api.refused(Because.NOT_FOUND, create, elsewhere, "it has card-a, card-b")
            nobody = application_pb2.GetApplicationRequest(name=f"{ANY}/applications/nobody")
            await made.api.refused(Because.NOT_FOUND, get, nobody, "nobody")
            await made.api.create(parent=ANY)
            again = application_pb2.CreateApplicationRequest(
                parent=ANY, application_id="web", application=application_pb2.Application(spec=made.api.spec)
            )
            await made.api.refused(Because.EXISTS, create, again, "already")

    asyncio.run(scenario())


def test_what_is_deleted_is_gone_everywhere(fleet):
    async def scenario():
        async with fleet() as made:
            await made.turn()
            await made.api.create(parent=ANY)
            await made.turn(lambda: len(made.on("web")) == 1)
            delete = application_pb2.DeleteApplicationRequest(name=f"{ANY}/applications/web")
            await made.api.applications.DeleteApplication(delete)
            assert made.on("web") == []
            await made.turn()
            assert list(await made.list()) == []

    asyncio.run(scenario())


def test_a_card_that_does_not_answer_is_listed_as_such(fleet):
    async def scenario():
        async with fleet() as made:
            await made.turn()
            made.cell.cards["card-b"]._address = "unix:/nowhere/at/all.sock"
            await made.cell.cards["card-b"].close()
            listed = (await made.api.cards.ListCards(card_pb2.ListCardsRequest())).cards
            phases = {card.name: card.status.phase for card in listed}
            assert phases["cards/card-a"] == card_pb2.CARD_PHASE_READY
            assert phases["cards/card-b"] == card_pb2.CARD_PHASE_UNREACHABLE
            assert "nobody answers" in (await made.turn()).silent["card-b"]

    asyncio.run(scenario())


def test_a_card_that_is_named_is_the_one_that_is_meant(fleet):
    async def scenario():
        async with fleet() as made:
            await made.turn()
            await made.api.create()  # by hand, on card-a; the manager has not looked since
            here = application_pb2.GetApplicationRequest(name="cards/card-a/applications/web")
            assert (await made.api.applications.GetApplication(here)).application.name == here.name
            there = application_pb2.GetApplicationRequest(name="cards/card-b/applications/web")
            await made.api.refused(Because.NOT_FOUND, made.api.applications.GetApplication, there, "card-b")
            delete = application_pb2.DeleteApplicationRequest(name=there.name)
            await made.turn()
            await made.api.refused(Because.NOT_FOUND, made.api.applications.DeleteApplication, delete)
            assert made.on("web") == ["card-a"]

    asyncio.run(scenario())


def test_deleting_keeps_its_conditions(fleet):
    async def scenario():
        async with fleet() as made:
            await made.turn()
            await made.api.create(parent=ANY)
            await made.turn(lambda: len(made.on("web")) == 1)
            call = made.api.applications.DeleteApplication
            for condition in ({"etag": "0"}, {"epoch": 77}, {"withdraw": True}):
                request = application_pb2.DeleteApplicationRequest(
                    name=f"{ANY}/applications/web", **condition
                )
                with pytest.raises(Refusal), made.line.answers():
                    await call(request)
                assert len(made.on("web")) == 1, condition
            (found,) = await made.list()
            await call(application_pb2.DeleteApplicationRequest(name=found.name, etag=found.etag))
            await made.turn()
            assert made.on("web") == []
            assert made.cell.store.placed() == {}

    asyncio.run(scenario())


def test_what_is_on_a_silent_card_is_listed_all_the_same(fleet):
    async def scenario():
        async with fleet() as made:
            await made.turn()
            await made.api.create()
            await made.turn()
            made.cell.cards["card-a"]._address = "unix:/nowhere/at/all.sock"
            await made.cell.cards["card-a"].close()
            (found,) = await made.list()
            assert found.name == "cards/card-a/applications/web"
            assert found.status.state == application_pb2.APPLICATION_STATE_UNSPECIFIED

    asyncio.run(scenario())


def test_pages_of_a_card_are_as_long_as_asked(fleet):
    async def scenario():
        async with fleet() as made:
            for at in range(3):
                spec = application_pb2.ApplicationSpec(command=["serve"], ports=[7000 + at])
                await made.api.applications.CreateApplication(
                    application_pb2.CreateApplicationRequest(
                        parent="cards/card-a",
                        application_id=f"app-{at}",
                        application=application_pb2.Application(spec=spec),
                    )
                )
            request = application_pb2.ListApplicationsRequest(parent="cards/card-a", page_size=2)
            first = await made.api.applications.ListApplications(request)
            request.page_token = first.next_page_token
            second = await made.api.applications.ListApplications(request)
            assert [len(first.applications), len(second.applications)] == [2, 1]
            assert second.next_page_token == ""

    asyncio.run(scenario())


def test_a_line_dialled_anew_lets_calls_on_the_one_before_end(fleet):
    async def scenario():
        async with fleet() as made:
            card = made.cell.cards["card-a"]
            before = await card.line()
            looking = asyncio.create_task(card.look())
            await asyncio.sleep(0)
            card._dialled_seconds = 0
            after = await card.line()
            assert after is not before
            assert (await looking).name == "card-a"

    asyncio.run(scenario())


def test_an_application_that_does_not_start_does_not_empty_its_card(fleet):
    async def scenario():
        async with fleet() as made:
            await made.turn()
            seen = made.cell._seen["card-a"]
            assert seen.degraded == ""
            unwell = card_pb2.Card(
                name="cards/card-a",
                status=card_pb2.CardStatus(
                    phase=card_pb2.CARD_PHASE_DEGRADED,
                    conditions=[
                        amounts_pb2.Condition(type="Ready", truth=amounts_pb2.TRUTH_TRUE),
                        amounts_pb2.Condition(
                            type="ResourceFitting", truth=amounts_pb2.TRUTH_FALSE, message="1 core over"
                        ),
                    ],
                ),
            )
            assert _card_seen(unwell, "", ()).degraded == ""
            unwell.status.conditions[0].truth = amounts_pb2.TRUTH_FALSE
            unwell.status.conditions[0].message = "the store can't be written"
            assert _card_seen(unwell, "", ()).degraded == "the store can't be written"

    asyncio.run(scenario())
