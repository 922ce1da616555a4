"""A card's device asked over the wire: one line, dialled anew with each turn of certificates."""

from __future__ import annotations

import uuid
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.field_mask_pb2 import FieldMask

from tidegate.agents.fleet.records import ApplicationSeen, CardSeen, Ended, Link
from tidegate.model.application import ApplicationState
from tidegate.model.card_fleet import Strategy
from tidegate.model.refusals import Because, Refusal
from tidegate.wire import amounts, names
from tidegate.wire.applications import spec_message, spec_record, state_message, state_record
from tidegate.wire.card.v1 import (
    amounts_pb2,
    application_pb2,
    application_pb2_grpc,
    card_pb2,
    card_pb2_grpc,
    migration_pb2,
    migration_pb2_grpc,
)
from tidegate.wire.clocks import NANOSECONDS
from tidegate.wire.dialing import dialled
from tidegate.wire.identities import Identity, Role

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.agents.fleet.records import Moving
    from tidegate.model.application import Amounts, ApplicationSpec
    from tidegate.ports import Clock
    from tidegate.wire.dialing import Line

APPLICATIONS_MAX: Final = 10_000
"""Of one card; beyond, what it sends is not believed."""
PAGE: Final = 1000
DIALLED_SECONDS_MAX: Final = 3600
"""A line is dialled anew after so long, with the certificates of then."""
FLEET: Final = uuid.UUID("6f1d3c5e-5b0f-4b43-9a58-6a4d6a0d7c11")
"""The namespace of request identifiers: the same request has the same one, whoever sends it again."""

STRATEGIES: Final = {
    Strategy.LIVE: migration_pb2.STRATEGY_LIVE,
    Strategy.HANDOFF: migration_pb2.STRATEGY_HANDOFF,
    Strategy.RESTART: migration_pb2.STRATEGY_RESTART,
}
STOPPED_SHORT: Final = {migration_pb2.MIGRATION_PHASE_FAILED, migration_pb2.MIGRATION_PHASE_ABORTED}


class WireCard:
    """An `AskedCard` behind an address."""

    def __init__(self, name: str, address: str, *, clock: Clock, certificates: Path | None = None) -> None:
        """Ask nothing yet; ``name`` is the card's, and with certificates the one its device must show."""
        self._name, self._address = name, address
        self._clock, self._certificates = clock, certificates
        self._open, self._before = AsyncExitStack(), AsyncExitStack()
        self._line: Line | None = None
        self._dialled_seconds = 0

    @property
    def address(self) -> str:
        """Where its device listens."""
        return self._address

    async def line(self) -> Line:
        """Return a line to the device, for calls that are handed on as they came."""
        return await self._dial()

    async def close(self) -> None:
        """Hang up."""
        self._line = None
        open_now, self._open = self._open, AsyncExitStack()
        before, self._before = self._before, AsyncExitStack()
        await before.aclose()
        await open_now.aclose()

    async def look(self) -> CardSeen:
        """Return the card and all that is on it."""
        line = await self._dial()
        with line.answers():
            cards: Any = card_pb2_grpc.CardServiceStub(line)
            card = (await cards.GetCard(card_pb2.GetCardRequest(name=names.card_name(self._name)))).card
            return _card_seen(card, self._address, await self._applications(line))

    async def create(self, name: str, spec: ApplicationSpec, *, epoch: int) -> None:
        """Take an application in and start it."""
        line = await self._dial()
        stub: Any = application_pb2_grpc.ApplicationServiceStub(line)
        request = application_pb2.CreateApplicationRequest(
            parent=names.card_name(self._name),
            application_id=name,
            application=application_pb2.Application(spec=spec_message(spec)),
            epoch=epoch,
            start_as=state_message(ApplicationState.RUNNING),
            request_id=self._request("create", name, epoch),
        )
        with line.answers():
            await stub.CreateApplication(request)

    async def delete(self, name: str) -> None:
        """Stop an application and forget it; fine where there is none."""
        line = await self._dial()
        stub: Any = application_pb2_grpc.ApplicationServiceStub(line)
        whole = str(names.ApplicationName(self._name, name))
        with line.answers():
            await stub.DeleteApplication(
                application_pb2.DeleteApplicationRequest(name=whole, allow_missing=True)
            )

    async def move(self, moving: Moving, *, target_address: str) -> str:
        """Begin to move an application away; returns what the card calls the migration."""
        line = await self._dial()
        stub: Any = migration_pb2_grpc.MigrationServiceStub(line)
        spec = migration_pb2.MigrationSpec(
            application=str(names.ApplicationName(self._name, moving.application)),
            target=names.card_name(moving.card_to),
            target_address=target_address,
            strategy=STRATEGIES[moving.strategy],
            epoch=moving.epoch,
            reason=moving.reason,
        )
        request = migration_pb2.CreateMigrationRequest(
            parent=names.card_name(self._name),
            migration=migration_pb2.Migration(spec=spec),
            request_id=self._request("move", moving.application, moving.epoch),
        )
        with line.answers():
            answer = await stub.CreateMigration(request)
        return str(answer.migration.name)

    async def ended(self, migration: str) -> Ended | None:
        """Return how a migration ended; None while it goes on."""
        line = await self._dial()
        stub: Any = migration_pb2_grpc.MigrationServiceStub(line)
        with line.answers():
            answer = await stub.GetMigration(migration_pb2.GetMigrationRequest(name=migration))
        status = answer.migration.status
        if status.phase == migration_pb2.MIGRATION_PHASE_SUCCEEDED:
            return Ended(succeeded=True, pause_seconds=status.pause_nanoseconds / NANOSECONDS)
        return Ended(succeeded=False, reason=status.reason) if status.phase in STOPPED_SHORT else None

    async def limit(self, name: str, budget: Amounts) -> None:
        """Say what an application may hold at most for now."""
        line = await self._dial()
        stub: Any = application_pb2_grpc.ApplicationServiceStub(line)
        application = application_pb2.Application(
            name=str(names.ApplicationName(self._name, name)),
            spec=application_pb2.ApplicationSpec(budget=amounts.to_message(budget)),
        )
        with line.answers():
            await stub.UpdateApplication(
                application_pb2.UpdateApplicationRequest(
                    application=application, update_mask=FieldMask(paths=["spec.budget"])
                )
            )

    async def _applications(self, line: Line) -> tuple[ApplicationSeen, ...]:
        stub: Any = application_pb2_grpc.ApplicationServiceStub(line)
        found: list[ApplicationSeen] = []
        token = ""
        while True:
            page = await stub.ListApplications(
                application_pb2.ListApplicationsRequest(
                    parent=names.card_name(self._name), page_size=PAGE, page_token=token
                )
            )
            found += [_application_seen(one) for one in page.applications]
            token = page.next_page_token
            if len(found) > APPLICATIONS_MAX:
                raise Refusal(
                    Because.BROKEN, f"card '{self._name}' lists more than {APPLICATIONS_MAX} applications"
                )
            if not token:
                return tuple(found)

    async def _dial(self) -> Line:
        """Return a line, dialled anew now and then; calls on the one before may come to their end."""
        now = self._clock.now_seconds()
        if self._line is None or now - self._dialled_seconds > DIALLED_SECONDS_MAX:
            dial = dialled(
                self._address,
                expects=Identity(Role.DEVICE, self._name),
                clock=self._clock,
                certificates=self._certificates,
            )
            opened = AsyncExitStack()
            line = await opened.enter_async_context(dial)
            stale, self._before, self._open = self._before, self._open, opened
            self._line, self._dialled_seconds = line, now
            await stale.aclose()
            return line
        return self._line

    def _request(self, what: str, name: str, epoch: int) -> str:
        return str(uuid.uuid5(FLEET, f"{what}/{self._name}/{name}/{epoch}"))


def _card_seen(card: card_pb2.Card, address: str, applications: tuple[ApplicationSeen, ...]) -> CardSeen:
    status = card.status
    return CardSeen(
        name=names.card_of(card.name),
        address=address,
        allocatable=amounts.to_record(status.allocatable),
        draining=card.spec.service == card_pb2.SERVICE_DRAINING,
        degraded=_wrong(card) if status.phase == card_pb2.CARD_PHASE_DEGRADED else "",
        scores={one.server: one.score for one in status.servers if not one.lost},
        links={one.peer: _link(one) for one in status.links},
        applications=applications,
    )


def _wrong(card: card_pb2.Card) -> str:
    """Return what is wrong with a degraded card itself, in a sentence; nothing where it is only full."""
    conditions = card.status.conditions
    said = [one.message for one in conditions if one.type == "Ready" and one.truth != amounts_pb2.TRUTH_TRUE]
    return (said[0] or "it says that it is degraded") if said else ""


def _link(link: card_pb2.LinkStatus) -> Link:
    probed = bool(link.measured_nanoseconds)
    return Link(
        latency_seconds=link.latency_nanoseconds / NANOSECONDS if probed else 0.0,
        loss_ratio=min(max(link.loss_ratio, 0.0), 1.0) if probed else 0.0,
        bytes_per_second=_said(link, "capacity_bytes_per_second"),
        left_bytes_per_second=_said(link, "headroom_bytes_per_second"),
        far_memory={
            use.about: max(use.received_bytes_per_second, use.sent_bytes_per_second)
            for use in link.uses
            if use.consumer == card_pb2.LINK_CONSUMER_FAR_MEMORY
        },
    )


def _said(link: card_pb2.LinkStatus, field: str) -> float | None:
    return float(getattr(link, field)) if link.HasField(field) else None  # type: ignore[arg-type] # of its own


def _application_seen(message: application_pb2.Application) -> ApplicationSeen:
    status = message.status
    late = (
        status.latency_p99_nanoseconds / NANOSECONDS if status.HasField("latency_p99_nanoseconds") else None
    )
    cores = status.cpu_millis_for_sla / amounts.MILLIS if status.HasField("cpu_millis_for_sla") else None
    return ApplicationSeen(
        name=names.application_of(message.name).application,
        epoch=status.epoch,
        state=state_record(status.state),
        spec=spec_record(message.spec),
        held=amounts.to_record(status.held),
        used=amounts.to_record(status.used),
        expected=amounts.to_record(status.expected),
        cpu_cores_for_sla=cores,
        latency_p99_seconds=late,
    )
