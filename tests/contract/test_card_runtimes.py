"""The kit for card runtimes, over the one in memory and over real processes."""

from __future__ import annotations

import os
import sys
import time
from itertools import count

import pytest

from tidegate.drivers.card.runtime import ProcessRuntime
from tidegate.model.application import ApplicationSpec
from tidegate.testing import FakeRuntime, ManualClock, card_runtime_checks

NUMBERS = count(1)
SPEC = ApplicationSpec(
    command=(
        sys.executable,
        "-m",
        "tidegate.examples.keyvalue",
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
    ),
    environment={"PYTHONPATH": os.pathsep.join(sys.path)},
)


class CardsInMemory:
    """The object is the card."""

    def __init__(self):
        self.clock = ManualClock(1_704_067_200)

    def make(self):
        return FakeRuntime(self.clock)

    def again(self, runtime):
        return runtime

    def pause(self, seconds):
        self.clock.advance(1)


class Cards:
    """The folder is the card; only one runtime at a time may have it."""

    def __init__(self, folder):
        self.folder = folder
        self.name = f"test-{os.getpid()}-{next(NUMBERS)}"
        self.open = None

    def make(self):
        return self.again(None)

    def again(self, runtime):
        if self.open is not None:
            self.open.close()
        self.open = ProcessRuntime(self.name, folder=self.folder)
        return self.open

    def pause(self, seconds):
        time.sleep(seconds)


def checks(cards):
    return card_runtime_checks(cards.make, again=cards.again, spec=SPEC, pause=cards.pause)


IDS = [str(check) for check in checks(CardsInMemory())]


@pytest.mark.parametrize("check", checks(CardsInMemory()), ids=str)
def test_the_runtime_in_memory_keeps(check):
    check()


@pytest.mark.root
@pytest.mark.parametrize("at", range(len(IDS)), ids=IDS)
def test_the_runtime_of_processes_keeps(at, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root to make cgroups: run the tests as root")
    cards = Cards(tmp_path)
    try:
        checks(cards)[at]()
    finally:
        if cards.open is not None:
            cards.open.close()
