"""Cards in memory: a real core over SQLite in memory and a runtime of simulated programs."""

from __future__ import annotations

import itertools
import sqlite3
import time
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import sqlalchemy as sa

from tidegate.agents.device import tables
from tidegate.agents.device.card import SECOND, Card
from tidegate.agents.device.lifecycle import Lifecycle
from tidegate.agents.device.moves import Moves
from tidegate.agents.device.program import Configuration, Outside, serving_device
from tidegate.agents.device.room import Room
from tidegate.agents.device.sizing import Sizing
from tidegate.agents.device.store import Store, opened
from tidegate.agents.device.taking_in import TakingIn
from tidegate.agents.device.tending import Tending
from tidegate.drivers.local.clock import SystemClock
from tidegate.model.application import Amounts, ApplicationSpec, Sla
from tidegate.model.refusals import Because, Refusal
from tidegate.testing import ManualClock
from tidegate.testing.fake_runtime import FakeRuntime
from tidegate.wire.applications import spec_message
from tidegate.wire.card.v1 import (
    adjustment_pb2_grpc,
    application_pb2,
    application_pb2_grpc,
    card_pb2_grpc,
    migration_pb2_grpc,
    profiling_pb2_grpc,
)
from tidegate.wire.dialing import dialled
from tidegate.wire.identities import Role

GIB = 2**30
SPEC = ApplicationSpec(
    command=("serve",),
    hands_off=True,
    ports=(7000,),
    amounts=Amounts(cpu_cores=1.0, memory_bytes=GIB),
    floor=Amounts(cpu_cores=0.25),
    ceiling=Amounts(cpu_cores=3.0),
)


class FlakyStore(Store):
    """A store whose disk can be full."""

    full = False

    def write(self, changes):
        if self.full:
            raise Refusal(Because.UNREACHABLE, "the disk is full; nothing was changed")
        super().write(changes)


@dataclass
class Stage:
    """One card that can be killed and started again."""

    engine: object
    clock: ManualClock
    runtime: FakeRuntime
    name: str = "card-a"
    room: Room = field(
        default_factory=lambda: Room(
            capacity=Amounts(cpu_cores=4.0, memory_bytes=8 * GIB),
            reserved=Amounts(cpu_cores=0.5, memory_bytes=GIB),
        )
    )
    ids: object = field(default_factory=lambda: map("id-{}".format, itertools.count(1)).__next__)

    def __post_init__(self):
        self.restart()

    def restart(self):
        """Forget all that is not written down."""
        self.store = FlakyStore(self.engine)
        self.card = Card(
            self.name,
            store=self.store,
            runtime=self.runtime,
            room=self.room,
            now=lambda: self.clock.now_seconds() * SECOND,
            new_id=self.ids,
            host="10.0.0.1",
        )
        self.lifecycle, self.sizing = Lifecycle(self.card), Sizing(self.card)
        self.tending, self.moves, self.taking_in = Tending(self.card), Moves(self.card), TakingIn(self.card)
        self.tending.reconcile()

    def app(self, name="web"):
        return self.card.application(name)

    def held(self, name="web"):
        return self.runtime.program(name).held


@pytest.fixture
def clock():
    return ManualClock(1_700_000_000)


@pytest.fixture(scope="session")
def engine_in_memory():
    """Makes engines on databases in memory, which are as those on files but for their speed."""
    engines = []

    def connect():
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        connection.isolation_level = None
        return connection

    def make():
        engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.pool.StaticPool)
        sa.event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN IMMEDIATE"))
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.dispose()


@pytest.fixture(scope="session")
def emptied():
    """Empties a store."""

    def empty(engine):
        Store(engine)
        with engine.begin() as connection:
            for table in tables.metadata.sorted_tables:
                connection.execute(sa.delete(table))
        return engine

    return empty


@pytest.fixture(scope="session")
def fresh_stage(engine_in_memory, emptied):
    """Makes one card after the other, each as new."""
    engine = engine_in_memory()

    def make():
        clock = ManualClock(1_700_000_000)
        return Stage(emptied(engine), clock, FakeRuntime(clock))

    return make


@pytest.fixture
def stage(clock, engine_in_memory):
    return Stage(engine_in_memory(), clock, FakeRuntime(clock))


@pytest.fixture
def stage_of(clock, engine_in_memory):
    def make(name="card-a", **changes):
        return replace(Stage(engine_in_memory(), clock, FakeRuntime(clock), name=name), **changes)

    return make


@pytest.fixture
def spec():
    return SPEC


SERVED_ROOM = Room(
    capacity=Amounts(cpu_cores=4.0, memory_bytes=8 * GIB), reserved=Amounts(cpu_cores=0.5, memory_bytes=GIB)
)
SERVED_SPEC = spec_message(
    ApplicationSpec(
        command=("serve",),
        hands_off=True,
        ports=(7000,),
        amounts=Amounts(cpu_cores=1.0, memory_bytes=GIB),
        floor=Amounts(cpu_cores=0.25),
        ceiling=Amounts(cpu_cores=3.0),
        sla=Sla(latency_p99_max_seconds=0.01),
    )
)


class Api:
    """Every stub of one line."""

    def __init__(self, line):
        self.line, self.spec = line, SERVED_SPEC
        self.cards = card_pb2_grpc.CardServiceStub(line)
        self.applications = application_pb2_grpc.ApplicationServiceStub(line)
        self.adjustments = adjustment_pb2_grpc.AdjustmentServiceStub(line)
        self.profiles = profiling_pb2_grpc.ProfilingServiceStub(line)
        self.migrations = migration_pb2_grpc.MigrationServiceStub(line)

    async def create(self, name="web", **changes):
        request = application_pb2.CreateApplicationRequest(
            parent="cards/card-a",
            application_id=name,
            application=application_pb2.Application(spec=SERVED_SPEC),
        )
        request.MergeFrom(application_pb2.CreateApplicationRequest(**changes))
        with self.line.answers():
            return (await self.applications.CreateApplication(request)).application

    async def refused(self, because, call, request, *said, field=None, limit=None):
        with pytest.raises(Refusal) as raised, self.line.answers():
            await call(request)
        told = raised.value
        assert told.because is because, told
        assert all(each in str(told) for each in said), told
        assert field is None or told.field == field
        assert limit is None or told.limit == limit


@asynccontextmanager
async def a_card(folder, name="card-a", *, certificates=None, listen=None):
    runtime = FakeRuntime(SystemClock())
    with opened(folder / name) as store:
        configuration = Configuration(
            name=name,
            room=SERVED_ROOM,
            listen=listen or f"unix:{folder / name}.sock",
            state=folder / name,
            certificates=certificates,
            host="10.0.0.1",
            architecture="x86_64",
        )
        outside = Outside(
            store=store,
            runtime=runtime,
            clock=SystemClock(),
            now=time.time_ns,
            new_id=lambda: str(uuid.uuid4()),
        )
        async with serving_device(configuration, outside) as listening:
            yield listening.address, runtime


@asynccontextmanager
async def asked(folder):
    async with (
        a_card(folder) as (address, runtime),
        dialled(address, expects=Role.DEVICE, clock=SystemClock()) as line,
    ):
        yield Api(line), runtime


@pytest.fixture(name="a_card")
def _a_card():
    """Serves a card inside a context; gives its address and its runtime."""
    return a_card


@pytest.fixture(name="api_of")
def _api_of():
    """Makes every stub of a line."""
    return Api


@pytest.fixture(name="asked")
def _asked():
    """Serves a card inside a context, and asks it."""
    return asked
