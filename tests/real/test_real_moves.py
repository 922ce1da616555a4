"""VMs that move while they run: real QEMU guests, emulated, by QMP and between two libvirts of our own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tidegate.app.moving import forecast_of, way_of
from tidegate.drivers.libvirt.moving.daemons import DaemonWay
from tidegate.drivers.libvirt.moving.emulators import EmulatorWay
from tidegate.drivers.libvirt.moving.mover import Mover, reconciled
from tidegate.drivers.libvirt.moving.orders import MoveOrder, MovePhase
from tidegate.drivers.libvirt.moving.port import Place
from tidegate.drivers.libvirt.moving.qmp import GoneError, Qmp
from tidegate.drivers.libvirt.server import LibvirtServer
from tidegate.drivers.local.clock import SystemClock
from tidegate.lab.bench.guests.agent import GuestAgent
from tidegate.lab.bench.guests.domain import GuestSpec
from tidegate.lab.bench.guests.emulator import emulator_command
from tidegate.lab.bench.guests.image import built_image
from tidegate.lab.bench.guests.pair import lent_pair
from tidegate.lab.bench.vm.leftovers import standing
from tidegate.model.errors import InputError
from tidegate.model.refusals import Refusal

pytestmark = [pytest.mark.root, pytest.mark.slow]

MIB = 2**20
WRITTEN = 32 * MIB
SLOW = MoveOrder(bytes_per_second_max=12 * MIB, is_storage_shared=True)
"""A move that takes ten seconds: time to see it, and to break it."""


class Emulators:
    """One guest on emulators alone, at whichever control socket it is now."""

    def __init__(self, folder):
        self.folder, self.image, self.number = folder, built_image(), 0
        self.spec = GuestSpec(name="g0", folder=folder, memory_bytes=192 * MIB)
        qmp = f"unix:{folder}/0,server=on,wait=off"
        self.child = subprocess.Popen([*emulator_command(self.spec, self.image), "-qmp", qmp])
        Qmp(folder / "0", seconds=10).close()
        self.agent = GuestAgent(self.spec.socket)
        self.agent.wait()

    def ask(self, request):
        return self.agent.ask(request, seconds=30)

    def way(self):
        there = replace(self.spec, name=f"g{self.number + 1}")
        return EmulatorWay(
            name="guest",
            uuid="11",
            source=self.folder / str(self.number),
            target=self.folder / str(self.number + 1),
            command=emulator_command(there, self.image),
        )

    def arrived(self):
        self.number += 1
        self.spec = replace(self.spec, name=f"g{self.number}")
        self.agent.close()
        self.agent = GuestAgent(self.spec.socket)
        self.agent.wait()

    def running(self):
        """The control sockets at which somebody answers."""
        found = []
        for path in sorted(self.folder.glob("[0-9]*")):
            with suppress(GoneError):
                Qmp(path).close()
                found.append(int(path.name))
        return found

    def close(self):
        self.agent.close()
        for path in self.folder.glob("[0-9]*"):
            with suppress(GoneError):
                there = Qmp(path)
                there.ask("quit")
                assert there.hung_up(10)
                there.close()
        self.child.wait(10)


@pytest.fixture
def emulators():
    with tempfile.TemporaryDirectory(prefix="tgq-") as folder:
        try:
            made = Emulators(Path(folder))
        except (InputError, FileNotFoundError) as error:
            pytest.skip(f"no emulators here: {error}")
        yield made
        made.close()


def test_a_guest_moves_by_qmp_and_keeps_its_memory(emulators):
    emulators.ask(f"dirty 15000000 {WRITTEN}")
    mover = Mover(folder=emulators.folder / "moves")
    for order in (
        MoveOrder(bytes_per_second_max=48 * MIB),
        MoveOrder(bytes_per_second_max=24 * MIB, post_copy=True, post_copy_after_seconds=0.5),
    ):
        way = emulators.way()
        measured = way.measure(2)
        assert measured.dirty_bytes_per_second == pytest.approx(15e6, rel=0.4)
        record = mover.move(way, order)
        assert record.phase is MovePhase.SUCCEEDED, record
        assert record.was_post_copied == order.post_copy
        emulators.arrived()
        assert emulators.ask("check")["bad"] == "0"
        assert emulators.running() == [emulators.number]
        if not order.post_copy:
            assert forecast_of(measured, order, 1e9).seconds == pytest.approx(record.memory_seconds, rel=0.5)
            assert record.downtime_seconds < order.downtime_seconds_max


def test_a_guest_outlives_a_target_that_is_killed_on_the_way(emulators):
    emulators.ask(f"dirty 5000000 {WRITTEN}")

    killed = []

    def kill(progress):
        if progress.bytes_sent > 8 * MIB and not killed:
            there = Qmp(emulators.folder / "1")
            killed.append(there.pid)
            there.close()
            os.kill(killed[0], signal.SIGKILL)

    record = Mover(folder=emulators.folder / "moves", told=kill).move(emulators.way(), SLOW)
    assert record.phase is MovePhase.FAILED
    assert emulators.running() == [0]
    assert emulators.ask("check")["bad"] == "0"
    record = Mover(folder=emulators.folder / "moves").move(emulators.way(), MoveOrder())
    assert record.phase is MovePhase.SUCCEEDED
    emulators.arrived()
    assert emulators.ask("check")["bad"] == "0"


KILLED = """
import os, sys
from pathlib import Path
from tidegate.drivers.libvirt.moving.mover import Mover
from tidegate.drivers.libvirt.moving.orders import MoveOrder
def told(progress):
    if progress.bytes_sent > 16 * 2**20:
        os.kill(os.getpid(), 9)
def go(way, notes):
    order = MoveOrder(bytes_per_second_max=12 * 2**20, is_storage_shared=True)
    Mover(folder=Path(notes), told=told).move(way, order)
"""


def test_what_a_mover_killed_by_nine_left_is_put_right_by_qmp(emulators):
    emulators.ask(f"dirty 5000000 {WRITTEN}")
    way = emulators.way()
    script = (
        f"{KILLED}\nfrom tidegate.drivers.libvirt.moving.emulators import EmulatorWay\n"
        "way = EmulatorWay(name='guest', uuid='11', source=Path(sys.argv[1]), target=Path(sys.argv[2]),\n"
        "    command=sys.argv[4:])\ngo(way, sys.argv[3])\n"
    )
    notes = emulators.folder / "moves"
    command = emulator_command(replace(emulators.spec, name="g1"), emulators.image)
    words = [sys.executable, "-c", script, way.route.source, way.route.target, str(notes), *command]
    assert subprocess.run(words, check=False, timeout=60).returncode == -signal.SIGKILL
    assert emulators.running() == [0, 1]
    (found,) = reconciled(way_of, notes)
    assert found.place is Place.SOURCE
    assert emulators.running() == [0]
    assert list(notes.iterdir()) == []
    assert emulators.ask("check")["bad"] == "0"


@pytest.fixture(scope="module")
def pair():
    try:
        with lent_pair() as made:
            yield made
    except InputError as error:
        pytest.skip(f"no real VMs here: {error}")


@pytest.fixture
def guest(pair):
    """A guest at the first host, that rewrites memory; wherever it goes, it ends with the test."""
    spec = pair.first.spec(
        "mover", memory_bytes=192 * MIB, vcpus_max=2, disk_bytes=16 * MIB, tap=f"tgm{os.getpid() % 10**7}"
    )
    (made,) = pair.first.boot(spec)
    made.ask(f"dirty 8000000 {WRITTEN}")
    yield made
    pair.end(made)
    spec.disk.unlink()


def names(pair):
    return [[one.name() for one in host.connection.listAllDomains()] for host in (pair.first, pair.second)]


def test_a_guest_moves_between_libvirts_there_and_back(pair, guest):
    order = MoveOrder(bytes_per_second_max=48 * MIB, is_storage_shared=True)
    stands = standing(pair, "mover", guest.spec.tap)
    there, moved = pair.move(guest, pair.first, order)
    assert there.phase is MovePhase.SUCCEEDED, there
    assert names(pair) == [[], ["moverb"]]
    assert moved.ask("check")["bad"] == "0"
    back, moved = pair.move(moved, pair.second, order)
    assert back.phase is MovePhase.SUCCEEDED, back
    assert names(pair) == [["mover"], []]
    assert moved.ask("check")["bad"] == "0"
    # Nothing more than before, and what is left behind would have been seen.
    assert standing(pair, "mover", guest.spec.tap) == stands
    assert {one.split()[0] for one in stands} == {"process", "tap", "group", "socket", "domain"}
    for record in (there, back):
        assert 0 < record.downtime_seconds < 1
        assert record.bytes_sent > WRITTEN
        assert record.rounds > 1
    moved.agent.close()


def test_a_limit_of_ours_does_not_stay_with_a_guest_that_moved(pair, guest, tmp_path):
    ledger = tmp_path / "ledger.json"
    with LibvirtServer(
        pair.first.uri,
        step_seconds=1,
        clock=SystemClock(),
        chosen=["mover"],
        act=["mover"],
        ledger_path=ledger,
    ):
        guest.domain.setSchedulerParametersFlags({"vcpu_quota": 70_000}, 1)
        note = {"original": -1, "ours": [-1, 70_000]}
        book = {"mover": {"name": "mover", "instance": guest.domain.ID(), "settings": {"vcpu_quota": note}}}
        ledger.write_text(json.dumps({"pid": 1, "domains": {guest.uuid: book["mover"]}}))
        way = DaemonWay(
            name="mover",
            source=pair.first.uri,
            target=pair.second.uri,
            uri=f"unix://{pair.channel(pair.second)}",
            target_xml=pair.way(guest, pair.first)._target_xml,
            target_name="moverb",
            ledger_path=ledger,
        )
        record = Mover(folder=tmp_path / "moves").move(way, MoveOrder(is_storage_shared=True))
        way.close()
    assert record.phase is MovePhase.SUCCEEDED, record
    there = pair.second.connection.lookupByName("moverb")
    assert there.schedulerParametersFlags(1)["vcpu_quota"] == -1


def test_a_move_between_libvirts_is_stopped(pair, guest):
    began = time.monotonic()
    record, _ = pair.move(guest, pair.first, SLOW, is_stopped=lambda: time.monotonic() - began > 2)
    assert record.phase is MovePhase.ABORTED
    assert names(pair) == [["mover"], []]
    assert guest.ask("check")["bad"] == "0"


def test_what_can_not_be_moved_is_refused_and_runs_on(pair, guest):
    way = pair.way(guest, pair.first)
    with pytest.raises(Refusal, match="a disk on this host only"):
        way.check(MoveOrder())
    way.close()
    same = DaemonWay(name="mover", source=pair.first.uri, target=pair.first.uri)
    with pytest.raises(Refusal, match="on that host already"):
        same.check(SLOW)
    same.close()
    with pytest.raises(Refusal, match="no VM 'nobody'"):
        DaemonWay(name="nobody", source=pair.first.uri, target=pair.second.uri)
    assert names(pair) == [["mover"], []]
    assert guest.ask("check")["bad"] == "0"


def test_what_a_mover_killed_by_nine_left_is_put_right_by_libvirt(pair, guest, tmp_path):
    script = (
        f"{KILLED}\nfrom tidegate.drivers.libvirt.moving.daemons import DaemonWay\n"
        "way = DaemonWay(name='mover', source=sys.argv[1], target=sys.argv[2], uri=sys.argv[3],\n"
        "    target_name='moverb', target_xml=Path(sys.argv[5]).read_text())\ngo(way, sys.argv[4])\n"
    )
    way = pair.way(guest, pair.first)
    (tmp_path / "there.xml").write_text(way._target_xml)
    way.close()
    words = [pair.first.uri, pair.second.uri, f"unix://{pair.channel(pair.second)}", str(tmp_path / "moves")]
    done = subprocess.run(
        [sys.executable, "-c", script, *words, str(tmp_path / "there.xml")], check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    (found,) = reconciled(way_of, tmp_path / "moves")
    assert found.place is Place.SOURCE, found
    assert names(pair) == [["mover"], []]
    assert guest.ask("check")["bad"] == "0"
    assert list((tmp_path / "moves").iterdir()) == []


@pytest.fixture
def command(pair, guest, tmp_path):
    """What a person types to move the guest, as far as it goes for two hosts on one machine."""
    way = pair.way(guest, pair.first)
    (tmp_path / "there.xml").write_text(way._target_xml)
    way.close()
    run = "from tidegate.cli.main import main; main()"
    words = [sys.executable, "-c", run, "migrate", "mover", "--from", pair.first.uri, "--to", pair.second.uri]
    words += ["--shared-storage", "--bandwidth", "12MiB", "--notes", str(tmp_path / "moves")]
    words += ["--xml", str(tmp_path / "there.xml"), "--name", "moverb"]
    return [*words, "--through", f"unix://{pair.channel(pair.second)}"]


def said(words):
    return subprocess.run(words, capture_output=True, check=False, text=True, timeout=120)


def test_people_move_a_vm_after_they_were_told_what_it_takes(pair, guest, command, tmp_path):
    # QEMU samples some hundred pages of so small a guest: each that it finds written counts for 2 MB/s. So
    # far below the limit, or chance alone decides what is forecast.
    guest.ask(f"dirty 500000 {WRITTEN}")
    dry = said([*command, "--dry-run"])
    assert "its move will take about" in dry.stdout, dry
    assert names(pair) == [["mover"], []]
    done = said([*command, "--json", str(tmp_path / "move.json")])
    assert "moverb" not in done.stderr, done
    assert "mover runs at" in done.stdout
    assert names(pair) == [[], ["moverb"]]
    told = json.loads((tmp_path / "move.json").read_text())
    assert told["move"]["phase"] == "succeeded"
    assert told["forecast"]["seconds"] == pytest.approx(told["move"]["memory_seconds"], rel=0.5)
    moved = pair.found(guest, pair.second)
    assert moved.ask("check")["bad"] == "0"
    moved.agent.close()


def test_ctrl_c_stops_a_move_and_leaves_the_vm_where_it_is(pair, guest, command, tmp_path):
    moving = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while guest.domain.jobStats().get("memory_processed", 0) < 4 * MIB:
        assert time.monotonic() < deadline, "it did not begin"
        time.sleep(0.1)
    moving.send_signal(signal.SIGINT)
    _, why = moving.communicate(timeout=60)
    assert moving.returncode == 1
    assert "was not moved and goes on where it was: it was stopped on request" in why
    assert names(pair) == [["mover"], []]
    assert guest.ask("check")["bad"] == "0"
    run = "from tidegate.cli.main import main; main()"
    left = said([sys.executable, "-c", run, "migrate", "--reconcile", "--notes", str(tmp_path / "moves")])
    assert "Nothing to put right" in left.stdout


def test_a_vm_whose_move_libvirt_refuses_goes_on(pair, guest, command):
    # Without its XML for the other host the tap is taken: both hosts are one machine.
    at = command.index("--xml")
    done = said([*command[:at], *command[at + 2 :]])
    assert done.returncode == 1
    assert "was not moved and goes on where it was" in done.stderr
    assert names(pair) == [["mover"], []]
