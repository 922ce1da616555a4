"""Serves `MigrationService`: applications leave for other cards, and come from them."""

# ruff: noqa: N802 - the protocol names calls so

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from tidegate.agents.device.services.asking import authorized, card_asking, request_of
from tidegate.agents.device.services.messages import has_ended, migration_message, strategy_record
from tidegate.model.errors import InputError, TidegateError
from tidegate.model.links import Consumer
from tidegate.model.refusals import InvalidField
from tidegate.wire import applications as codec
from tidegate.wire.addresses import address_of
from tidegate.wire.card.v1 import migration_pb2, migration_pb2_grpc
from tidegate.wire.fields import checked_text
from tidegate.wire.names import application_of, card_of, migration_of
from tidegate.wire.paging import page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tidegate.agents.device.services.asking import Context
    from tidegate.agents.device.services.device import Device

POLL_SECONDS: Final = 0.1
"""How soon those who watch a migration hear of a change."""
SILENCE_SECONDS_MAX: Final = 30.0
"""How long the card that sends a state may send nothing."""
CHUNK_BYTES_MAX: Final = 1 << 20
REASON_BYTES_MAX: Final = 1024


class Migrations(migration_pb2_grpc.MigrationServiceServicer):
    """The migrations of a device's card, both ways."""

    def __init__(self, device: Device) -> None:
        """Serve a device's migrations."""
        self._device = device

    async def CreateMigration(
        self, request: migration_pb2.CreateMigrationRequest, context: Context
    ) -> migration_pb2.CreateMigrationResponse:
        """Begin to move an application away."""
        device, spec = self._device, request.migration.spec
        authorized(context)
        device.require_here(card_of(request.parent, "parent"), "parent")
        named = application_of(spec.application, "migration.spec.application")
        device.require_here(named.card, "migration.spec.application")
        target = card_of(spec.target, "migration.spec.target")
        if spec.target_address:
            try:
                address_of(spec.target_address)
            except InputError as error:
                raise InvalidField("migration.spec.target_address", str(error)) from error
        epoch = codec.epoch(spec.epoch, "migration.spec.epoch")
        reason = checked_text("migration.spec.reason", spec.reason, REASON_BYTES_MAX)
        begun = await device.do(
            lambda: device.moves.begin(
                named.application,
                target=target,
                address=spec.target_address,
                epoch=epoch,
                strategy=strategy_record(spec.strategy),
                reason=reason,
                validate_only=request.validate_only,
                request=request_of(request),
            )
        )
        return migration_pb2.CreateMigrationResponse(migration=migration_message(device, begun))

    async def GetMigration(
        self, request: migration_pb2.GetMigrationRequest, context: Context
    ) -> migration_pb2.GetMigrationResponse:
        """Return a migration."""
        authorized(context)
        return migration_pb2.GetMigrationResponse(migration=self._migration(request.name))

    async def ListMigrations(
        self, request: migration_pb2.ListMigrationsRequest, context: Context
    ) -> migration_pb2.ListMigrationsResponse:
        """Return migrations, the newest first."""
        device = self._device
        authorized(context)
        device.require_here(card_of(request.parent, "parent"), "parent")
        with device.card.lock:
            known = list(device.card.migrations.values())[::-1]
        shown, token = page(known, lambda one: one.id, request, rising=False)
        return migration_pb2.ListMigrationsResponse(
            migrations=[migration_message(device, one) for one in shown], next_page_token=token
        )

    async def AbortMigration(
        self, request: migration_pb2.AbortMigrationRequest, context: Context
    ) -> migration_pb2.AbortMigrationResponse:
        """Stop a migration."""
        device = self._device
        authorized(context)
        named = migration_of(request.name)
        device.require_here(named.card)
        stopped = await device.do(lambda: device.moves.abort(named.migration))
        device.moving.hurry(named.migration)
        return migration_pb2.AbortMigrationResponse(migration=migration_message(device, stopped))

    async def WatchMigration(
        self, request: migration_pb2.WatchMigrationRequest, context: Context
    ) -> AsyncIterator[migration_pb2.WatchMigrationResponse]:
        """Stream a migration until it has ended."""
        authorized(context)
        told = None
        while told is None or not has_ended(told):
            now = self._migration(request.name)
            if now != told:
                yield migration_pb2.WatchMigrationResponse(migration=now)
                told = now
            else:
                await asyncio.sleep(POLL_SECONDS)

    async def ActivateApplication(
        self,
        request_iterator: AsyncIterator[migration_pb2.ActivateApplicationRequest],
        context: Context,
    ) -> migration_pb2.ActivateApplicationResponse:
        """Take in the state of an application that waits here."""
        device = self._device
        asked_by = card_asking(context)
        messages = aiter(request_iterator)
        first = await anext(messages, None)
        if first is None or not first.HasField("header"):
            raise InvalidField("header", "the first message says whose state is coming, and how long it is")
        named = application_of(first.header.name, "header.name")
        device.require_here(named.card, "header.name")
        epoch = codec.epoch(first.header.epoch, "header.epoch")
        if not 0 <= first.header.state_bytes <= codec.STATE_BYTES_MAX:
            raise InvalidField(
                "header.state_bytes", f"{first.header.state_bytes} is outside 0-{codec.STATE_BYTES_MAX}"
            )
        owner = asked_by or device.card.application(named.application).owner

        def carried(count: int) -> None:
            if owner:
                device.ledger.count(owner, Consumer.MOVE, named.application, received=count)

        state = _state(messages, first.state, asyncio.get_running_loop(), carried)
        took = await device.do(
            lambda: device.taking_in.activate(
                named.application,
                epoch=epoch,
                state=state,
                state_bytes=first.header.state_bytes,
                afresh=first.header.afresh,
                asked_by=asked_by,
            )
        )
        return migration_pb2.ActivateApplicationResponse(import_nanoseconds=took)

    def _migration(self, name: str) -> migration_pb2.Migration:
        named = migration_of(name)
        self._device.require_here(named.card)
        return migration_message(self._device, self._device.card.migration(named.migration))


def _state(
    messages: AsyncIterator[migration_pb2.ActivateApplicationRequest],
    first: bytes,
    loop: asyncio.AbstractEventLoop,
    carried: Callable[[int], None],
) -> Iterator[bytes]:
    """Yield a state that comes in messages to a thread that asks for it piece by piece, and count it.

    Raises:
        TidegateError: it stops coming, or a piece is too long.

    """

    async def following() -> bytes | None:
        message = await anext(messages, None)
        return None if message is None else message.state

    chunk: bytes | None = first
    while chunk is not None:
        if len(chunk) > CHUNK_BYTES_MAX:
            raise TidegateError(f"a piece of state has {len(chunk)} bytes, above {CHUNK_BYTES_MAX}")
        if chunk:
            carried(len(chunk))
            yield chunk
        asked = asyncio.run_coroutine_threadsafe(following(), loop)
        try:
            chunk = asked.result(SILENCE_SECONDS_MAX)
        except Exception as error:
            asked.cancel()
            raise TidegateError("the card that sends the state stopped sending it") from error


__all__ = ["Migrations"]
