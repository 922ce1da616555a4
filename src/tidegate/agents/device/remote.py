"""Another card over the network, as the threads that drive migrations ask it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from tidegate.agents.device.peers import Standby
from tidegate.model.application import ApplicationState
from tidegate.model.errors import InputError
from tidegate.model.refusals import Because, Refusal
from tidegate.wire import applications as codec
from tidegate.wire.applications import LISTENING
from tidegate.wire.card.v1 import (
    amounts_pb2,
    application_pb2,
    application_pb2_grpc,
    migration_pb2,
    migration_pb2_grpc,
)
from tidegate.wire.dialing import dialled
from tidegate.wire.identities import Identity, Role
from tidegate.wire.limits import TRANSFER_SECONDS
from tidegate.wire.names import ApplicationName, card_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
    from pathlib import Path
    from typing import Any

    from tidegate.model.application import ApplicationSpec
    from tidegate.ports import Clock
    from tidegate.wire.dialing import Line

PREPARE_SECONDS: Final = 30.0
"""How long the other card may take to start a program on standby."""
MARGIN_SECONDS: Final = 5.0
"""Beyond a call's own deadline, after which nobody waits for it."""

Said = TypeVar("Said")


@dataclass(frozen=True, slots=True)
class RemoteCard:
    """Another card, asked anew for each call: the certificates are those of that moment."""

    target: str
    address: str
    clock: Clock
    certificates: Path | None
    loop: asyncio.AbstractEventLoop

    def prepare(self, name: str, spec: ApplicationSpec, *, epoch: int, move: str) -> tuple[str, ...]:
        """Have it take an application in on standby.

        Raises:
            Refusal: it did not, or nobody knows.

        """
        request = application_pb2.CreateApplicationRequest(
            parent=card_name(self.target),
            application_id=name,
            application=application_pb2.Application(spec=codec.spec_message(spec)),
            epoch=epoch,
            start_as=codec.state_message(ApplicationState.STANDBY),
            request_id=move,
        )

        async def ask(line: Line) -> tuple[str, ...]:
            stub = application_pb2_grpc.ApplicationServiceStub(line)
            answer = await stub.CreateApplication(request, timeout=PREPARE_SECONDS)
            return tuple(answer.application.status.addresses)

        return self._asked(ask, PREPARE_SECONDS)

    def standing(self, name: str, *, epoch: int) -> Standby:
        """Say how its standby is.

        Raises:
            Refusal: nobody knows, or there is none.

        """
        request = application_pb2.GetApplicationRequest(name=str(ApplicationName(self.target, name)))

        async def ask(line: Line) -> application_pb2.Application:
            answer = await application_pb2_grpc.ApplicationServiceStub(line).GetApplication(request)
            return answer.application

        status = self._asked(ask, PREPARE_SECONDS).status
        state = codec.state_record(status.state)
        if state is not ApplicationState.STANDBY or status.epoch != epoch:
            return Standby(
                f"card {self.target} has it {state.name.lower()} with epoch {status.epoch}, not on standby"
            )
        if status.restarts or not status.processes:
            return Standby(f"its standby on card {self.target} does not stay up; its log there says why")
        said = {one.type: one.truth for one in status.conditions}
        return Standby(listens=said.get(LISTENING) != amounts_pb2.TRUTH_FALSE)

    def activate(
        self, name: str, *, epoch: int, state: Iterable[bytes], state_bytes: int, afresh: bool
    ) -> None:
        """Hand it the state.

        Raises:
            Refusal: it did not take it, or nobody knows.
            TidegateError: the state can't be read.

        """
        header = migration_pb2.ActivateHeader(
            name=str(ApplicationName(self.target, name)), epoch=epoch, state_bytes=state_bytes, afresh=afresh
        )
        failed: list[Exception] = []

        async def messages() -> AsyncIterator[migration_pb2.ActivateApplicationRequest]:
            yield migration_pb2.ActivateApplicationRequest(header=header)
            pieces = iter(state)
            try:
                # Files are read on a thread: others have their calls answered meanwhile.
                while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                    yield migration_pb2.ActivateApplicationRequest(state=piece)
            except Exception as error:
                failed.append(error)
                raise

        async def ask(line: Line) -> None:
            stub = migration_pb2_grpc.MigrationServiceStub(line)
            await stub.ActivateApplication(messages(), timeout=TRANSFER_SECONDS)

        try:
            self._asked(ask, TRANSFER_SECONDS)
        except Refusal:
            if failed:
                raise failed[0] from None
            raise

    def withdraw(self, name: str, *, epoch: int) -> None:
        """Have it drop its standby.

        Raises:
            Refusal: it may serve there, or nobody knows.

        """
        request = application_pb2.DeleteApplicationRequest(
            name=str(ApplicationName(self.target, name)), epoch=epoch, withdraw=True
        )

        async def ask(line: Line) -> None:
            await application_pb2_grpc.ApplicationServiceStub(line).DeleteApplication(request)

        self._asked(ask, PREPARE_SECONDS)

    def _asked(self, ask: Callable[[Line], Coroutine[Any, Any, Said]], seconds: float) -> Said:
        async def once() -> Said:
            async with self._line() as line:
                with line.answers():
                    return await ask(line)

        waiting = asyncio.run_coroutine_threadsafe(once(), self.loop)
        try:
            return waiting.result(seconds + MARGIN_SECONDS)
        except TimeoutError as error:
            waiting.cancel()
            raise Refusal(Because.TOO_LATE, f"card {self.target} did not answer in time") from error

    @asynccontextmanager
    async def _line(self) -> AsyncIterator[Line]:
        expects = Identity(Role.DEVICE, self.target)
        try:
            async with dialled(
                self.address, expects=expects, clock=self.clock, certificates=self.certificates
            ) as line:
                yield line
        except Refusal:
            raise
        except InputError as error:
            # Its own certificates may be mended while the migration waits.
            raise Refusal(Because.UNREACHABLE, f"card {self.target} can't be asked: {error}") from error


__all__ = ["RemoteCard"]
