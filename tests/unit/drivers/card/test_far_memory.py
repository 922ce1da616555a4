"""Memory that a card lends: what there is of it, who serves it, and what is left when it is taken back."""

from __future__ import annotations

import os
import signal
import stat
import sys
from pathlib import Path

import pytest

from tidegate.drivers.card.far_memory import FarMemory
from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Because, Refusal

MIB = 2**20
SERVER = """#!{python} -SE
import os, signal, socket, sys
words = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
if words["export-name"] == "cursed":
    sys.exit("qemu-nbd: Failed to set up")
listener = socket.socket(socket.AF_UNIX)
listener.bind(words["socket"])
listener.listen()
child = os.fork()
if child == 0:
    for number in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    signal.pause()
open(words["pid-file"], "w").write(str(child))
"""


def runs(pid):
    """Whether a process does anything still: one that nobody sees off yet does not."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return words.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def card(tmp_path, monkeypatch):
    """A card of 8 MiB, whose qemu-nbd listens and serves nothing."""
    program = tmp_path / "bin" / "qemu-nbd"
    program.parent.mkdir()
    program.write_text(SERVER.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    made = FarMemory(bytes_max=8 * MIB, folder=tmp_path / "far")
    yield made
    for loan in made.loans():
        made.take_back(loan.name)


def test_what_is_lent_is_there_whole_and_goes_without_a_trace(card, tmp_path):
    loan = card.lend("web", 3 * MIB)
    assert (loan.bytes_whole, loan.is_served, loan.socket.is_socket()) == (3 * MIB, True, True)
    assert (tmp_path / "far" / "web.memory").stat().st_blocks * 512 >= 3 * MIB
    pid = int((tmp_path / "far" / "web.pid").read_text())
    card.take_back("web")
    card.take_back("web")
    assert card.loans() == []
    assert not (tmp_path / "far").exists()
    assert not runs(pid)


def test_a_server_that_died_is_started_again_over_the_same_memory(card, tmp_path):
    card.lend("web", MIB)
    memory = tmp_path / "far" / "web.memory"
    memory.write_bytes(b"swapped" + bytes(MIB - 7))
    os.kill(int((tmp_path / "far" / "web.pid").read_text()), signal.SIGKILL)
    again = FarMemory(bytes_max=8 * MIB, folder=tmp_path / "far")
    while again.loans()[0].is_served:
        pass
    assert again.revive() == ["web"]
    assert again.loans()[0].is_served
    assert memory.read_bytes()[:7] == b"swapped"
    assert again.revive() == []


@pytest.mark.parametrize(
    ("name", "amount", "because"),
    [
        ("web", MIB, Because.EXISTS),
        ("api", 7 * MIB, Because.NO_ROOM),
        ("api", 5000, Because.INVALID),
        ("../api", MIB, Because.INVALID),
    ],
)
def test_what_can_not_be_lent_is_refused_and_nothing_changes(card, name, amount, because):
    before = card.lend("web", 2 * MIB)
    with pytest.raises(Refusal) as refused:
        card.lend(name, amount)
    assert refused.value.because is because
    assert card.loans() == [before]


def test_a_server_that_does_not_start_lends_nothing(card):
    with pytest.raises(TidegateError, match="Failed to set up"):
        card.lend("cursed", MIB)
    assert card.loans() == []


def test_without_a_server_the_way_to_one_is_told(card, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Refusal, match="install qemu-utils"):
        card.lend("web", MIB)
