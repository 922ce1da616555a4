"""The stream of a simulated fleet as `up` serves it: thin, between messages and `FarFleet`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tidegate.model.refusals import Because, Refusal
from tidegate.wire.fields import checked_text
from tidegate.wire.hellos import first_message
from tidegate.wire.serving import Served
from tidegate.wire.simulated.v1 import world_pb2, world_pb2_grpc
from tidegate.wire.worlds import FLEET_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc

    from tidegate.agents.together.far_fleet import FarFleet

_Request = world_pb2.ConnectRequest
_Response = world_pb2.ConnectResponse
_Context = Any


class WorldService(world_pb2_grpc.WorldServiceServicer):
    """Serves `WorldService`: one fleet; who comes anew takes the place of who was there."""

    def __init__(self, fleet: FarFleet) -> None:
        """Serve the stream of one fleet."""
        self._fleet = fleet

    async def Connect(  # noqa: N802 - the protocol's name
        self, request_iterator: AsyncIterator[_Request], context: _Context
    ) -> AsyncIterator[_Response]:
        """Talk with one agent until it goes."""
        await self._greeted(request_iterator)
        loop = asyncio.get_running_loop()
        # One message at a time: each waits for an answer. None: there will be no more.
        waiting = asyncio.Queue[_Response | None]()

        def out(response: _Response) -> None:
            loop.call_soon_threadsafe(waiting.put_nowait, response)

        self._fleet.connect(out)
        hearing = asyncio.create_task(self._hear(request_iterator, out))
        hearing.add_done_callback(lambda _task: waiting.put_nowait(None))
        try:
            while (response := await waiting.get()) is not None:
                yield response
            hearing.result()  # what went wrong there goes to the agent
        finally:
            self._fleet.disconnect(out)
            hearing.cancel()

    async def _greeted(self, requests: AsyncIterator[_Request]) -> None:
        """Return once the first message has named the right fleet.

        Raises:
            Refusal: it did not in time, or names another.

        """
        hello = (await first_message(requests)).hello
        named = checked_text("hello.fleet", hello.fleet, FLEET_BYTES_MAX)
        if named != self._fleet.name:
            raise Refusal(
                Because.INVALID,
                f"the agent simulates {named}, here it is {self._fleet.name}; has a trace changed?",
                field="hello.fleet",
            )

    async def _hear(self, requests: AsyncIterator[_Request], out: Any) -> None:  # noqa: ANN401 - as above
        async for request in requests:
            if request.WhichOneof("message") != "step":
                raise Refusal(Because.NOT_NOW, "a hello is said once, and nothing else is known")
            self._fleet.step(request.step, out)


def served(service: WorldService) -> Served:
    """Return the service as a server takes it."""

    def add(server: grpc.aio.Server) -> None:
        world_pb2_grpc.add_WorldServiceServicer_to_server(service, server)

    return Served("tidegate.simulated.v1.WorldService", add)
