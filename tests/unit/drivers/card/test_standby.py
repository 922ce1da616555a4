"""A program on standby is told from one that is still being loaded."""

from __future__ import annotations

import os
import sys
import time

import pytest

from tidegate.drivers.card.runtime import ProcessRuntime
from tidegate.model.application import ApplicationSpec

PATIENCE_SECONDS = 30.0
WAITS = """
import os, socket, time
while not os.path.exists("go"):
    time.sleep(0.01)
server = socket.socket(socket.AF_UNIX)
server.bind(os.environ["TIDEGATE_CONTROL"])
server.listen()
time.sleep(60)
"""

pytestmark = pytest.mark.root


@pytest.fixture
def runtime(root_only, tmp_path):
    made = ProcessRuntime(f"test-{os.getpid()}-standby", folder=tmp_path / "card")
    yield made
    for running in made.found():
        made.stop(running.name, grace_seconds=0.0)
    made.close()


def test_it_listens_once_it_has_made_its_socket(runtime, tmp_path):
    waits = ApplicationSpec(
        command=(sys.executable, "-c", WAITS), hands_off=True, working_folder=str(tmp_path)
    )
    runtime.start("waits", waits, epoch=1, standby=True)
    runtime.start("serves", ApplicationSpec(command=("sleep", "60")), epoch=1, standby=False)
    assert {running.name: running.listens for running in runtime.found()} == {"serves": True, "waits": False}
    (tmp_path / "go").touch()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not all(running.listens for running in runtime.found()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
