"""An agent's connection: samples on time whether or not the device is heard, and dials again for ever.

What is sent waits in a short queue; a device that can't keep up gets the newest samples, not the oldest.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from tidegate.model.errors import TidegateError
from tidegate.wire.card.v1 import telemetry_pb2, telemetry_pb2_grpc
from tidegate.wire.dialing import dialled
from tidegate.wire.frames import batch_message, greeting_message, roster_message
from tidegate.wire.identities import Role
from tidegate.wire.orders import orders_record, outcomes_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tidegate.agents.agent.agent import Agent
    from tidegate.model.snapshot import Snapshot
    from tidegate.ports import Clock
    from tidegate.wire.frames import ServerRoster

HEARTBEAT_SECONDS: Final = 1.0
DIAL_AGAIN_SECONDS: Final = 1.0
DIAL_AGAIN_SECONDS_MAX: Final = 30.0
FOLLOWS_SECONDS: Final = 0.008
"""How long before a sample the device is told that it follows."""
BASELINE_AFTER_SECONDS: Final = 0.05
"""How long after a sample the baseline sees it: orders that it leads to have come by then."""
WAITING_MAX: Final = 16
"""Messages that wait to be sent; beyond, the oldest sample goes."""
GOODBYE_SECONDS: Final = 1.0
"""How long an agent that ends waits until its goodbye was heard."""
READS_FAILED_MAX: Final = 60
"""Steps in a row without a sample, after which it ends and whoever started it starts it again; as long as a
device waits at a second's step before it counts the server as lost."""
STEP_MESSAGES_MAX: Final = 2
"""Of one step: a roster and a sample."""

_Request = telemetry_pb2.ConnectRequest
_log = structlog.get_logger(__name__)


class Connection:
    """Joins an agent to the device of its card."""

    def __init__(
        self,
        agent: Agent,
        *,
        address: str,
        clock: Clock,
        certificates: Path | None = None,
        told: Callable[[str], None] = lambda _sentence: None,
        given_back: Callable[[], int] = lambda: 0,
    ) -> None:
        """Join nobody yet; ``told`` hears sentences for people.

        ``given_back`` is called at the end: it puts the owner's settings back, and returns how many.
        """
        self._agent, self._address = agent, address
        self._clock, self._certificates, self._told = clock, certificates, told
        self._given_back, self._leaves = given_back, asyncio.Event()
        self._waiting: asyncio.Queue[_Request] | None = None
        self._sent: ServerRoster | None = None
        self._last: Snapshot | None = None
        """The last sample; None where the last look at the server failed."""
        self._reads_failed = 0
        """In a row."""

    async def run(self, *, step_seconds: float, ticks: int | None = None) -> None:
        """Sample each step, so many times or for ever, and keep a line to the device meanwhile.

        A server that can't be read is read again at the next step; the device sees that no sample comes.

        Raises:
            TidegateError: the server can't be read at first, or `READS_FAILED_MAX` times in a row.

        """
        self._last = self._agent.step()
        keeping = asyncio.create_task(self._keep())
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            turned = 0
            while ticks is None or turned < ticks:
                turned += 1
                due += step_seconds
                due = max(due, loop.time())  # where the machine slept, no step is made up for
                await asyncio.sleep(due - FOLLOWS_SECONDS - loop.time())
                self._announce()
                await asyncio.sleep(due - loop.time())
                if self._sample():
                    # The device decides by the sample; the baseline is there in case it doesn't.
                    await asyncio.sleep(min(BASELINE_AFTER_SECONDS, step_seconds / 4))
                    self._agent.think()
        finally:
            try:
                await self._leave(keeping)
            finally:
                keeping.cancel()
                with suppress(asyncio.CancelledError):
                    await keeping

    async def _leave(self, keeping: asyncio.Task[None]) -> None:
        """Give everything back, and say so to the device if it is there."""
        self._leaves.set()
        settings = self._given_back()
        waiting = self._waiting
        if waiting is not None and not waiting.full():
            waiting.put_nowait(_Request(goodbye=telemetry_pb2.Goodbye(settings_given_back=settings)))
            await asyncio.wait({keeping}, timeout=GOODBYE_SECONDS)

    def _announce(self) -> None:
        """Say that a sample follows, where nothing else waits to be sent."""
        if self._waiting is not None and self._waiting.empty():
            self._waiting.put_nowait(_Request(heartbeat=self._alive(sample_follows=True)))

    def _alive(self, *, sample_follows: bool = False) -> telemetry_pb2.Heartbeat:
        now = self._clock.now_seconds() * 10**9
        return telemetry_pb2.Heartbeat(time_nanoseconds=now, sample_follows=sample_follows)

    def _sample(self) -> bool:
        """Take a sample and queue it; False where that fails, which is told, and made up for by the next."""
        try:
            snapshot = self._agent.sample()
        except TidegateError as error:
            self._last = None
            self._reads_failed += 1
            if self._reads_failed >= READS_FAILED_MAX:
                raise
            if self._reads_failed == 1:
                self._told(f"this server can't be read, and is tried again each step: {error}")
            return False
        if self._reads_failed:
            self._told(f"this server is read again, after {self._reads_failed} steps without")
        self._reads_failed = 0
        self._last = snapshot
        self._say(snapshot)
        return True

    def _say(self, snapshot: Snapshot) -> None:
        """Queue a sample, after the roster where that is new."""
        waiting = self._waiting
        if waiting is None:
            return
        if waiting.qsize() > WAITING_MAX - STEP_MESSAGES_MAX:
            # Too slow for us: what waits is old, and a roster may be among it, so all is said anew.
            while not waiting.empty():
                waiting.get_nowait()
            self._sent = None
        who = self._agent.who
        if who is not self._sent:
            self._sent = who
            waiting.put_nowait(_Request(roster=roster_message(who)))
        batch = batch_message(
            snapshot,
            number=self._agent.number,
            roster_version=who.version,
            behaviour=self._agent.behaviour,
        )
        waiting.put_nowait(_Request(batch=batch))

    def _answer(self, outcomes: _Request) -> None:
        """Queue what became of orders; where there is no room the device counts them as timed out."""
        waiting = self._waiting
        if waiting is not None and not waiting.full():
            waiting.put_nowait(outcomes)

    async def _keep(self) -> None:
        """Dial, talk until the line breaks, and dial again, less and less often while nobody answers."""
        pause = DIAL_AGAIN_SECONDS
        said = ""
        while not self._leaves.is_set():
            began = self._clock.now_seconds()
            why = ""
            try:
                await self._talk()
            except TidegateError as error:
                why = str(error)
            except asyncio.CancelledError:
                # gRPC raises it, too, where it gave a call up because what was to be sent could not be made.
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                why = "the call was given up"
            except Exception as error:  # noqa: BLE001 - whatever it was, without a line it is dialled again
                why = f"something failed that should not have: {error}"
                _log.error("talking with the device failed unexpectedly", exc_info=error)
            finally:
                self._waiting = self._sent = None
            if self._leaves.is_set():
                return
            if why and why != said:
                said = why
                self._told(f"not connected: {said}")
            pause = DIAL_AGAIN_SECONDS if self._clock.now_seconds() - began > pause else pause * 2
            pause = min(pause, DIAL_AGAIN_SECONDS_MAX)
            await asyncio.sleep(pause)

    async def _talk(self) -> None:
        dial = dialled(self._address, expects=Role.DEVICE, clock=self._clock, certificates=self._certificates)
        async with dial as line:
            with line.answers():
                stub = telemetry_pb2_grpc.TelemetryServiceStub(line)
                async for response in stub.Connect(self._requests()):
                    self._agent.heard()
                    match response.WhichOneof("message"):
                        case "welcome":
                            self._told(f"connected to card '{response.welcome.card}'")
                            if self._last is not None:
                                self._say(self._last)  # who is new here need not wait for a step to end
                        case "orders":
                            resources = len(self._agent.greeting().resources)
                            done = self._agent.carry_out(orders_record(response.orders, resources))
                            self._answer(_Request(outcomes=outcomes_message(done)))
                        case _:
                            pass

    async def _requests(self) -> AsyncIterator[_Request]:
        """Yield the hello, then what waits, and a sign of life where nothing does."""
        waiting = self._waiting = asyncio.Queue[_Request](WAITING_MAX)
        self._sent = None
        yield _Request(hello=greeting_message(self._agent.greeting()))
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):  # `wait_for` makes a task of each
                    message = await waiting.get()
            except TimeoutError:
                message = _Request(heartbeat=self._alive())
            yield message
            if message.HasField("goodbye"):
                return
