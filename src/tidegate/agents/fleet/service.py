"""What a fleet manager serves: its cards' own API, handed on to the card meant; `cards/-` is any card.

An application created under `cards/-` is given to the fleet: it is placed where it fits, and placed again
where its card loses it.
"""

# ruff: noqa: N802 - methods have the protocol's names

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from tidegate.agents.fleet.departed import waits_for
from tidegate.agents.fleet.handed import FleetAdjustments, FleetMigrations, FleetProfiles
from tidegate.agents.fleet.handing import ANY, Context, Handing
from tidegate.agents.fleet.looking import LOOK_SECONDS
from tidegate.agents.fleet.planning import FleetPlan
from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Because, Refusal
from tidegate.wire import names
from tidegate.wire.applications import spec_message, spec_record
from tidegate.wire.card.v1 import (
    adjustment_pb2_grpc,
    amounts_pb2,
    application_pb2,
    application_pb2_grpc,
    card_pb2,
    card_pb2_grpc,
    migration_pb2_grpc,
    plan_pb2_grpc,
    profiling_pb2_grpc,
)
from tidegate.wire.identities import Role, require
from tidegate.wire.paging import asked_page, page, sealed
from tidegate.wire.serving import Served

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import grpc

    from tidegate.agents.fleet.cell import Cell
    from tidegate.agents.fleet.over_wire import WireCard
    from tidegate.agents.fleet.records import Placed

CARDS_AT_ONCE: Final = 16
"""Asked for a page of what is on all of them; few pages need more."""

Applying = application_pb2_grpc.ApplicationServiceStub
Looking = card_pb2_grpc.CardServiceStub


class FleetCards(card_pb2_grpc.CardServiceServicer):
    """The cards of a cell."""

    def __init__(self, handing: Handing) -> None:
        """Hand calls on."""
        self._handing = handing

    async def GetCard(self, request: card_pb2.GetCardRequest, context: Context) -> card_pb2.GetCardResponse:
        """Return one card, as it tells of itself."""
        require(context, Role.OPERATOR, Role.FLEET)
        answer: card_pb2.GetCardResponse = await self._handing.once(
            names.card_of(request.name), lambda line: Looking(line).GetCard, request, context
        )
        return answer

    async def ListCards(
        self, request: card_pb2.ListCardsRequest, context: Context
    ) -> card_pb2.ListCardsResponse:
        """Return every card; one that does not answer is there, unreachable."""
        require(context, Role.OPERATOR, Role.FLEET)
        shown, token = page(sorted(self._handing.cards), lambda name: name, request, rising=True)
        found = await asyncio.gather(*(self._told(name) for name in shown))
        return card_pb2.ListCardsResponse(cards=found, next_page_token=token)

    async def UpdateCard(
        self, request: card_pb2.UpdateCardRequest, context: Context
    ) -> card_pb2.UpdateCardResponse:
        """Take a card out of service, or back in."""
        require(context, Role.OPERATOR)
        card = names.card_of(request.card.name, "card.name")
        answer: card_pb2.UpdateCardResponse = await self._handing.once(
            card, lambda line: Looking(line).UpdateCard, request, context
        )
        return answer

    async def _told(self, name: str) -> card_pb2.Card:
        whole = names.card_name(name)
        try:
            line = await self._handing.cards[name].line()
            with line.answers():
                answer = await Looking(line).GetCard(
                    card_pb2.GetCardRequest(name=whole), timeout=LOOK_SECONDS
                )
        except TidegateError:
            status = card_pb2.CardStatus(phase=card_pb2.CARD_PHASE_UNREACHABLE)
            return card_pb2.Card(name=whole, status=status)
        found: card_pb2.Card = answer.card
        return found


class FleetApplications(application_pb2_grpc.ApplicationServiceServicer):
    """The applications of a cell, wherever they are."""

    def __init__(self, handing: Handing) -> None:
        """Serve a cell; what names a card is handed on to it."""
        self._handing, self._cell = handing, handing.cell

    async def CreateApplication(
        self, request: application_pb2.CreateApplicationRequest, context: Context
    ) -> application_pb2.CreateApplicationResponse:
        """Take an application into the fleet, or hand it on to the card it is meant for."""
        require(context, Role.OPERATOR)
        if request.parent != ANY:
            card = names.card_of(request.parent, "parent")
            handed: application_pb2.CreateApplicationResponse = await self._handing.once(
                card, lambda line: Applying(line).CreateApplication, request, context
            )
            return handed
        name = names.application_id(request.application_id)
        spec = spec_record(request.application.spec)
        if request.validate_only:
            self._cell.check(name, spec)
            return application_pb2.CreateApplicationResponse(application=request.application)
        placed = self._cell.admit(name, spec, request.request_id)
        return application_pb2.CreateApplicationResponse(application=self._given(placed))

    async def GetApplication(
        self, request: application_pb2.GetApplicationRequest, context: Context
    ) -> application_pb2.GetApplicationResponse:
        """Return one application, as its card tells of it."""
        require(context, Role.OPERATOR, Role.FLEET)
        card, request.name = self._handing.named(request.name)
        if not card:
            waiting = self._cell.store.placed()[names.last(request.name)]
            return application_pb2.GetApplicationResponse(application=self._given(waiting))
        placed = self._cell.store.placed().get(names.application_of(request.name).application)
        if card not in self._handing.cards and placed is not None and placed.card == card:
            return application_pb2.GetApplicationResponse(application=self._given(placed))
        answer: application_pb2.GetApplicationResponse = await self._handing.once(
            card, lambda line: Applying(line).GetApplication, request, context
        )
        return answer

    async def ListApplications(
        self, request: application_pb2.ListApplicationsRequest, context: Context
    ) -> application_pb2.ListApplicationsResponse:
        """Return the applications of all cards, or of one; those on none come first."""
        require(context, Role.OPERATOR, Role.FLEET)
        if request.parent != ANY:
            answer: application_pb2.ListApplicationsResponse = await self._handing.once(
                names.card_of(request.parent, "parent"),
                lambda line: Applying(line).ListApplications,
                request,
                context,
            )
            return answer
        size, last = asked_page(request)
        found = await self._after(last, size + 1)
        more = sealed(found[size - 1].name) if len(found) > size else ""
        return application_pb2.ListApplicationsResponse(applications=found[:size], next_page_token=more)

    async def DeleteApplication(
        self, request: application_pb2.DeleteApplicationRequest, context: Context
    ) -> application_pb2.DeleteApplicationResponse:
        """Stop an application and forget it, here and on its card."""
        require(context, Role.OPERATOR)
        application = request.name.removeprefix(f"{ANY}/applications/")
        if self._cell.has_removed(application, request.request_id):
            return application_pb2.DeleteApplicationResponse()
        if application == request.name or request.withdraw or request.etag or request.epoch:
            # What only the card can tell, it is asked first; what is not the fleet's is not forgotten here.
            card, request.name = self._handing.there(request.name)
            application = names.application_of(request.name).application
            await self._handing.once(card, lambda line: Applying(line).DeleteApplication, request, context)
            placed = self._cell.store.placed().get(application)
            if request.withdraw or placed is None or placed.card not in {"", card}:
                return application_pb2.DeleteApplicationResponse()
        try:
            await self._cell.remove(application, request.request_id)
        except Refusal as refused:
            if refused.because is not Because.NOT_FOUND or not request.allow_missing:
                raise
        return application_pb2.DeleteApplicationResponse()

    async def UpdateApplication(
        self, request: application_pb2.UpdateApplicationRequest, context: Context
    ) -> application_pb2.UpdateApplicationResponse:
        """Change an application on its card."""
        require(context, Role.OPERATOR)
        card, request.application.name = self._handing.there(request.application.name, "application.name")
        answer: application_pb2.UpdateApplicationResponse = await self._handing.once(
            card, lambda line: Applying(line).UpdateApplication, request, context
        )
        return answer

    async def StartApplication(
        self, request: application_pb2.StartApplicationRequest, context: Context
    ) -> application_pb2.StartApplicationResponse:
        """Start an application on its card."""
        require(context, Role.OPERATOR)
        answer: application_pb2.StartApplicationResponse = await self._handing.to_named(
            "name", lambda line: Applying(line).StartApplication, request, context
        )
        return answer

    async def StopApplication(
        self, request: application_pb2.StopApplicationRequest, context: Context
    ) -> application_pb2.StopApplicationResponse:
        """Stop an application on its card."""
        require(context, Role.OPERATOR)
        answer: application_pb2.StopApplicationResponse = await self._handing.to_named(
            "name", lambda line: Applying(line).StopApplication, request, context
        )
        return answer

    async def _after(self, last: str, count: int) -> list[application_pb2.Application]:
        """Return so many applications whose names come after one, in the order of their names."""
        placed = self._cell.store.placed()
        found = [self._given(one) for one in placed.values() if not one.card]
        found = sorted((one for one in found if one.name > last), key=lambda one: one.name)
        known = {*self._handing.cards, *(one.card for one in placed.values() if one.card)}
        cards = [card for card in sorted(known, key=_on) if f"{_on(card)}~" > last]
        for first in range(0, len(cards), CARDS_AT_ONCE):
            if len(found) >= count:
                break
            some = cards[first : first + CARDS_AT_ONCE]
            pages = await asyncio.gather(*(self._listed(card, last, count, placed) for card in some))
            found += [one for each in pages for one in each]
        return found[:count]

    async def _listed(
        self, card: str, last: str, count: int, placed: Mapping[str, Placed]
    ) -> Sequence[application_pb2.Application]:
        """Return what is on a card after a name, or what was known to be there where it does not answer."""
        asked = application_pb2.ListApplicationsRequest(parent=names.card_name(card), page_size=count)
        if last.startswith(_on(card)):
            asked.page_token = sealed(names.last(last))
        found: list[application_pb2.Application] = []
        try:
            line = await self._handing.meant(card).line()
            with line.answers():
                while True:
                    answer = await Applying(line).ListApplications(asked, timeout=LOOK_SECONDS)
                    found += answer.applications
                    asked.page_token = answer.next_page_token
                    if not asked.page_token or len(found) >= count:
                        return found
        except TidegateError:
            known = sorted(name for name, one in placed.items() if one.card == card)
            return [self._given(placed[name]) for name in known if f"{_on(card)}{name}" > last][:count]

    def _given(self, placed: Placed) -> application_pb2.Application:
        """Return an application as the fleet knows it: on no card yet, or on one that does not answer."""
        unheard, on_none = (
            application_pb2.APPLICATION_STATE_UNSPECIFIED,
            application_pb2.APPLICATION_STATE_STOPPED,
        )
        card, last = names.card_name(placed.card) if placed.card else ANY, self._cell.last
        ready = amounts_pb2.Condition(
            type="Ready",
            truth=amounts_pb2.TRUTH_UNKNOWN if placed.card or placed.asked else amounts_pb2.TRUTH_FALSE,
            message=waits_for(placed, self._cell.cards, None if last is None else last.plan),
        )
        return application_pb2.Application(
            name=f"{card}/applications/{placed.name}",
            spec=spec_message(placed.spec),
            status=application_pb2.ApplicationStatus(
                state=unheard if placed.card else on_none, epoch=placed.epoch, conditions=[ready]
            ),
        )


def served(cell: Cell, cards: Mapping[str, WireCard]) -> tuple[Served, ...]:
    """Return the fleet's services as a server takes them."""
    handing = Handing(cell, cards)
    looked, applied = FleetCards(handing), FleetApplications(handing)
    adjusted, moved, watched = FleetAdjustments(handing), FleetMigrations(handing), FleetProfiles(handing)
    plan = FleetPlan(cell)
    adding: dict[str, Callable[[grpc.aio.Server], None]] = {
        "CardService": lambda to: card_pb2_grpc.add_CardServiceServicer_to_server(looked, to),
        "ApplicationService": lambda to: application_pb2_grpc.add_ApplicationServiceServicer_to_server(
            applied, to
        ),
        "AdjustmentService": lambda to: adjustment_pb2_grpc.add_AdjustmentServiceServicer_to_server(
            adjusted, to
        ),
        "MigrationService": lambda to: migration_pb2_grpc.add_MigrationServiceServicer_to_server(moved, to),
        "PlanService": lambda to: plan_pb2_grpc.add_PlanServiceServicer_to_server(plan, to),
        "ProfilingService": lambda to: profiling_pb2_grpc.add_ProfilingServiceServicer_to_server(watched, to),
    }
    return tuple(Served(f"tidegate.card.v1.{name}", add) for name, add in adding.items())


def _on(card: str) -> str:
    """Return what the names of all applications on a card begin with."""
    return f"{names.card_name(card)}/applications/"
