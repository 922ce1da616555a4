"""VRAL from inside a real guest: through its virtio-serial port to its quota and its balloon, and back."""

from __future__ import annotations

import contextlib
import json
import time

import pytest

from tidegate.agents.agent.agent import Agent
from tidegate.agents.servers.loop import baseline_loop
from tidegate.agents.vral.serving import opened
from tidegate.app.servers import doors_of
from tidegate.drivers.libvirt.server import LibvirtServer
from tidegate.drivers.local.clock import SystemClock
from tidegate.lab.bench.guests.image import VRAL_PROGRAM
from tidegate.lab.bench.guests.running import lent
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.model.roster import HOST
from tidegate.testing.check_driver import resized

pytestmark = [pytest.mark.root, pytest.mark.slow]

CPU, MEMORY = 0, 1
MIB = 2**20
ALONE_NANOSECONDS = 120 * 10**9
STEPS_MAX = 40


class Server:
    """One hypervisor's agent that decides alone, as a minute after its device was lost."""

    def __init__(self, host, folder):
        self.host, self.folder, self.clock = host, folder, SystemClock()
        self.ahead = 0

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.driver = self.stack.enter_context(
            LibvirtServer(
                self.host.uri,
                step_seconds=1,
                clock=self.clock,
                act=["*"],
                ledger_path=self.folder / "ledger.json",
            )
        )
        self.vral = self.stack.enter_context(
            opened(
                self.driver,
                self.folder / "vral",
                boot="this one",
                machine={Resource.CPU: 8.0, Resource.MEMORY: 8e9},
                forwards_seconds=self.clock.forwards_seconds,
                doors=lambda: doors_of(self.driver),
            )
        )
        self.agent = Agent(
            name="server",
            server=self.vral.server,
            loop_over=lambda watched: baseline_loop(watched, step_seconds=1),
            folder=self.folder / "agent",
            step_seconds=1,
            incarnation="1",
            now_nanoseconds=lambda: self.clock.now_nanoseconds() + self.ahead,
            thought=self.vral.look,
        )
        self.ahead = ALONE_NANOSECONDS
        self.until(lambda: "claims" in self.vral.desk._market.rows)
        return self

    def __exit__(self, *_):
        self.stack.close()

    def until(self, holds):
        """Step until something holds."""
        for _ in range(STEPS_MAX):
            self.agent.step()
            time.sleep(0.25)
            if holds():
                return
        raise AssertionError("it did not come about in time")

    def give(self, row, ratio):
        """Have the guest hold a part of one resource before it claims."""
        actions = resized(self.driver.read(), ratio)
        keep = actions.resource_row == row
        kept = {
            name: getattr(actions, name)[keep]
            for name in type(actions).__dataclass_fields__
            if getattr(getattr(actions, name), "shape", None) == keep.shape
        }
        self.driver.submit(type(actions)(**{**_fields(actions), **kept}))
        assert self.driver.settle(60)
        self.until(lambda: self.held(row) < (ratio + 0.05) * self.sold(row))

    def held(self, row):
        return float(self.agent._snapshot.grant[HOST, row, 0])

    def sold(self, row):
        return float(self.agent._snapshot.capacity[row, 0])


def _fields(actions):
    return {name: getattr(actions, name) for name in type(actions).__dataclass_fields__}


@pytest.fixture(scope="module")
def guest():
    try:
        with lent() as host:
            (one,) = host.boot(host.spec("claims", vcpus=2, memory_bytes=512 * MIB))
            yield host, one
    except InputError as error:
        pytest.skip(f"no real VMs here: {error}")


@pytest.fixture
def server(guest, tmp_path):
    with Server(guest[0], tmp_path) as server:
        yield server


@pytest.fixture
def inside(guest):
    """Run the program for tiny guests inside; returns its exit code and what it said."""

    def run(*words):
        answer = guest[1].ask(f"run {VRAL_PROGRAM} - {' '.join(words)}")
        return int(answer["exit"]), json.loads(answer["said"])

    return run


def test_a_claim_is_answered_and_its_lease_is_the_guests_own(server, inside):
    code, said = inside("claim", "cpu", "0.5")
    assert (code, said["lease"]["health"]) == (0, "healthy")
    assert [one.vm for one in server.vral.desk.leases] == ["claims"]
    assert inside("release", said["lease"]["lease"])[0] == 0
    assert server.vral.desk.leases == ()


def test_a_shortfall_of_cpu_becomes_quota_and_is_healthy_once_read_back(server, inside):
    server.give(CPU, 0.25)
    code, said = inside("claim", "cpu", "1.5")
    assert (code, said["lease"]["health"]) == (0, "applying")
    server.until(lambda: inside("list")[1]["leases"][0]["health"] == "healthy")
    assert server.held(CPU) >= 1.5 * 0.99


def test_a_shortfall_of_memory_lets_the_balloon_out(server, inside):
    server.give(MEMORY, 0.75)
    code, said = inside("claim", "memory", str(500 * MIB))
    assert (code, said["lease"]["health"]) == (0, "applying")
    server.until(lambda: inside("list")[1]["leases"][0]["health"] == "healthy")
    assert server.held(MEMORY) >= 500 * MIB * 0.99


def test_failure_names_what_is_missing(server, inside):
    code, said = inside("claim", "cpu", "3")
    assert (code, said["error"]["code"], said["error"]["missing"]) == (1, "short", 1.0)


def test_leases_and_the_port_outlive_the_agent(guest, tmp_path, inside):
    with Server(guest[0], tmp_path) as first:
        _, said = inside("claim", "cpu", "1", "ttl_seconds=600")
        kept = first.vral.desk.leases
    with Server(guest[0], tmp_path) as second:
        assert [one.name for one in second.vral.desk.leases] == [one.name for one in kept]
        second.until(lambda: inside("list")[0] == 0)
        (lease,) = inside("list")[1]["leases"]
        assert (lease["lease"], lease["health"]) == (said["lease"]["lease"], "healthy")
