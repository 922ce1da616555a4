"""Changes that people and programs ask for, each as often as it takes to be answered."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from tidegate.drivers.local.clock import SystemClock
from tidegate.lab.bench.device.killing_world import CARDS, FLEET
from tidegate.model.application import Amounts, ApplicationSpec
from tidegate.model.refusals import Because, Refusal
from tidegate.wire.amounts import to_message
from tidegate.wire.applications import spec_message
from tidegate.wire.card.v1 import (
    adjustment_pb2,
    adjustment_pb2_grpc,
    application_pb2,
    application_pb2_grpc,
    card_pb2,
    card_pb2_grpc,
    migration_pb2,
    migration_pb2_grpc,
)
from tidegate.wire.dialing import dialled
from tidegate.wire.identities import Role
from tidegate.wire.names import ApplicationName, card_name

if TYPE_CHECKING:
    from numpy.random import Generator

    from tidegate.lab.bench.device.killing_world import World
    from tidegate.wire.dialing import Line

AGAIN_SECONDS: Final = 0.2
TRY_SECONDS: Final = 12.0
SILENCE: Final = frozenset({Because.UNREACHABLE, Because.TOO_LATE})
PORT_FIRST: Final = 7100
MEBIBYTE: Final = 2**20
FAILED_MOVES_MAX: Final = 50
"""Between two epochs of one application: each that failed has used one."""
FLEET_OWN: Final = "f"
"""First letter of applications that are given to the fleet; others are given to a card."""
PLAIN: Final = "p"
"""First letter of applications that do not hand off."""


@dataclass(slots=True, kw_only=True)
class Change:
    """One change, the same however often it is asked for."""

    kind: str
    application: str = ""
    card: str = ""
    """The letter of the card that is asked."""
    to: str = ""
    amounts: Amounts = field(default_factory=Amounts)
    epoch: int = 0
    """Of one that is created on a card, which must be above all it had there before."""
    request_id: str
    answered: bool = False
    refused: str = ""
    """Why it was refused: nothing was changed then."""

    def __str__(self) -> str:
        """Say it in a few words."""
        words = [self.kind, self.application, f"on {self.card}", f"to {self.to}" if self.to else ""]
        return " ".join(word for word in words if word) + (
            f" (refused: {self.refused})" if self.refused else ""
        )


async def ask(world: World, change: Change, *, seconds: float) -> None:
    """Ask until there is an answer, or for so long; a refusal is an answer."""
    deadline = perf_counter() + seconds
    tries = 0
    while not change.answered and perf_counter() < deadline:
        tries += 1
        try:
            await _once(world, change)
            change.answered = True
        except Refusal as refusal:
            if refusal.because in SILENCE:
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            change.answered = True
            # Deleted before, and not answered: the fleet manager keeps nothing of what is no more.
            deleted = tries > 1 and change.card == FLEET and change.kind == "delete"
            if not (deleted and refusal.because is Because.NOT_FOUND):
                change.refused = str(refusal)
        except TimeoutError:
            continue


async def _once(world: World, change: Change) -> None:
    role = Role.FLEET if change.card == FLEET else Role.DEVICE
    async with (
        asyncio.timeout(TRY_SECONDS),
        dialled(
            world.address(change.card), expects=role, clock=SystemClock(), certificates=world.certificates
        ) as line,
    ):
        with line.answers():
            await _CALLS[change.kind](line, world, change)


async def _create(line: Line, world: World, change: Change) -> None:
    request = application_pb2.CreateApplicationRequest(
        parent="cards/-" if change.card == FLEET else card_name(world.card(change.card)),
        application_id=change.application,
        application=application_pb2.Application(spec=spec_message(spec_of(change.application))),
        epoch=change.epoch,
        request_id=change.request_id,
    )
    await application_pb2_grpc.ApplicationServiceStub(line).CreateApplication(request)


async def _delete(line: Line, world: World, change: Change) -> None:
    request = application_pb2.DeleteApplicationRequest(
        name=_name(world, change), request_id=change.request_id
    )
    await application_pb2_grpc.ApplicationServiceStub(line).DeleteApplication(request)


async def _stop(line: Line, world: World, change: Change) -> None:
    request = application_pb2.StopApplicationRequest(name=_name(world, change), request_id=change.request_id)
    await application_pb2_grpc.ApplicationServiceStub(line).StopApplication(request)


async def _start(line: Line, world: World, change: Change) -> None:
    request = application_pb2.StartApplicationRequest(name=_name(world, change), request_id=change.request_id)
    await application_pb2_grpc.ApplicationServiceStub(line).StartApplication(request)


async def _adjust(line: Line, world: World, change: Change) -> None:
    request = adjustment_pb2.AdjustResourcesRequest(
        name=_name(world, change), wanted=to_message(change.amounts), request_id=change.request_id
    )
    await adjustment_pb2_grpc.AdjustmentServiceStub(line).AdjustResources(request)


async def _migrate(line: Line, world: World, change: Change) -> None:
    spec = migration_pb2.MigrationSpec(
        application=_name(world, change),
        target=card_name(world.card(change.to)),
        target_address=world.address(change.to),
        reason="a test of kills",
    )
    request = migration_pb2.CreateMigrationRequest(
        parent=card_name(world.card(change.card)),
        migration=migration_pb2.Migration(spec=spec),
        request_id=change.request_id,
    )
    await migration_pb2_grpc.MigrationServiceStub(line).CreateMigration(request)


async def _serve(line: Line, world: World, change: Change) -> None:
    from google.protobuf.field_mask_pb2 import FieldMask

    service = card_pb2.SERVICE_DRAINING if change.kind == "drain" else card_pb2.SERVICE_IN
    request = card_pb2.UpdateCardRequest(
        card=card_pb2.Card(name=card_name(world.card(change.card)), spec=card_pb2.CardSpec(service=service)),
        update_mask=FieldMask(paths=["spec.service"]),
        request_id=change.request_id,
    )
    await card_pb2_grpc.CardServiceStub(line).UpdateCard(request)


_CALLS: Final[dict[str, Any]] = {
    "create": _create,
    "delete": _delete,
    "stop": _stop,
    "start": _start,
    "adjust": _adjust,
    "migrate": _migrate,
    "drain": _serve,
    "resume": _serve,
}
CUTS_OFF: Final = frozenset({"delete", "stop", "start"})
"""After these an application may have lost what was written to it."""


def spec_of(name: str) -> ApplicationSpec:
    """Return what is wanted of an application of this name."""
    return ApplicationSpec(
        command=(sys.executable, "-m", "tidegate.examples.keyvalue", "serve", "--port", "{port}"),
        environment={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        ports=(port_of(name),),
        amounts=Amounts(cpu_cores=0.3, memory_bytes=64 * MEBIBYTE, network_bytes_per_second=10_000_000),
        floor=Amounts(cpu_cores=0.1, memory_bytes=48 * MEBIBYTE, network_bytes_per_second=1_000_000),
        ceiling=Amounts(cpu_cores=0.6, memory_bytes=128 * MEBIBYTE),
        hands_off=not name.startswith(PLAIN),
    )


def port_of(name: str) -> int:
    """Return the port of an application, which moves with it."""
    return PORT_FIRST + int.from_bytes(name.encode()[:1], "big") * 10 + int(name[1:])


def drawn(
    random: Generator,
    where: dict[str, str],
    runs: dict[str, bool],
    names: tuple[str, ...],
    epochs: dict[str, int],
) -> Change:
    """Draw the next change that makes sense.

    ``where`` each application is, whether it ``runs``, and the highest of its ``epochs``.
    """
    running = sorted(name for name, it in runs.items() if it and name in where)
    stopped = sorted(name for name, it in runs.items() if not it and name in where)
    free = sorted(set(names) - runs.keys())
    kinds = {
        "migrate": 0.42 if running else 0.0,
        "adjust": 0.15 if running else 0.0,
        "create": 0.16 if free else 0.0,
        "delete": 0.07 if len(runs) > 2 else 0.0,
        "stop": 0.05 if len(running) > 2 else 0.0,
        "start": 0.15 if stopped else 0.0,
        "drain": 0.12 if running else 0.0,
    }
    weights = [weight / sum(kinds.values()) for weight in kinds.values()]
    kind = str(random.choice(list(kinds), p=weights))
    pool = {"create": free, "start": stopped, "delete": sorted(where)}.get(kind, running)
    name = str(random.choice(pool))
    at = where.get(name, str(random.choice(CARDS)))
    own = name.startswith(FLEET_OWN) and kind in {"create", "delete"}
    amounts = Amounts(
        cpu_cores=round(float(random.uniform(0.1, 0.6)), 2),
        memory_bytes=int(random.integers(56, 128)) * MEBIBYTE,
    )
    return Change(
        kind=kind,
        application="" if kind == "drain" else name,
        card=FLEET if own else at,
        to=CARDS[1 - CARDS.index(at)] if kind == "migrate" else "",
        epoch=0 if own else epochs.get(name, 0) + FAILED_MOVES_MAX,
        amounts=amounts if kind == "adjust" else Amounts(),
        request_id=str(uuid.UUID(bytes=random.bytes(16))),
    )


def _name(world: World, change: Change) -> str:
    if change.card == FLEET:
        return f"cards/-/applications/{change.application}"
    return str(ApplicationName(world.card(change.card), change.application))


__all__ = ["CUTS_OFF", "FLEET_OWN", "PLAIN", "Change", "ask", "drawn", "port_of", "spec_of"]
