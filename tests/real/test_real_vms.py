"""The driver of VMs on real QEMU guests, emulated: read, resized, refused, given back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import fields, replace

import numpy as np
import pytest

from tidegate.drivers.libvirt.server import LibvirtServer
from tidegate.drivers.local.clock import SystemClock
from tidegate.lab.bench.guests.running import lent
from tidegate.model.errors import InputError
from tidegate.model.outcome import Phase
from tidegate.model.roster import HOST
from tidegate.testing import ManualClock, driver_checks
from tidegate.testing.check_driver import resized

pytestmark = [pytest.mark.root, pytest.mark.slow]

CPU, MEMORY, NETWORK, STORAGE = range(4)
MIB = 2**20
POLICY = "urn:tidegate:policy:1"
SETTLE_SECONDS = 60
OF_REAL_GUESTS = (
    "nothing_is_confirmed_before_it_is_asked",
    "each_action_is_confirmed_exactly_once",
    "in_flight_is_what_is_not_yet_confirmed",
    "overlapping_actions_leave_nothing_in_flight",
    "no_action_is_no_action",
)
"""What holds of one fleet that does not stand still: no two looks at real guests see the same use."""


@pytest.fixture(scope="module")
def vms():
    """A hypervisor with three guests that serve all tests here; who can't have it is told."""
    try:
        with lent() as host:
            specs = [
                host.spec("roomy", memory_bytes=768 * MIB, vcpus=2, vcpus_max=4, disk_bytes=64 * MIB),
                host.spec("tight", disk_bytes=64 * MIB, words="swap=vda", tap=f"tgt{os.getpid() % 10**6}"),
                host.spec("plugged", plugged_bytes_max=256 * MIB),
            ]
            host.guests = dict(zip(("roomy", "tight", "plugged"), host.boot(*specs), strict=True))
            yield host
    except InputError as error:
        pytest.skip(f"no real VMs here: {error}")


@pytest.fixture
def server_of(vms, tmp_path):
    """Makes servers that see and may change one guest; what they changed is given back."""
    made = []

    def make(name, **options):
        given = {"step_seconds": 1, "clock": SystemClock(), "ledger_path": tmp_path / f"{len(made)}.json"}
        server = LibvirtServer(vms.uri, chosen=[name], act=[name], **(given | options))
        made.append(server)
        return server

    yield make
    for server in made:
        server.close()


def resize(server, row, ratio):
    """Ask for one resource, wait until it is done, and return what is held and what became of it."""
    actions = resized(server.read(), ratio)
    rows = actions.resource_row == row
    own = {
        field.name: getattr(actions, field.name)[rows]
        for field in fields(actions)
        if isinstance(getattr(actions, field.name), np.ndarray)
    }
    server.submit(replace(actions, **own))
    assert server.settle(SETTLE_SECONDS)
    return server.read(), server.collect()


def wait_until(holds, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


class Paced:
    """A server of one real guest and the pace its caller keeps: all is done before each read."""

    def __init__(self, server_of):
        self._clock = ManualClock(int(time.time()))
        self._server = server_of("roomy", clock=self._clock)
        self.now_seconds, self.submit = self._clock.now_seconds, self._server.submit
        self.collect = self._server.collect

    def read(self):
        assert self._server.settle(SETTLE_SECONDS)
        self._clock.advance(1)
        return self._server.read()


@pytest.mark.parametrize("name", OF_REAL_GUESTS)
def test_the_driver_keeps_on_a_real_guest(name, server_of):
    {one.name: one for one in driver_checks(lambda: Paced(server_of), patience_ticks=4)}[name]()


def test_a_guests_use_is_seen_from_outside(vms, server_of):
    server, guest = server_of("tight"), vms.guests["tight"]
    server.read()
    idle = server.read()
    guest.ask("burn 1")
    guest.ask(f"hold {64 * MIB}")
    time.sleep(2.5)
    server.read()
    time.sleep(1.5)
    busy = server.read()
    inside = guest.ask("report")
    guest.ask("burn 0")
    guest.ask("hold 0")
    assert busy.used[CPU, 0] > 0.5
    assert busy.used[MEMORY, 0] - idle.used[MEMORY, 0] > 50 * MIB
    left = busy.grant[HOST, MEMORY, 0] - busy.used[MEMORY, 0]
    assert left == pytest.approx(float(inside["available_bytes"]), abs=16 * MIB)


def test_a_quota_holds_at_once(vms, server_of):
    server, guest = server_of("roomy"), vms.guests["roomy"]
    guest.ask("burn 2")
    snapshot, outcome = resize(server, CPU, 0.2)
    assert outcome.phase.tolist() == [Phase.APPLIED]
    server.read()
    time.sleep(2)
    snapshot = server.read()
    guest.ask("burn 0")
    assert snapshot.used[CPU, 0] == pytest.approx(0.4, abs=0.06)
    assert snapshot.pressed[CPU, 0]
    server.close()
    assert guest.domain.schedulerParametersFlags(1)["vcpu_quota"] == -1


def test_a_guest_keeps_what_it_uses_and_does_not_swap_for_us(vms, server_of):
    server, guest = server_of("tight"), vms.guests["tight"]
    guest.ask(f"hold {80 * MIB}")
    before = int(guest.ask("report")["pswpout"])
    time.sleep(2)
    server.read()
    _, outcome = resize(server, MEMORY, 0.3)
    assert outcome.phase.tolist() == [Phase.PARTIAL]
    inside = guest.ask("report")
    assert int(inside["pswpout"]) == before
    assert int(inside["available_bytes"]) > 16 * MIB
    assert guest.ask("check")["bad"] == "0"
    guest.ask("hold 0")
    server.close()
    wait_until(lambda: guest.domain.memoryStats()["actual"] == 256 * 1024)


def test_a_guest_without_a_system_is_not_asked_for_memory(vms, server_of):
    (guest,) = vms.boot(vms.spec("firmware", has_system=False, memory_bytes=128 * MIB))
    server = server_of("firmware")
    snapshot, outcome = resize(server, MEMORY, 0.5)
    assert outcome.phase.tolist() == [Phase.REFUSED]
    assert np.isnan(snapshot.used[MEMORY, 0])
    _, outcome = resize(server, CPU, 0.5)
    assert outcome.phase.tolist() == [Phase.APPLIED]
    guest.domain.destroy()
    assert len(server.read().roster) == 0


def test_memory_is_plugged_and_unplugged(vms, server_of):
    guest = vms.guests["plugged"]
    guest.domain.setMetadata(2, f'<policy memory_bytes_max="{384 * MIB}"/>', "tidegate", POLICY, 1)
    server = server_of("plugged")
    had = int(guest.ask("report")["total_bytes"])
    time.sleep(2)
    snapshot = server.read()
    assert snapshot.capacity[MEMORY, 0] == 384 * MIB
    snapshot, outcome = resize(server, MEMORY, 1.0)
    assert outcome.phase.tolist() == [Phase.APPLIED]
    assert snapshot.grant[HOST, MEMORY, 0] == 384 * MIB
    wait_until(lambda: int(guest.ask("report")["total_bytes"]) - had > 100 * MIB)
    assert server.close().refused == ()
    wait_until(lambda: int(guest.ask("report")["total_bytes"]) == had)


def test_a_disk_is_as_fast_as_it_may_be(vms, server_of):
    guest = vms.guests["roomy"]
    words = '<policy storage_bytes_per_second_max="2000000"/>'
    guest.domain.setMetadata(2, words, "tidegate", POLICY, 1)
    server = server_of("roomy")
    _, outcome = resize(server, STORAGE, 0.5)
    assert outcome.phase.tolist() == [Phase.APPLIED]
    started = time.monotonic()
    guest.ask("run dd if=/dev/zero of=/dev/vda bs=256k count=16 oflag=direct 2>&1", seconds=60)
    assert time.monotonic() - started > 2.5
    server.close()
    assert guest.domain.blockIoTune("vda", 1)["total_bytes_sec"] == 0


def test_a_tap_is_limited_and_what_is_not_limited_is_told(vms, server_of):
    guest = vms.guests["tight"]
    words = '<policy network_bytes_per_second_max="2000000"/>'
    guest.domain.setMetadata(2, words, "tidegate", POLICY, 1)
    server = server_of("tight")
    snapshot, outcome = resize(server, NETWORK, 0.5)
    assert outcome.phase[0] in {Phase.APPLIED, Phase.PARTIAL}  # not every kernel can police what it sends
    assert snapshot.grant[HOST, NETWORK, 0] == 1_000_000
    told = subprocess.run(["tc", "qdisc", "show", "dev", guest.spec.tap], capture_output=True, check=True)
    assert b"tbf" in told.stdout
    assert b"rate 8Mbit" in told.stdout
    server.close()
    told = subprocess.run(["tc", "qdisc", "show", "dev", guest.spec.tap], capture_output=True, check=True)
    assert b"tbf" not in told.stdout


def test_after_a_restart_of_the_daemon_all_goes_on(vms, server_of):
    server, guest = server_of("roomy"), vms.guests["roomy"]
    resize(server, CPU, 0.5)
    vms.daemon.stop()
    blind = server.read()
    assert np.isnan(blind.used).all()
    assert blind.grant[HOST, CPU, 0] == 1.0
    vms.daemon.start()
    vms.reconnect()
    wait_until(lambda: not np.isnan(server.read().used[CPU, 0]), 20)
    assert server.read().grant[HOST, CPU, 0] == 1.0
    _, outcome = resize(server, CPU, 0.75)
    assert outcome.phase.tolist() == [Phase.APPLIED]
    domain = vms.connection.lookupByName("roomy")
    vms.guests["roomy"] = replace(guest, domain=domain)
    assert server.close().restored == ("roomy: vcpu_quota",)


def test_what_a_killed_process_changed_is_released_by_name(vms, tmp_path):
    ledger = tmp_path / "left.json"
    script = (
        "import os, sys, time\n"
        "from tidegate.drivers.libvirt.server import LibvirtServer\n"
        "from tidegate.drivers.local.clock import SystemClock\n"
        "from tidegate.testing.check_driver import resized\n"
        "from pathlib import Path\n"
        "server = LibvirtServer(sys.argv[1], step_seconds=1, clock=SystemClock(), chosen=['roomy'],\n"
        "    act=['*'], ledger_path=Path(sys.argv[2]))\n"
        "server.submit(resized(server.read(), 0.8))\n"
        "server.settle(30)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, vms.uri, ledger], check=False, timeout=60)
    domain = vms.connection.lookupByName("roomy")
    assert domain.schedulerParametersFlags(1)["vcpu_quota"] == 80_000
    assert domain.memoryStats()["actual"] < 768 * 1024
    run = "from tidegate.cli.main import main; main()"
    words = ["release", "roomy", "--driver", f"libvirt={vms.uri}", "--ledger", str(ledger)]
    done = subprocess.run(
        [sys.executable, "-c", run, *words], capture_output=True, check=True, text=True, timeout=60
    )
    assert "roomy: vcpu_quota" in done.stdout
    assert domain.schedulerParametersFlags(1)["vcpu_quota"] == -1
    wait_until(lambda: domain.memoryStats()["actual"] == 768 * 1024)


def test_vcpus_come_go_and_an_emulator_outlives_it(vms, server_of):
    """Last: an emulated QEMU takes a vCPU once only."""
    guest = vms.guests["roomy"]
    domain = vms.connection.lookupByName("roomy")
    domain.setMetadata(2, '<policy plug="yes"/>', "tidegate", POLICY, 1)
    server = server_of("roomy")
    snapshot, outcome = resize(server, CPU, 1.0)
    assert outcome.phase.tolist() == [Phase.APPLIED]
    assert snapshot.grant[HOST, CPU, 0] == 4
    wait_until(lambda: guest.ask("report")["cpus"] == "4")
    snapshot, outcome = resize(server, CPU, 0.3)
    assert outcome.phase.tolist() == [Phase.APPLIED]
    assert snapshot.grant[HOST, CPU, 0] == np.float32(1.2)
    assert (domain.vcpusFlags(1), guest.ask("report")["cpus"]) == (2, "2")
    snapshot, outcome = resize(server, CPU, 1.0)
    assert outcome.phase.tolist() == [Phase.PARTIAL]
    assert snapshot.grant[HOST, CPU, 0] == 2
    assert guest.ask("echo said=there") == {"said": "there"}
