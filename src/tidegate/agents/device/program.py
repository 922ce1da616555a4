"""The program on a card: opens its store, takes over what runs, and serves until it is told to end."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from tidegate.agents.device.card import SECOND, Card
from tidegate.agents.device.deciding import RESOURCES, Deciding, Sizes
from tidegate.agents.device.handouts import Handouts
from tidegate.agents.device.moving import Moving
from tidegate.agents.device.neighbours import Links, neighbours
from tidegate.agents.device.remote import RemoteCard
from tidegate.agents.device.services.adjustments import Adjustments
from tidegate.agents.device.services.applications import Applications
from tidegate.agents.device.services.cards import Cards
from tidegate.agents.device.services.device import THREADS, Device
from tidegate.agents.device.services.migrations import Migrations
from tidegate.agents.device.services.profiles import Profiles
from tidegate.agents.servers.rehearsal import Rehearsal
from tidegate.app.state import DECISIONS
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.passing import passing
from tidegate.journal.sql.retention import Retention
from tidegate.journal.sql.writer import opened
from tidegate.model.links import Consumer
from tidegate.wire.card.v1.adjustment_pb2_grpc import add_AdjustmentServiceServicer_to_server
from tidegate.wire.card.v1.application_pb2_grpc import add_ApplicationServiceServicer_to_server
from tidegate.wire.card.v1.card_pb2_grpc import add_CardServiceServicer_to_server
from tidegate.wire.card.v1.migration_pb2_grpc import add_MigrationServiceServicer_to_server
from tidegate.wire.card.v1.profiling_pb2_grpc import add_ProfilingServiceServicer_to_server
from tidegate.wire.serving import Served, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from tidegate.agents.device.peers import Peer
    from tidegate.agents.device.room import Room
    from tidegate.agents.device.store import Store
    from tidegate.ports import CardRuntime, Clock
    from tidegate.wire.serving import Listening

TEND_SECONDS: Final = 1.0
MOVE_SECONDS: Final = 0.1
SAMPLE_SECONDS_MIN: Final = 0.02
SAMPLE_SECONDS_MAX: Final = 1.0
END_SECONDS: Final = 5.0
"""How long a device that is to end waits for what it has begun."""
RETENTION: Final = Retention(samples_seconds=3600, bytes_max=512 * 1024**2)
"""A card's disk is small: an hour of samples, a week of what changed, half a gibibyte in all."""
HANDOUTS: Final = "handouts"
"""Folder of states that were handed out and are not settled, beside the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What a device is told at its start."""

    name: str
    room: Room
    listen: str
    state: Path
    certificates: Path | None = None
    host: str = "localhost"
    """Where other machines reach the ports of its applications."""
    architecture: str = ""
    core_worth: float = 1.0
    links: Links = field(default_factory=Links)
    sizes: Sizes | None = field(default_factory=Sizes)
    """How it decides what its servers and applications hold; None: others do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What a device needs of the world."""

    store: Store
    runtime: CardRuntime
    clock: Clock
    now: Callable[[], int]
    """Nanoseconds since 1970 UTC."""
    new_id: Callable[[], str]
    forwards: Callable[[], float] | None = None
    """Seconds on a clock that only runs forwards, as probes of links use it; None: links are not measured."""


@asynccontextmanager
async def device(configuration: Configuration, outside: Outside) -> AsyncIterator[Device]:
    """Have a device work inside the context, without anybody asking it; applications run on after it.

    Raises:
        TidegateError: the store is damaged or another card's, or what runs can't be found out.

    """
    loop = asyncio.get_running_loop()

    def peer(target: str, address: str) -> Peer:
        return RemoteCard(target, address, outside.clock, configuration.certificates, loop)

    card = Card(
        configuration.name,
        store=outside.store,
        runtime=outside.runtime,
        room=configuration.room,
        now=outside.now,
        new_id=outside.new_id,
        host=configuration.host,
    )
    working = Device(
        card=card,
        moving=Moving(card, peer, Handouts(configuration.state / HANDOUTS)),
        threads=ThreadPoolExecutor(THREADS, thread_name_prefix="device"),
        architecture=configuration.architecture,
        core_worth=configuration.core_worth,
        forwards=outside.forwards,
        link_capacity=configuration.links.capacity,
    )
    working.moving.carried = lambda target, application, sent: working.ledger.count(
        target, Consumer.MOVE, application, sent=sent
    )
    tasks: list[asyncio.Task[None]] = []
    try:
        await working.do(working.tending.reconcile)
        await working.do(working.profiling.recover)
        await working.do(working.moving.recover)
        tasks += [
            asyncio.create_task(_every(TEND_SECONDS, partial(working.do, working.tending.tend))),
            asyncio.create_task(_every(MOVE_SECONDS, _Movers(working).turn)),
            asyncio.create_task(_sampling(working)),
        ]
        yield working
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await working.end(END_SECONDS)


def services(working: Device) -> Sequence[Served]:
    """Return what a device serves: the Offload Card API but for telemetry."""
    adds = {
        "CardService": partial(add_CardServiceServicer_to_server, Cards(working)),
        "ApplicationService": partial(add_ApplicationServiceServicer_to_server, Applications(working)),
        "AdjustmentService": partial(add_AdjustmentServiceServicer_to_server, Adjustments(working)),
        "ProfilingService": partial(add_ProfilingServiceServicer_to_server, Profiles(working)),
        "MigrationService": partial(add_MigrationServiceServicer_to_server, Migrations(working)),
    }
    return [Served(f"tidegate.card.v1.{name}", add) for name, add in adds.items()]


@asynccontextmanager
async def serving_device(configuration: Configuration, outside: Outside) -> AsyncIterator[Listening]:
    """Have a device work and serve inside the context.

    Raises:
        InputError: the address can't be listened on, or certificates are missing or not good.
        TidegateError: the store is damaged or another card's, or what runs can't be found out.

    """
    async with device(configuration, outside) as working, AsyncExitStack() as stack:
        offered = list(services(working))
        deciding = stack.enter_context(_deciding(configuration, working))
        if deciding is not None:
            offered.append(deciding.served)
        async with (
            serving(
                configuration.listen,
                offered,
                clock=outside.clock,
                certificates=configuration.certificates,
            ) as listening,
            _beside(deciding),
            _linked(configuration, outside, working, deciding),
        ):
            yield listening


@contextmanager
def _deciding(configuration: Configuration, working: Device) -> Iterator[Deciding | None]:
    """Make what decides, gone on from its journal where it keeps one."""
    sizes = configuration.sizes
    if sizes is None:
        yield None
        return
    if not sizes.journalled:
        yield Deciding(device=working, sizes=sizes)
        return
    where = location(str(configuration.state / DECISIONS))
    with opened(where, sizes.identity(configuration.name), RETENTION) as journal, passing() as rehearsed:
        rehearsal = Rehearsal(
            resources=RESOURCES,
            step_seconds=sizes.step_seconds,
            policy_name=sizes.policy,
            model=sizes.model,
            now_nanoseconds=working.card.now,
            journal=rehearsed,
        )
        deciding = Deciding(device=working, sizes=sizes, journal=journal, rehearsal=rehearsal)
        deciding.go_on(where)
        yield deciding


@asynccontextmanager
async def _beside(deciding: Deciding | None) -> AsyncIterator[None]:
    """Decide meanwhile."""
    task = None if deciding is None else asyncio.create_task(deciding.run())
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _linked(
    configuration: Configuration, outside: Outside, working: Device, deciding: Deciding | None
) -> AsyncIterator[None]:
    """Measure links meanwhile."""
    if outside.forwards is None:
        yield
        return
    async with neighbours(
        working,
        configuration.links,
        lambda: () if deciding is None else deciding.servers.told(),
        now_seconds=lambda: outside.now() / SECOND,
        monotonic_seconds=outside.forwards,
    ):
        yield


class _Movers:
    """Takes the next step of each migration that is due, all at once, each on its own thread."""

    def __init__(self, working: Device) -> None:
        self._device = working
        self._steps: dict[str, asyncio.Task[None]] = {}

    async def turn(self) -> None:
        self._steps = {name: step for name, step in self._steps.items() if not step.done()}
        for identifier in self._device.moving.due():
            if identifier not in self._steps:
                self._steps[identifier] = asyncio.create_task(self._step(identifier))

    async def _step(self, identifier: str) -> None:
        try:
            await self._device.do(partial(self._device.moving.step, identifier))
        except Exception as error:  # noqa: BLE001 - the others go on
            _log("a migration's step failed unexpectedly", error)


async def _sampling(working: Device) -> None:
    """Take samples whenever the next is due."""
    while True:
        waits = SAMPLE_SECONDS_MAX
        try:
            due = await working.do(working.profiling.turn)
            waits = (due - working.card.now()) / SECOND
        except Exception as error:  # noqa: BLE001 - the others go on
            _log("sampling failed unexpectedly", error)
        await asyncio.sleep(min(max(waits, SAMPLE_SECONDS_MIN), SAMPLE_SECONDS_MAX))


async def _every(seconds: float, do: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await do()
        except Exception as error:  # noqa: BLE001 - the others go on
            _log("a turn of the device failed unexpectedly", error)


def _log(what: str, error: Exception) -> None:
    structlog.get_logger(__name__).error(what, exc_info=error)


__all__ = ["Configuration", "Outside", "device", "services", "serving_device"]
