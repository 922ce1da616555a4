"""Moves between emulators that speak QMP: what is refused, what is undone, and what a killed mover leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tidegate.app.moving import forecast_of, way_of
from tidegate.drivers.libvirt.moving import emulators
from tidegate.drivers.libvirt.moving.checks import require_room, resident_bytes
from tidegate.drivers.libvirt.moving.daemons import progress_of, used_bytes
from tidegate.drivers.libvirt.moving.emulators import EmulatorWay
from tidegate.drivers.libvirt.moving.mover import Mover, reconciled
from tidegate.drivers.libvirt.moving.notes import Note
from tidegate.drivers.libvirt.moving.orders import Measured, MoveOrder, MovePhase, Progress
from tidegate.drivers.libvirt.moving.port import Place
from tidegate.drivers.libvirt.moving.qmp import GoneError, NobodyError, Qmp, QmpError
from tidegate.drivers.libvirt.moving.storage import require_shared
from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Because, Refusal

FAKE = Path(__file__).with_name("fake_emulator.py")
MIB = 2**20


def command(behaviour):
    return (sys.executable, "-S", "-E", str(FAKE), behaviour)


class Hosts:
    """Emulators started for one test, each at its own socket."""

    def __init__(self, folder):
        self.folder, self.children, self.ways = folder, [], []

    def start(self, name, behaviour, *more):
        path = self.folder / name
        words = [*command(behaviour), "-qmp", f"unix:{path},server=on,wait=off", *more]
        self.children.append(subprocess.Popen(words))
        with_it = Qmp(path, seconds=10)
        with_it.close()
        return path

    def way(self, behaviour="good", *, source="a", target="b"):
        made = EmulatorWay(
            name="web",
            uuid="4a1d",
            source=self.folder / source,
            target=self.folder / target,
            command=command(behaviour),
        )
        self.ways.append(made)
        return made

    def status(self, name):
        """What answers at a socket says it does; None where nobody answers. One at a time is answered."""
        self.hang_up()
        try:
            asked = Qmp(self.folder / name)
        except NobodyError:
            return None
        try:
            return asked.ask("query-status")["status"]
        finally:
            asked.close()

    def hang_up(self):
        for way in self.ways:
            way.close()

    def close(self):
        self.hang_up()
        for path in self.folder.glob("?"):
            with suppress(GoneError):
                there = Qmp(path)
                os.kill(there.pid, signal.SIGKILL)
                there.close()
        for child in self.children:
            child.kill()
            child.wait()


@pytest.fixture
def hosts(tmp_path_factory):
    made = Hosts(tmp_path_factory.mktemp("q"))
    yield made
    made.close()


@pytest.fixture
def mover(tmp_path):
    return Mover(folder=tmp_path / "moves")


def notes(mover):
    return sorted(one.name for one in mover.folder.glob("*"))


def test_a_vm_goes_over_and_all_of_it_is_recorded(hosts, mover):
    hosts.start("a", "good")
    seen = []
    mover.told = seen.append
    record = mover.move(hosts.way(), MoveOrder())
    assert record.phase is MovePhase.SUCCEEDED
    assert (record.memory_seconds, record.downtime_seconds) == (0.4, 0.012)
    assert (record.bytes_sent, record.rounds) == (64 * MIB, 4)
    assert not record.was_post_copied
    assert [one.phase for one in seen] == [MovePhase.PREPARING] * 3 + [MovePhase.SUCCEEDED]
    assert (hosts.status("a"), hosts.status("b")) == (None, "running")
    assert notes(mover) == []
    assert sorted(one.name for one in hosts.folder.glob("?")) == ["b"]


@pytest.mark.parametrize(
    ("behaviour", "why"), [("fails", "Broken pipe"), ("stalls", "nothing went over for 0.3 s")]
)
def test_a_move_that_fails_leaves_the_vm_where_it_is_and_nothing_at_the_target(hosts, mover, behaviour, why):
    hosts.start("a", behaviour)
    record = mover.move(hosts.way("good"), MoveOrder(stall_seconds_max=0.3))
    assert record.phase is MovePhase.FAILED
    assert why in record.reason
    assert (hosts.status("a"), hosts.status("b")) == ("running", None)
    assert [one.name for one in hosts.folder.iterdir()] == ["a"]
    assert notes(mover) == []


def test_a_move_that_takes_too_long_is_given_up(hosts, mover):
    hosts.start("a", "endless")
    record = mover.move(hosts.way(), MoveOrder(seconds_max=0.3))
    assert (record.phase, record.reason) == (MovePhase.FAILED, "it was not over after 0.3 s")
    assert (hosts.status("a"), hosts.status("b")) == ("running", None)


def test_a_move_is_stopped_on_request(hosts, mover):
    hosts.start("a", "endless")
    mover.is_stopped = lambda: True
    record = mover.move(hosts.way(), MoveOrder())
    assert record.phase is MovePhase.ABORTED
    assert (hosts.status("a"), hosts.status("b")) == ("running", None)


def test_what_never_converges_ends_by_post_copy_where_that_is_allowed(hosts, mover, monkeypatch):
    monkeypatch.setattr(emulators, "require_userfault", lambda: None)
    hosts.start("a", "endless")
    record = mover.move(hosts.way(), MoveOrder(post_copy=True, post_copy_after_seconds=0.1))
    assert (record.phase, record.was_post_copied) == (MovePhase.SUCCEEDED, True)
    assert (hosts.status("a"), hosts.status("b")) == (None, "running")


def test_without_userfaultfd_post_copy_is_refused_before_anything_is_started(hosts, mover, monkeypatch):
    def no():
        raise Refusal(Because.UNSUPPORTED, "post-copy is not to be had here")

    monkeypatch.setattr(emulators, "require_userfault", no)
    hosts.start("a", "good")
    with pytest.raises(Refusal, match="post-copy is not to be had here"):
        mover.move(hosts.way(), MoveOrder(post_copy=True))
    assert (hosts.status("a"), hosts.status("b"), notes(mover)) == ("running", None, [])


def test_a_target_that_can_not_post_copy_is_removed_again(hosts, mover, monkeypatch):
    monkeypatch.setattr(emulators, "require_userfault", lambda: None)
    hosts.start("a", "good")
    record = mover.move(hosts.way("no-post-copy"), MoveOrder(post_copy=True))
    assert record.phase is MovePhase.FAILED
    assert "Userfaultfd not available" in record.reason
    assert (hosts.status("a"), hosts.status("b")) == ("running", None)


def test_a_target_that_does_not_start_says_why(hosts, mover):
    hosts.start("a", "good")
    record = mover.move(hosts.way("broken"), MoveOrder())
    assert record.phase is MovePhase.FAILED
    assert "Cannot allocate memory" in record.reason
    assert hosts.status("a") == "running"


def test_a_target_that_dies_on_the_way_costs_the_vm_nothing(hosts, mover):
    hosts.start("a", "stalls")
    record = mover.move(hosts.way("dies"), MoveOrder(stall_seconds_max=0.3))
    assert record.phase is MovePhase.FAILED
    assert (hosts.status("a"), hosts.status("b")) == ("running", None)


def test_a_vm_that_had_moved_and_died_is_not_sent_back_in_time(hosts):
    hosts.start("a", "good")
    way = hosts.way()
    way.start(MoveOrder())
    while way.progress().phase is not MovePhase.SUCCEEDED:
        pass
    there = Qmp(hosts.folder / "b")
    os.kill(there.pid, signal.SIGKILL)
    assert there.hung_up(5)
    there.close()
    with pytest.raises(TidegateError, match="as old as the move: end it by 'quit'"):
        way.settle()
    assert hosts.status("a") == "postmigrate"


@pytest.mark.parametrize(
    ("room", "ends", "why"),
    [
        (1, ("a", "b"), "which has 0 MB free"),
        (2**40, ("a", "a"), "is there already"),
        (2**40, ("gone", "b"), "no emulator answers"),
        (2**40, ("a", "taken"), "answers at .* already"),
    ],
)
def test_what_can_not_be_is_refused_and_changes_nothing(hosts, mover, monkeypatch, room, ends, why):  # noqa: PLR0917
    monkeypatch.setattr("tidegate.drivers.libvirt.moving.checks._available_bytes", lambda: float(room))
    hosts.start("a", "good")
    hosts.start("taken", "good")
    with pytest.raises(TidegateError, match=why):
        mover.move(hosts.way(source=ends[0], target=ends[1]), MoveOrder())
    assert (hosts.status("a"), hosts.status("b"), notes(mover)) == ("running", None, [])


def test_one_vm_is_moved_by_one_process_at_a_time(hosts, mover):
    hosts.start("a", "good")
    held = Note.taken(mover.folder, "4a1d")
    with pytest.raises(Refusal, match="being moved by another process"):
        mover.move(hosts.way(), MoveOrder())
    held.drop()
    assert mover.move(hosts.way(), MoveOrder()).phase is MovePhase.SUCCEEDED


KILLED = """
import os, sys
from pathlib import Path
from tidegate.drivers.libvirt.moving.emulators import EmulatorWay
from tidegate.drivers.libvirt.moving.mover import Mover
from tidegate.drivers.libvirt.moving.orders import MoveOrder
folder, steps, words = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
left = [steps]
def told(progress):
    left[0] -= 1
    if left[0] <= 0:
        os.kill(os.getpid(), 9)
way = EmulatorWay(name="web", uuid="4a1d", source=folder / "a", target=folder / "b", command=words)
Mover(folder=folder / "moves", told=told).move(way, MoveOrder())
"""


@pytest.mark.parametrize(("steps", "place"), [(1, Place.SOURCE), (4, Place.TARGET)])
def test_what_a_killed_mover_leaves_is_put_right(hosts, steps, place):
    hosts.start("a", "good")
    words = [sys.executable, "-c", KILLED, str(hosts.folder), str(steps), *command("good")]
    assert subprocess.run(words, check=False, timeout=30).returncode == -signal.SIGKILL
    assert [one.name for one in (hosts.folder / "moves").iterdir()] == ["4a1d.json"]
    with pytest.raises(Refusal, match="was never finished"):
        Mover(folder=hosts.folder / "moves").move(hosts.way(), MoveOrder())
    (found,) = reconciled(way_of, hosts.folder / "moves")
    assert (found.place, found.route.name) == (place, "web")
    ran = {Place.SOURCE: ("running", None), Place.TARGET: (None, "running")}[place]
    assert (hosts.status("a"), hosts.status("b")) == ran
    assert list((hosts.folder / "moves").iterdir()) == []
    assert reconciled(way_of, hosts.folder / "moves") == []


def test_a_note_half_written_is_of_a_move_that_never_began(tmp_path):
    (tmp_path / "4a1d.json").write_text('{"kind": "qm')
    assert reconciled(way_of, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_an_emulator_that_hangs_is_killed(hosts, mover, monkeypatch):
    monkeypatch.setattr(emulators, "QUIT_SECONDS_MAX", 0.2)
    hosts.start("a", "deaf")
    assert mover.move(hosts.way(), MoveOrder()).phase is MovePhase.SUCCEEDED
    hosts.children[0].wait(5)
    assert hosts.status("b") == "running"


def test_qmp_says_what_qemu_refuses_and_who_is_no_qemu(hosts, tmp_path):
    asked = Qmp(hosts.start("a", "good"))
    assert asked.pid == hosts.children[0].pid
    with pytest.raises(QmpError, match="The command fly has not been found"):
        asked.ask("fly")
    assert asked.ask("query-status") == {"status": "running", "running": True}
    asked.close()
    with pytest.raises(GoneError, match="no emulator answers"):
        Qmp(tmp_path / "nobody")


def test_what_is_measured_makes_the_forecast(hosts):
    hosts.start("a", "good")
    way = hosts.way()
    measured = way.measure(2)
    way.close()
    assert measured == Measured(used_bytes=64 * MIB, dirty_bytes_per_second=7 * MIB)
    slow = forecast_of(measured, MoveOrder(bytes_per_second_max=16 * MIB, auto_converge=False))
    assert slow.seconds == pytest.approx(64 / (16 - 7), rel=0.25)
    never = forecast_of(measured, MoveOrder(bytes_per_second_max=4 * MIB, auto_converge=False))
    assert never.seconds is never.downtime_seconds is never.bytes_sent is None


def test_memory_that_was_never_touched_does_not_count():
    kib = {"actual": 1000, "unused": 600, "rss": 5000}
    assert used_bytes(kib) == 400 * 1024
    assert used_bytes({"actual": 1000, "rss": 300}) == 300 * 1024
    assert used_bytes({"actual": 1000, "rss": 3000}) == 1000 * 1024
    assert resident_bytes(2**22 + 1, 123) == 123  # no such process


def test_what_libvirt_does_not_say_is_as_it_was():
    told = {"time_elapsed": 1500, "memory_processed": 10, "memory_iteration": 2, "memory_dirty_rate": 5}
    first = progress_of(told, Progress(phase=MovePhase.PENDING), MovePhase.PREPARING, "")
    assert (first.seconds, first.bytes_sent, first.rounds) == (1.5, 10, 2)
    assert first.dirty_bytes_per_second == 5 * 4096
    last = progress_of({}, first, MovePhase.FAILED, "it broke")
    assert (last.seconds, last.bytes_sent, last.phase, last.reason) == (1.5, 10, MovePhase.FAILED, "it broke")
    later = progress_of({"memory_postcopy_requests": 3}, first, MovePhase.PREPARING, "")
    assert later.phase is MovePhase.SWITCHING


def test_a_disk_that_only_one_host_has_is_refused():
    disk = "<disk type='file'><source file='/d/{}'/>{}</disk>"
    other = "<disk type='network'><source protocol='nbd'/></disk>"
    xml = "<domain><devices>{}</devices></domain>"
    require_shared("web", xml.format(disk.format("a", "<readonly/>") + other), lambda _path: False)
    require_shared("web", xml.format(disk.format("a", "")), lambda _path: True)
    with pytest.raises(Refusal, match="a disk on this host only \\(/d/b\\)"):
        require_shared(
            "web",
            xml.format(disk.format("a", "") + disk.format("b", "")),
            lambda path: path.name == "a",
        )


def test_no_room_is_told_in_numbers():
    with pytest.raises(Refusal, match="needs 1,020 MB at the target, which has 1,000 MB free") as refused:
        require_room("web", 1e9, 1e9)
    assert refused.value.because is Because.NO_ROOM
