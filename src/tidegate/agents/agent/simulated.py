"""`tidegate agent --simulated`: a whole simulated fleet, whose steps wait for what `tidegate up` decides."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from tidegate.drivers.local.clock import SystemClock
from tidegate.model.errors import TidegateError
from tidegate.wire.dialing import dialled
from tidegate.wire.identities import Role
from tidegate.wire.serving import serving
from tidegate.wire.simulated.v1 import world_pb2, world_pb2_grpc
from tidegate.wire.worlds import MESSAGE_BYTES_MAX, Step, actions_record, positioned, step_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tidegate.drivers.simulated.build import World
    from tidegate.drivers.simulated.fleet import SimulatedFleet
    from tidegate.ports import Clock

DIAL_AGAIN_SECONDS: Final = 0.5
STEPS_WAITING_MAX: Final = 2
"""Messages that wait to be sent: a hello, and the step that nothing goes on without."""

_Request = world_pb2.ConnectRequest


async def run_simulated(world: World, *, device: str, listen: str, told: Callable[[str], None]) -> int:
    """Run until cancelled; returns the exit code. ``listen`` is where it tells that it is well, if anywhere.

    The world begins where it is told to with each connection, and stands still without one.

    Raises:
        InputError: the address can't be listened on.

    """
    clock = SystemClock()
    said = ""
    async with AsyncExitStack() as stack:
        if listen:
            await stack.enter_async_context(serving(listen, (), clock=clock, grace_seconds=0))
        while True:
            try:
                await _talk(world, device, clock)
            except TidegateError as error:
                if str(error) != said:
                    said = str(error)
                    told(f"not connected: {said}")
            await asyncio.sleep(DIAL_AGAIN_SECONDS)


async def _talk(world: World, device: str, clock: Clock) -> None:
    """Make steps as long as the line holds, each once the one before was decided on."""
    fleet = world.start()
    like = world.template()
    waiting = asyncio.Queue[_Request](STEPS_WAITING_MAX)
    waiting.put_nowait(_Request(hello=world_pb2.Hello(fleet=world.identity())))
    dial = dialled(device, expects=Role.DEVICE, clock=clock, message_bytes_max=MESSAGE_BYTES_MAX)
    async with dial as line:
        with line.answers():
            async for response in world_pb2_grpc.WorldServiceStub(line).Connect(_each(waiting)):
                if response.HasField("position"):
                    begin = positioned(response.position, like)
                    fleet = world.start()
                    if begin is not None:
                        fleet.go_on(begin)
                else:
                    fleet.submit(actions_record(response.decisions, like))
                if fleet.ticks_left:
                    waiting.put_nowait(_Request(step=step_message(_step(fleet))))


def _step(fleet: SimulatedFleet) -> Step:
    outcome = fleet.collect()
    snapshot = fleet.read()
    return Step(
        snapshot=snapshot,
        outcome=outcome,
        used_by_place=fleet.used_by_place,
        link_bytes_per_second=fleet.link_bytes_per_second,
    )


async def _each(waiting: asyncio.Queue[_Request]) -> AsyncIterator[_Request]:
    while True:
        yield await waiting.get()
