"""A card's memory in a real guest: swapped to, lost and found again, and given back; all of it verified."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tidegate.drivers.card.far_memory import FarMemory
from tidegate.drivers.libvirt import far_memory
from tidegate.lab.bench.guests.running import lent
from tidegate.model.errors import InputError
from tidegate.model.refusals import Refusal

pytestmark = [pytest.mark.root, pytest.mark.slow]

MIB = 2**20
FIND = "D=/dev/$(grep -l {} /sys/block/*/serial | cut -d/ -f4)"
HELD = 200 * MIB
"""More than the guest has."""


@pytest.fixture
def guest():
    try:
        with lent() as host:
            (made,) = host.boot(host.spec("far", memory_bytes=192 * MIB))
            yield made
    except InputError as error:
        pytest.skip(f"no real VMs here: {error}")


@pytest.fixture
def card():
    made = FarMemory(bytes_max=256 * MIB, folder=Path(f"/dev/shm/tidegate-test-{os.getpid()}"))
    yield made
    for loan in made.loans():
        made.take_back(loan.name)


def let_go(guest):
    def ask(serial):
        # A swapoff for which there is no room is killed: what counts is what is in use after it.
        words = f"run {FIND.format(serial)}; swapoff $D; ! grep -q $D /proc/swaps"
        return guest.ask(words, seconds=60)["exit"] == "0"

    return ask


def swapping(guest, card):
    """A guest that has swapped to the card's memory."""
    loan = card.lend("far-1", 160 * MIB)
    one = far_memory.plug(guest.domain, loan.name, loan.socket)
    made = f"run sleep 1; {FIND.format(one.serial)}; mkswap $D && swapon $D"
    assert guest.ask(made, seconds=60)["exit"] == "0"
    guest.ask(f"hold {HELD}", seconds=120)
    assert int(guest.ask("report")["pswpout"]) * 4096 > 32 * MIB
    return one


def kill(card):
    (loan,) = card.loans()
    os.kill(int(loan.socket.with_suffix(".pid").read_text()), signal.SIGKILL)
    while card.loans()[0].is_served:
        time.sleep(0.01)


def test_a_guest_swaps_to_the_card_and_gives_it_back(guest, card):
    disks = guest.ask("run ls /sys/block")
    one = swapping(guest, card)
    assert guest.ask("check", seconds=120)["bad"] == "0"
    with pytest.raises(Refusal, match="still needs the far memory"):  # it has nowhere else to put it
        far_memory.unplug(guest.domain, one, let_go(guest))
    guest.ask("hold 0")
    far_memory.unplug(guest.domain, one, let_go(guest))
    card.take_back("far-1")
    assert far_memory.plugged(guest.domain) == []
    assert guest.ask("run ls /sys/block") == disks
    assert card.loans() == []


def test_a_guest_outlives_a_card_that_is_away_for_a_moment(guest, card):
    swapping(guest, card)
    kill(card)
    back = threading.Timer(3.0, card.revive)
    back.start()
    assert guest.ask("check", seconds=120)["bad"] == "0"
    back.join()


def test_a_guest_stands_still_while_a_card_is_away_for_long_and_then_goes_on(guest, card):
    swapping(guest, card)
    kill(card)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(guest.ask("check", seconds=180)))
    asking.start()
    deadline = time.monotonic() + far_memory.RECONNECT_SECONDS + 20
    while not far_memory.stands_still(guest.domain):
        assert time.monotonic() < deadline, "it does not stand still"
        time.sleep(0.2)
    assert card.revive() == ["far-1"]
    assert far_memory.go_on(guest.domain)
    asking.join()
    assert answers[0]["bad"] == "0"
    assert not far_memory.go_on(guest.domain)
