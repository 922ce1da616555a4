"""A server in memory, its agent, a device's servers, and the wire between: every message is encoded."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.agents.agent.agent import Agent
from tidegate.agents.servers.loop import baseline_loop, device_loop
from tidegate.agents.servers.servers import Servers
from tidegate.app.wiring import LOCAL_LIMITS as LIMITS
from tidegate.model.outcome import Outcome, Phase, nothing_confirmed
from tidegate.model.resources import Resource
from tidegate.model.roster import HOST, NO_CARD, SHARES, one_unbounded_server
from tidegate.model.snapshot import Snapshot
from tidegate.testing import roster_of
from tidegate.wire import frames, orders
from tidegate.wire.card.v1 import telemetry_pb2 as pb

RESOURCES = (Resource.CPU, Resource.MEMORY)
NANOSECONDS = 10**9


class Time:
    """One clock for all; whoever's clock is wrong adds to it."""

    def __init__(self):
        self.seconds = 1_700_000_000.0

    def nanoseconds(self):
        return round(self.seconds * NANOSECONDS)


class MemoryServer:
    """A server whose workloads want what they are told to, and get what they hold."""

    def __init__(self, time, workloads, capacity=4.0):
        self.time, self.resources = time, RESOURCES
        self.capacity = np.full((2, workloads), capacity, dtype=np.float32)
        self.grant = self.capacity.copy()
        self.demand = np.full((2, workloads), 1.0, dtype=np.float32)
        self.settable = np.ones((2, workloads), dtype=np.bool_)
        self.submitted, self.confirmed = [], []
        self.named([f"vm-{at}" for at in range(workloads)])

    def named(self, names):
        self.roster = roster_of(len(names), resources=2, names=names, ids=np.arange(len(names)) + 1)

    def now_seconds(self):
        return int(self.time.seconds)

    def read(self):
        grant = np.zeros((SHARES, *self.grant.shape), dtype=np.float32)
        grant[HOST] = self.grant
        used = np.minimum(self.demand, self.grant)
        return Snapshot(
            time_seconds=self.now_seconds(),
            step_seconds=1,
            resources=RESOURCES,
            roster=self.roster,
            places=one_unbounded_server(2),
            host=np.zeros(self.grant.shape[1], dtype=np.int32),
            card=np.full(self.grant.shape[1], NO_CARD, dtype=np.int32),
            used=used,
            capacity=self.capacity,
            pressed=self.demand > used,
            grant=grant,
            in_flight=np.zeros_like(grant),
        )

    def submit(self, actions):
        self.submitted.append(actions)
        self.grant = self.grant.copy()
        self.grant[actions.resource_row, actions.workload] = actions.amount_to
        self.confirmed.append(
            Outcome(
                workload_id=actions.workload_id,
                resource_row=actions.resource_row,
                share=actions.share,
                phase=np.full(len(actions), Phase.APPLIED, dtype=np.uint8),
                amount_read_back=actions.amount_to,
            )
        )

    def collect(self):
        if not self.confirmed:
            return nothing_confirmed()
        return self.confirmed.pop(0)


class Wire:
    """One agent's stream to a device; ``cut`` loses everything."""

    def __init__(self, agent, devices):
        self.agent, self.devices, self.cut, self.version = agent, devices, False, None
        self.agent.step()
        self.connect()

    def connect(self):
        hello = frames.greeting_message(self.agent.greeting())
        self.greeting = frames.greeting_record(pb.Hello.FromString(hello.SerializeToString()))
        self.devices.greet(self.greeting)
        self.agent.heard()
        self.version = None

    def sample(self):
        snapshot = self.agent.step()
        if self.cut:
            return
        if self.agent.who.version != self.version:
            self.version = self.agent.who.version
            sent = frames.roster_message(self.agent.who).SerializeToString()
            self.who = frames.roster_record(pb.RosterColumns.FromString(sent), len(RESOURCES))
            self.devices.roster(self.greeting.server, self.who)
        sent = frames.batch_message(snapshot, number=self.agent.number, roster_version=self.version)
        batch = pb.Batch.FromString(sent.SerializeToString())
        self.devices.sample(self.greeting.server, frames.sample_record(batch, self.who))
        self.agent.heard()

    def deliver(self):
        while not self.cut and (waiting := self.devices.next_orders(self.greeting.server)) is not None:
            sent = orders.orders_message(waiting).SerializeToString()
            done = self.agent.carry_out(orders.orders_record(pb.Orders.FromString(sent), len(RESOURCES)))
            back = orders.outcomes_message(done).SerializeToString()
            said = orders.outcomes_record(pb.Outcomes.FromString(back), len(RESOURCES))
            self.devices.outcomes(self.greeting.server, said)


class Card:
    """A device with agents around it."""

    def __init__(self, folder):
        self.folder, self.time, self.wires = folder, Time(), {}
        self.begin(epoch=1)

    def begin(self, epoch):
        self.servers = Servers(
            card="card",
            epoch=epoch,
            now_nanoseconds=self.time.nanoseconds,
            step_seconds=1,
            resources=RESOURCES,
        )
        self.loop = device_loop(
            self.servers,
            resources=RESOURCES,
            step_seconds=1,
            policy_name="reactive",
        )

    def agent(self, name, server, **other):
        return Agent(
            name=name,
            server=server,
            loop_over=lambda watched: baseline_loop(watched, step_seconds=1, limits=LIMITS),
            folder=self.folder / name,
            step_seconds=1,
            incarnation=f"{name}-1",
            now_nanoseconds=self.time.nanoseconds,
            **other,
        )

    def add(self, name, workloads, **other):
        server = MemoryServer(self.time, workloads, **other)
        self.wires[name] = Wire(self.agent(name, server), self.servers)
        return server

    def turn(self, times=1):
        tick = None
        for _ in range(times):
            self.time.seconds += 1
            for wire in self.wires.values():
                wire.sample()
            tick = self.loop.tick()
            for wire in self.wires.values():
                wire.deliver()
        return tick


@pytest.fixture
def card(tmp_path):
    return Card(tmp_path)
