"""The telemetry stream as a device serves it: thin, between messages and `Servers`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from tidegate.model.refusals import Because, Refusal
from tidegate.wire.card.v1 import telemetry_pb2, telemetry_pb2_grpc
from tidegate.wire.foretelling import foretold_message
from tidegate.wire.frames import greeting_record, roster_record, sample_record
from tidegate.wire.hellos import first_message
from tidegate.wire.identities import Role, require
from tidegate.wire.orders import orders_message, outcomes_record
from tidegate.wire.serving import Served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import grpc

    from tidegate.wire.foretelling import Foretold
    from tidegate.wire.frames import Greeting, Sample, ServerRoster
    from tidegate.wire.orders import ServerOrders, ServerOutcomes

HEARTBEAT_SECONDS: Final = 1.0

_Context = Any
_Request = telemetry_pb2.ConnectRequest
_Response = telemetry_pb2.ConnectResponse


class Hearing(Protocol):
    """Who hears what streams tell; `Servers` does."""

    def greet(self, greeting: Greeting) -> int:
        """Let a server in, or in again, and return the epoch of orders to it."""
        ...

    def roster(self, server: str, who: ServerRoster) -> None:
        """Take in who there is on a server."""
        ...

    def sample(self, server: str, sample: Sample) -> None:
        """Take in a sample of a server's roster."""
        ...

    def outcomes(self, server: str, outcomes: ServerOutcomes) -> None:
        """Take in what became of orders."""
        ...

    def heard(self, server: str) -> None:
        """Note a sign of life."""
        ...

    def next_orders(self, server: str) -> ServerOrders | None:
        """Return the next orders that wait for a server; None where there are none."""
        ...


class TelemetryService(telemetry_pb2_grpc.TelemetryServiceServicer):
    """Serves `TelemetryService`: one stream a server; a newer one of the same server ends the older."""

    def __init__(
        self,
        servers: Hearing,
        *,
        card: str,
        now_nanoseconds: Callable[[], int],
        arrived: Callable[[], None] = lambda: None,
        follows: Callable[[str], None] = lambda _server: None,
        decides: Callable[[], bool] = lambda: True,
        parted: Callable[[str, int], None] = lambda _server, _settings: None,
        carried: Callable[[str, int, int], None] = lambda _server, _received, _sent: None,
        link: Callable[[str], int] = lambda _server: 0,
        foretold: Callable[[str], Foretold | None] = lambda _server: None,
    ) -> None:
        """Serve one card's servers; ``arrived`` is called after each sample.

        ``follows`` is called with the server that says that its next one is on its way.

        ``carried`` is told the bytes of each message of a server, received and sent; ``link`` says how many
        bytes a second the link to it carries, 0 where that is not known. ``foretold`` says what a server was
        not told yet of its workloads' demand to come.

        While nobody ``decides`` no sign of life is given: agents then fall back as if it were lost.
        ``parted`` is told a server whose agent ends, and how many settings that gave back.
        """
        self._servers, self._card, self._now = servers, card, now_nanoseconds
        self._arrived, self._follows = arrived, follows
        self._decides, self._carried, self._link = decides, carried, link
        self._parted, self._foretold = parted, foretold
        self._streams: dict[str, asyncio.Event] = {}
        """By server: set where orders wait."""

    def call(self, server: str) -> None:
        """Wake the stream of a server: orders wait for it."""
        waiting = self._streams.get(server)
        if waiting is not None:
            waiting.set()

    async def Connect(  # noqa: N802 - the protocol's name
        self, request_iterator: AsyncIterator[_Request], context: _Context
    ) -> AsyncIterator[_Response]:
        """Talk with one agent until either goes."""
        greeting = await self._greeted(request_iterator, context)
        epoch = self._servers.greet(greeting)
        called = self._streams[greeting.server] = asyncio.Event()
        link = self._link(greeting.server)
        yield _Response(
            welcome=telemetry_pb2.Welcome(card=self._card, epoch=epoch, link_bytes_per_second=link)
        )
        hearing = asyncio.create_task(self._hear(request_iterator, greeting, called))
        try:
            while self._streams.get(greeting.server) is called:
                with suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT_SECONDS):  # `wait_for` makes a task of each
                        await called.wait()
                if hearing.done():
                    hearing.result()  # what went wrong there goes to the agent
                    return
                called.clear()
                said = False
                # What waits is for the newest stream only, which may have come while this one waited or sent.
                while (
                    self._streams.get(greeting.server) is called
                    and (orders := self._servers.next_orders(greeting.server)) is not None
                ):
                    said = True
                    said_orders = _Response(orders=orders_message(orders))
                    self._carried(greeting.server, 0, said_orders.ByteSize())
                    yield said_orders
                if self._decides() and self._streams.get(greeting.server) is called:
                    news = self._foretold(greeting.server) if greeting.wants_foretold else None
                    if news is not None:
                        said_news = _Response(foretold=foretold_message(news))
                        self._carried(greeting.server, 0, said_news.ByteSize())
                        yield said_news
                    elif not said:
                        yield _Response(heartbeat=telemetry_pb2.Heartbeat(time_nanoseconds=self._now()))
            raise Refusal(
                Because.STALE,
                f"server '{greeting.server}' has connected anew; only one agent may speak for it",
            )
        finally:
            hearing.cancel()
            if self._streams.get(greeting.server) is called:
                del self._streams[greeting.server]

    async def _greeted(self, requests: AsyncIterator[_Request], context: _Context) -> Greeting:
        """Return who it is that the first message names.

        Raises:
            Refusal: it names nobody, in time, or somebody else than the certificate does.

        """
        greeting = greeting_record((await first_message(requests)).hello)
        require(context, Role.AGENT, name=greeting.server)
        if greeting.server == self._card:
            raise Refusal(
                Because.NOT_ALLOWED,
                f"'{self._card}' is this card, which speaks for itself; give the server a name of its own",
                field="hello.server",
            )
        return greeting

    async def _hear(
        self, requests: AsyncIterator[_Request], greeting: Greeting, called: asyncio.Event
    ) -> None:
        """Take in what one agent says until it goes; wakes the stream at its end."""
        who: ServerRoster | None = None
        server = greeting.server
        try:
            async for request in requests:
                if self._streams.get(server) is not called:
                    return
                self._carried(server, request.ByteSize(), 0)
                match request.WhichOneof("message"):
                    case "roster":
                        who = roster_record(request.roster, len(greeting.resources))
                        self._servers.roster(server, who)
                    case "batch":
                        if who is None:
                            raise Refusal(Because.NOT_NOW, "send the roster before a batch", field="batch")
                        self._servers.sample(server, sample_record(request.batch, who))
                        self._arrived()
                    case "outcomes":
                        said = outcomes_record(request.outcomes, len(greeting.resources))
                        self._servers.outcomes(server, said)
                    case "heartbeat":
                        self._servers.heard(server)
                        if request.heartbeat.sample_follows:
                            called.set()
                            self._follows(server)
                    case "goodbye":
                        self._parted(server, request.goodbye.settings_given_back)
                        return
                    case _:
                        raise Refusal(Because.NOT_NOW, "a hello is said once, and nothing else is known")
        finally:
            called.set()


def served(service: TelemetryService) -> Served:
    """Return the service as a server takes it."""

    def add(server: grpc.aio.Server) -> None:
        telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server(service, server)

    return Served("tidegate.card.v1.TelemetryService", add)
