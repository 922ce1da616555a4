"""A real VRAL over a server in memory: its journal, its thread of channels, its sockets, its agent's loop."""

from __future__ import annotations

import contextlib
import functools
import shutil
import subprocess
import tempfile
import time
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from tidegate.agents.agent.agent import Agent
from tidegate.agents.servers.loop import baseline_loop
from tidegate.agents.vral.channels import SOCKET_FILE, guest_folder
from tidegate.agents.vral.serving import opened
from tidegate.app.servers import NO_DOORS
from tidegate.app.wiring import LOCAL_LIMITS
from tidegate.guest.tidegate_vral import Vral
from tidegate.model.outcome import Outcome, Phase, nothing_confirmed
from tidegate.model.resources import Resource
from tidegate.model.roster import HOST, NO_CARD, SHARES, one_unbounded_server
from tidegate.model.snapshot import Snapshot
from tidegate.testing import roster_of

RESOURCES = (Resource.CPU, Resource.MEMORY)
MACHINE = {Resource.CPU: 10.0, Resource.MEMORY: 40.0}
START = 1_700_000_000


class MemoryServer:
    """VMs that were sold four of everything, hold two, and use one."""

    def __init__(self, names):
        self.resources, self.time = RESOURCES, START
        shape = (2, len(names))
        self.capacity = np.full(shape, 4.0, dtype=np.float32)
        self.grant = np.full(shape, 2.0, dtype=np.float32)
        self.used = np.full(shape, 1.0, dtype=np.float32)
        self.settable = np.ones(shape, dtype=np.bool_)
        self.roster = roster_of(len(names), resources=2, names=names, ids=np.arange(len(names)) + 1)
        self.confirmed, self.obeys = [], True

    def now_seconds(self):
        return self.time

    def read(self):
        self.time += 1
        grant = np.zeros((SHARES, *self.grant.shape), dtype=np.float32)
        grant[HOST] = self.grant
        workloads = self.grant.shape[1]
        return Snapshot(
            time_seconds=self.time,
            step_seconds=1,
            resources=RESOURCES,
            roster=self.roster,
            places=one_unbounded_server(2),
            host=np.zeros(workloads, dtype=np.int32),
            card=np.full(workloads, NO_CARD, dtype=np.int32),
            used=np.minimum(self.used, self.grant),
            capacity=self.capacity,
            pressed=self.used > self.grant,
            grant=grant,
            in_flight=np.zeros_like(grant),
        )

    def submit(self, actions):
        if self.obeys:
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
        return self.confirmed.pop(0) if self.confirmed else nothing_confirmed()


class Host:
    """One server's agent, without a device for longer than it waits for one, and its VRAL."""

    def __init__(self, folder, names, **other):
        self.folder, self.names = folder, names
        self.now = 1000.0
        self.driver = MemoryServer(names)
        self.other = other
        self.stack = contextlib.ExitStack()

    def start(self):
        self.vral = self.stack.enter_context(
            opened(
                self.driver,
                self.folder / "v",
                boot=self.other.get("boot", "boot"),
                machine=self.other.get("machine", MACHINE),
                forwards_seconds=lambda: self.now,
                further=self.other.get("further"),
                doors=lambda: self.other.get("doors", NO_DOORS),
            )
        )
        self.agent = Agent(
            name="server",
            server=self.vral.server,
            loop_over=functools.partial(baseline_loop, step_seconds=1, limits=LOCAL_LIMITS),
            folder=self.folder / "agent",
            step_seconds=1,
            incarnation="1",
            now_nanoseconds=lambda: self.driver.time * 10**9,
            thought=self.vral.look,
        )
        self.driver.time += 100  # without a device for so long, it decides itself
        self.step()
        for name in self.names:
            self.wait_for(self.socket(name))
        return self

    def step(self, count=1):
        for _ in range(count):
            self.now += 1
            self.agent.step()

    def socket(self, name):
        return guest_folder(self.folder / "v", name) / SOCKET_FILE

    @staticmethod
    def wait_for(path, *, there=True):
        deadline = time.monotonic() + 10
        while path.exists() is not there:
            assert time.monotonic() < deadline, f"{path} did not come or go"
            time.sleep(0.002)

    def guest(self, name, **other):
        return self.stack.enter_context(Vral(str(self.socket(name)), **other))

    def held(self, name, resource=0):
        return float(self.driver.grant[resource, self.names.index(name)])

    def close(self):
        self.stack.close()


@pytest.fixture
def make_host():
    """Hosts in folders whose paths are short: a socket's has 107 letters."""
    with contextlib.ExitStack() as stack:

        def make(names=("a", "b"), folder=None, **other):
            if folder is None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tv-")))
            host = Host(folder, tuple(names), **other)
            stack.callback(host.close)
            return host.start()

        yield make


@pytest.fixture
def host(make_host):
    return make_host()


@pytest.fixture(scope="session")
def c_driver(tmp_path_factory):
    """The driver for guests without Python, built."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    source = tmp_path_factory.mktemp("vral") / "tidegate_vral.c"
    source.write_bytes(resources.files("tidegate.guest").joinpath("tidegate_vral.c").read_bytes())
    binary = source.with_suffix("")
    subprocess.run([compiler, "-O1", "-Wall", "-Werror", "-o", binary, source], check=True, timeout=60)
    return binary
