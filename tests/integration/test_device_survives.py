"""A real device on this machine is killed: its applications run on, and the next start takes them over."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tidegate.cli.main import run
from tidegate.drivers.card.runtime import ProcessRuntime

WAIT_SECONDS = 40
pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _as_root_and_leaving_nothing():
    if os.geteuid() != 0:
        pytest.skip("needs root to make cgroups: run the tests as root")
    yield
    for last in "abc":
        name = f"test-{os.getpid()}-{last}"
        folder = Path(f"/run/tidegate/{name}")
        if folder.exists():
            runtime = ProcessRuntime(name)
            for running in runtime.found():
                runtime.stop(running.name, grace_seconds=0.0)
            runtime.close()
            shutil.rmtree(folder)


@contextmanager
def device(name, folder):
    """Run a device until the block has ended, which may kill it before."""
    words = ["device", "--card", name, "--state", str(folder / name), "--cores", "2"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    log = (folder / f"{name}.log").open("a+")
    with (
        log,
        subprocess.Popen(
            [sys.executable, "-m", "tidegate.cli.main", *words], stdout=log, stderr=log, env=environment
        ) as process,
    ):
        try:
            deadline = time.monotonic() + WAIT_SECONDS
            while run(["card", "show", "--address", address(name, folder)]) != 0:
                assert process.poll() is None, (folder / f"{name}.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(WAIT_SECONDS)


def address(name, folder):
    return f"unix:{folder / name}/device.sock"


def started(folder, name, where):
    """How often an application was started again, and how it is."""
    told = folder / "told.json"
    assert run(["card", "apps", "show", name, "--address", where, "--json", str(told)]) == 0
    status = json.loads(told.read_text())["status"]
    return status["restarts"], status["state"]


def test_killed_it_is_as_if_nothing_had_been(tmp_path):
    name = f"test-{os.getpid()}-a"
    where = address(name, tmp_path)
    pid_file = tmp_path / "pid"
    script = f"echo $$ > {pid_file}; while true; do sleep 1; done"
    with device(name, tmp_path) as first:
        words = ["--amounts", "cpu=0.5,memory=64MiB", "--address", where, "--", "/bin/sh", "-c", script]
        assert run(["card", "apps", "create", "loop", *words]) == 0
        assert run(["card", "adjust", "loop", "cpu=0.8", "--address", where]) == 0
        time.sleep(0.5)
        pid = int(pid_file.read_text())
        first.send_signal(signal.SIGKILL)
        first.wait(WAIT_SECONDS)
        os.kill(pid, 0)
        assert run(["card", "show", "--address", where]) == 1
    with device(name, tmp_path):
        assert started(tmp_path, "loop", where) == (0, "APPLICATION_STATE_RUNNING")
        assert int(pid_file.read_text()) == pid
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + WAIT_SECONDS
        while int(pid_file.read_text() or pid) == pid:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert started(tmp_path, "loop", where) == (1, "APPLICATION_STATE_RUNNING")
        assert run(["card", "apps", "delete", "loop", "--address", where]) == 0
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid_file.read_text()), 0)
    assert "its applications run on" in (tmp_path / f"{name}.log").read_text()


def test_both_cards_of_a_move_are_killed_in_the_middle_of_it(tmp_path, capsys):
    one, other = f"test-{os.getpid()}-b", f"test-{os.getpid()}-c"
    here, there = address(one, tmp_path), address(other, tmp_path)
    serve = [sys.executable, "-m", "tidegate.examples.keyvalue", "serve", "--port", "0"]
    with device(one, tmp_path) as first, device(other, tmp_path) as second:
        words = ["--hands-off", "--env", f"PYTHONPATH={os.pathsep.join(sys.path)}", "--address", here, "--"]
        assert run(["card", "apps", "create", "kv", *words, *serve]) == 0
        to = ["--to", other, "--to-address", there, "--address", here]
        assert run(["card", "migrate", "start", "kv", *to]) == 0
        time.sleep(1.0)
        for process in (first, second):
            process.send_signal(signal.SIGKILL)
            process.wait(WAIT_SECONDS)
    # The other first: where it does not answer for seconds, as on a busy machine, nothing is moved to it.
    with device(other, tmp_path), device(one, tmp_path):
        deadline = time.monotonic() + WAIT_SECONDS
        capsys.readouterr()
        while (
            "succeeded"
            not in (run(["card", "migrate", "list", "--address", here]), capsys.readouterr().out)[1]
        ):
            assert time.monotonic() < deadline
            time.sleep(0.3)
        assert started(tmp_path, "kv", there)[1] == "APPLICATION_STATE_RUNNING"
        assert run(["card", "apps", "show", "kv", "--address", here]) == 2
        assert run(["card", "apps", "delete", "kv", "--address", there]) == 0
