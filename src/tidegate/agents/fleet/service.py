"""What a fleet manager serves: its cards' own API, handed on to the card meant; `cards/-` is any card.

An application created under `cards/-` is given to the fleet: it is placed where it fits, and placed again
where its card loses it.
"""

# ruff: noqa: N802 - methods have the protocol's names

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from tidegate.agents.fleet.cell import LOOK_SECONDS
from tidegate.agents.fleet.over_wire import APPLICATIONS_MAX
from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Because, Refusal, refusal
from tidegate.wire import names
from tidegate.wire.applications import spec_message, spec_record
from tidegate.wire.card.v1 import application_pb2, application_pb2_grpc, card_pb2, card_pb2_grpc
from tidegate.wire.identities import Role, require
from tidegate.wire.serving import Served

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import grpc
    from google.protobuf.message import Message

    from tidegate.agents.fleet.cell import Cell
    from tidegate.agents.fleet.over_wire import WireCard
    from tidegate.agents.fleet.records import Placed

ANY: Final = "cards/-"
"""In place of a card's name: whichever fits."""

_Context = Any


class FleetCards(card_pb2_grpc.CardServiceServicer):
    """The cards of a cell."""

    def __init__(self, cards: Mapping[str, WireCard]) -> None:
        """Hand calls on to these."""
        self._cards = cards

    async def GetCard(self, request: card_pb2.GetCardRequest, context: _Context) -> card_pb2.GetCardResponse:
        """Return one card, as it tells of itself."""
        require(context, Role.OPERATOR, Role.FLEET)
        card = _meant(self._cards, names.card_of(request.name))
        line = await card.line()
        stub: Any = card_pb2_grpc.CardServiceStub(line)
        with line.answers():
            answer: card_pb2.GetCardResponse = await stub.GetCard(request)
        return answer

    async def ListCards(
        self, request: card_pb2.ListCardsRequest, context: _Context
    ) -> card_pb2.ListCardsResponse:
        """Return every card; one that does not answer is there, unreachable."""
        require(context, Role.OPERATOR, Role.FLEET)
        found = await asyncio.gather(*(self._told(name) for name in sorted(self._cards)))
        return card_pb2.ListCardsResponse(cards=found)

    async def UpdateCard(
        self, request: card_pb2.UpdateCardRequest, context: _Context
    ) -> card_pb2.UpdateCardResponse:
        """Take a card out of service, or back in."""
        require(context, Role.OPERATOR)
        line = await _meant(self._cards, names.card_of(request.card.name, "card.name")).line()
        stub: Any = card_pb2_grpc.CardServiceStub(line)
        with line.answers():
            answer: card_pb2.UpdateCardResponse = await stub.UpdateCard(request)
        return answer

    async def _told(self, name: str) -> card_pb2.Card:
        whole = names.card_name(name)
        try:
            line = await self._cards[name].line()
            stub: Any = card_pb2_grpc.CardServiceStub(line)
            with line.answers():
                answer = await stub.GetCard(card_pb2.GetCardRequest(name=whole), timeout=LOOK_SECONDS)
        except TidegateError:
            status = card_pb2.CardStatus(phase=card_pb2.CARD_PHASE_UNREACHABLE)
            return card_pb2.Card(name=whole, status=status)
        found: card_pb2.Card = answer.card
        return found


class FleetApplications(application_pb2_grpc.ApplicationServiceServicer):
    """The applications of a cell, wherever they are."""

    def __init__(self, cell: Cell, cards: Mapping[str, WireCard]) -> None:
        """Serve a cell; what names a card is handed on to it."""
        self._cell, self._cards = cell, cards

    async def CreateApplication(
        self, request: application_pb2.CreateApplicationRequest, context: _Context
    ) -> application_pb2.CreateApplicationResponse:
        """Take an application into the fleet, or hand it on to the card it is meant for."""
        require(context, Role.OPERATOR)
        if request.parent != ANY:
            card = names.card_of(request.parent, "parent")
            handed: application_pb2.CreateApplicationResponse = await self._hand(
                card, "CreateApplication", request
            )
            return handed
        name = names.application_id(request.application_id)
        spec = spec_record(request.application.spec)
        if request.validate_only:
            self._cell.check(name, spec)
            return application_pb2.CreateApplicationResponse(application=request.application)
        placed = self._cell.admit(name, spec, request.request_id)
        return application_pb2.CreateApplicationResponse(application=_given(placed))

    async def GetApplication(
        self, request: application_pb2.GetApplicationRequest, context: _Context
    ) -> application_pb2.GetApplicationResponse:
        """Return one application, as its card tells of it."""
        require(context, Role.OPERATOR, Role.FLEET)
        card, application = self._named(request.name)
        if not card:
            placed = self._cell.store.placed()[application]
            return application_pb2.GetApplicationResponse(application=_given(placed))
        request.name = str(names.ApplicationName(card, application))
        answer: application_pb2.GetApplicationResponse = await self._hand(card, "GetApplication", request)
        return answer

    async def ListApplications(
        self, request: application_pb2.ListApplicationsRequest, context: _Context
    ) -> application_pb2.ListApplicationsResponse:
        """Return the applications of all cards, or of one."""
        require(context, Role.OPERATOR, Role.FLEET)
        if request.parent != ANY:
            answer: application_pb2.ListApplicationsResponse = await self._hand(
                names.card_of(request.parent, "parent"), "ListApplications", request
            )
            return answer
        placed = self._cell.store.placed().values()
        waiting = [_given(one) for one in placed if not one.card]
        pages = await asyncio.gather(*(self._listed(name, placed) for name in sorted(self._cards)))
        found = [one for page in pages for one in page]
        return application_pb2.ListApplicationsResponse(applications=[*found, *waiting])

    async def DeleteApplication(
        self, request: application_pb2.DeleteApplicationRequest, context: _Context
    ) -> application_pb2.DeleteApplicationResponse:
        """Stop an application and forget it, here and on its card."""
        require(context, Role.OPERATOR)
        application = request.name.removeprefix(f"{ANY}/applications/")
        if application == request.name or request.withdraw or request.etag or request.epoch:
            # What only the card can tell, it is asked first; what is not the fleet's is not forgotten here.
            card, application = self._there(request.name)
            request.name = str(names.ApplicationName(card, application))
            await self._hand(card, "DeleteApplication", request)
            placed = self._cell.store.placed().get(application)
            if request.withdraw or placed is None or placed.card not in {"", card}:
                return application_pb2.DeleteApplicationResponse()
        try:
            await self._cell.remove(application)
        except Refusal as refused:
            if refused.because is not Because.NOT_FOUND or not request.allow_missing:
                raise
        return application_pb2.DeleteApplicationResponse()

    async def UpdateApplication(
        self, request: application_pb2.UpdateApplicationRequest, context: _Context
    ) -> application_pb2.UpdateApplicationResponse:
        """Change an application on its card."""
        require(context, Role.OPERATOR)
        card, application = self._there(request.application.name)
        request.application.name = str(names.ApplicationName(card, application))
        answer: application_pb2.UpdateApplicationResponse = await self._hand(
            card, "UpdateApplication", request
        )
        return answer

    async def StartApplication(
        self, request: application_pb2.StartApplicationRequest, context: _Context
    ) -> application_pb2.StartApplicationResponse:
        """Start an application on its card."""
        require(context, Role.OPERATOR)
        card, application = self._there(request.name)
        request.name = str(names.ApplicationName(card, application))
        answer: application_pb2.StartApplicationResponse = await self._hand(card, "StartApplication", request)
        return answer

    async def StopApplication(
        self, request: application_pb2.StopApplicationRequest, context: _Context
    ) -> application_pb2.StopApplicationResponse:
        """Stop an application on its card."""
        require(context, Role.OPERATOR)
        card, application = self._there(request.name)
        request.name = str(names.ApplicationName(card, application))
        answer: application_pb2.StopApplicationResponse = await self._hand(card, "StopApplication", request)
        return answer

    async def _listed(self, card: str, placed: Collection[Placed]) -> list[application_pb2.Application]:
        """Return what is on a card, or what was known to be there where it does not answer."""
        asked = application_pb2.ListApplicationsRequest(parent=names.card_name(card))
        found: list[application_pb2.Application] = []
        try:
            while True:
                page = await self._hand(card, "ListApplications", asked)
                found += page.applications
                asked.page_token = page.next_page_token
                if not asked.page_token or len(found) > APPLICATIONS_MAX:
                    return found
        except TidegateError:
            return [_given(one) for one in placed if one.card == card]

    async def _hand(self, card: str, method: str, request: Message) -> Any:  # noqa: ANN401 - the method's answer
        """Ask a card's device the same, and return what it answers."""
        line = await _meant(self._cards, card).line()
        stub = application_pb2_grpc.ApplicationServiceStub(line)
        with line.answers():
            return await getattr(stub, method)(request)

    def _there(self, name: str) -> tuple[str, str]:
        """Return the card and the application that a name means, once it is on one."""
        card, application = self._named(name)
        if not card:
            raise refusal(Because.NOT_NOW, f"'{application}' is on no card yet; ask again in a while")
        return card, application

    def _named(self, name: str) -> tuple[str, str]:
        """Return the card and the application that a name means; with `cards/-` whichever card has it."""
        application = name.removeprefix(f"{ANY}/applications/")
        if application == name:
            named = names.application_of(name)
            return named.card, named.application
        found = self._cell.store.placed().get(application)
        if found is None:
            raise refusal(Because.NOT_FOUND, f"the fleet has no application '{application}'")
        return found.card, application


def served(cell: Cell, cards: Mapping[str, WireCard]) -> tuple[Served, Served]:
    """Return both services as a server takes them."""
    looked, applied = FleetCards(cards), FleetApplications(cell, cards)

    def add_cards(server: grpc.aio.Server) -> None:
        card_pb2_grpc.add_CardServiceServicer_to_server(looked, server)

    def add_applications(server: grpc.aio.Server) -> None:
        application_pb2_grpc.add_ApplicationServiceServicer_to_server(applied, server)

    return (
        Served("tidegate.card.v1.CardService", add_cards),
        Served("tidegate.card.v1.ApplicationService", add_applications),
    )


def _meant(cards: Mapping[str, WireCard], name: str) -> WireCard:
    if name not in cards:
        known = ", ".join(sorted(cards)[:10]) or "none"
        raise refusal(Because.NOT_FOUND, f"the fleet has no card '{name}'; it has {known}")
    return cards[name]


def _given(placed: Placed) -> application_pb2.Application:
    """Return an application as the fleet knows it: on no card yet, or on one that does not answer."""
    unheard, on_none = (
        application_pb2.APPLICATION_STATE_UNSPECIFIED,
        application_pb2.APPLICATION_STATE_STOPPED,
    )
    card = names.card_name(placed.card) if placed.card else ANY
    return application_pb2.Application(
        name=f"{card}/applications/{placed.name}",
        spec=spec_message(placed.spec),
        status=application_pb2.ApplicationStatus(
            state=unheard if placed.card else on_none, epoch=placed.epoch
        ),
    )
