"""`tidegate up` as several processes: they are there, come back when they are killed, and leave with it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tidegate.agents.together.folder import PREFIX
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import Reader

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "scenarios" / "failing_moves.toml"
COMMAND = [sys.executable, "-m", "tidegate.cli.main", "up", "--scenario", str(EXAMPLE)]
PATIENCE_SECONDS = 60
"""Far more than any of this takes on an idle machine."""


def ran(*command):
    """Run a command to its end, and return what came of it and what it said."""
    return subprocess.run(
        command,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def environment():
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path), "COLUMNS": "100"}


class Up:
    """A running `up`, and what it says on stderr."""

    def __init__(self, *arguments, command=COMMAND):
        self.process = subprocess.Popen(
            [*command, *arguments],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said, self.lines = [], []
        self._readers = [
            threading.Thread(target=self._read, args=(stream, to), daemon=True)
            for stream, to in ((self.process.stderr, self.said), (self.process.stdout, self.lines))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream, to):
        for line in stream:
            to.append(line.rstrip())

    def until(self, holds, what):
        """Wait until something holds, and return what it was."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := holds()):
            assert self.process.poll() is None, f"ended: {self.said}"
            assert time.monotonic() < deadline, f"not in {PATIENCE_SECONDS} s: {what}; {self.said}"
            time.sleep(0.02)
        return found

    def pids(self):
        """The processes beside it, by a word of their command."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            try:
                words = child.cmdline()
            except psutil.Error:
                continue
            kind = next((word for word in ("fleet", "--simulated", "agent") if word in words), None)
            if kind is not None:
                found[kind] = child.pid
        return found

    def whole(self):
        """The processes beside it, once all are there."""
        return self.until(lambda: len(of := self.pids()) == 3 and of, "three processes beside it")

    def ended(self, number):
        self.process.send_signal(number)
        self.process.wait(PATIENCE_SECONDS)
        for reader in self._readers:
            reader.join(PATIENCE_SECONDS)
        return self.process.returncode


@pytest.fixture
def up():
    started = []

    def start(*arguments, **options):
        started.append(Up(*arguments, **options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
        for stream in (one.process.stdout, one.process.stderr):
            stream.close()


def gone(pids):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(psutil.pid_exists(pid) for pid in pids):
        assert time.monotonic() < deadline, f"{pids} are still there"
        time.sleep(0.05)
    return True


def sockets_of(pids):
    """Where each listens, by its own command."""
    words = {kind: psutil.Process(pid).cmdline() for kind, pid in pids.items()}
    return {kind: of[of.index("--listen") + 1] for kind, of in words.items()}


def is_well(address):
    async def asked():
        async with grpc.aio.insecure_channel(address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            return await stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=30)

    return asyncio.run(asked()).status == health_pb2.HealthCheckResponse.SERVING


FAST = ("--policy", "calibrated_reactive", "--speed", "20")


def test_every_part_is_a_process_that_is_well_comes_back_when_killed_and_leaves_with_ctrl_c(up):
    one = up(*FAST)
    first = one.whole()
    assert len({one.process.pid, *first.values()}) == 4
    sockets = sockets_of(first)
    folder = Path(sockets["fleet"].removeprefix("unix:")).parent
    assert folder.name.startswith(PREFIX)
    assert folder.stat().st_mode & 0o777 == 0o700
    for address in (*sockets.values(), f"unix:{folder / 'device.sock'}"):
        assert is_well(address), address
    names = {
        "fleet": "fleet manager",
        "--simulated": "agent of the simulated fleet",
        "agent": "agent of this machine",
    }
    for kind in names:
        os.kill(first[kind], signal.SIGKILL)
    for name in names.values():
        one.until(lambda name=name: any(f"the {name} ended" in line for line in one.said), f"{name} is told")
    second = one.until(
        lambda: len(of := one.pids()) == 3 and not set(of.values()) & set(first.values()) and of, "all anew"
    )
    before = {word: sum(word in line for line in one.lines) for word in ("this machine, tick", "reserved")}
    for word, count in before.items():
        one.until(
            lambda word=word, count=count: sum(word in line for line in one.lines) > count, f"{word} again"
        )
    assert one.ended(signal.SIGINT) == 0, one.said
    assert any("Stopped by SIGINT" in line for line in one.lines)
    assert gone(second.values())
    assert not folder.exists()


def test_nobody_outlives_an_up_that_is_killed(up):
    one = up(*FAST)
    beside = one.whole()
    folder = Path(sockets_of(beside)["fleet"].removeprefix("unix:")).parent
    assert one.ended(signal.SIGKILL) == -signal.SIGKILL
    assert gone(beside.values())
    assert folder.exists()
    # The next one clears away what is left.
    done = subprocess.run(
        [*COMMAND, *FAST, "--only", "simulated", "--ticks", "1"],
        env=environment(),
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0
    assert not folder.exists()


IMPATIENT = """
import sys
from tidegate.agents.together import children
from tidegate.cli.main import main

children.RESTART_SECONDS, children.RESTARTS_MAX = 0.01, 2
main(sys.argv[1:])
"""


def test_an_agent_that_never_comes_back_ends_it_with_the_agent_s_own_words(up, tmp_path):
    scenario = tmp_path / "mine.toml"
    scenario.write_bytes(EXAMPLE.read_bytes())
    command = [sys.executable, "-c", IMPATIENT, "up", "--scenario", str(scenario)]
    one = up(*FAST, "--only", "simulated", command=command)
    beside = one.until(lambda: len(of := one.pids()) == 2 and of, "two processes beside it")
    one.until(lambda: any("reserved" in line for line in one.lines), "a tick")
    scenario.unlink()
    os.kill(beside["--simulated"], signal.SIGKILL)
    assert one.process.wait(PATIENCE_SECONDS) == 1
    for reader in one._readers:
        reader.join(PATIENCE_SECONDS)
    # Once below the view, once as the reason of the end.
    last = "the agent of the simulated fleet stays down after 2 restarts: "
    assert one.said[-1].startswith(f"tidegate: {last}")
    assert "mine.toml" in one.said[-1]
    assert sum("it is started again" in line for line in one.said) == 2
    assert gone(beside.values())


def test_a_long_step_need_not_end_before_it_starts():
    done = ran(
        *(sys.executable, "-m", "tidegate.cli.main", "up", "--policy", "calibrated_reactive"),
        *("--only", "machine", "--step", "10m", "--ticks", "1"),
    )
    assert done.returncode == 0, done.stderr


TICKS = 60


def decided(path):
    """Everything a journal holds of its ticks' decisions, by column."""
    reader = Reader.of(location(str(path)))
    span = reader.span()
    found = [of.rows for of in reader.changes(span.first, span.last)]
    grants = [snapshot.grant for _, snapshot in reader.snapshots(span.first, span.last)]
    reader.close()
    assert len(found) == TICKS
    return found, grants


@pytest.mark.parametrize("stop", [None, 25])
def test_the_same_seed_decides_the_same_in_one_process_and_in_several(tmp_path, stop):
    """Also where it ends after some ticks and goes on; moves fail at random here, from a seed."""
    outcome = {}
    for mode in ((), ("--in-process",)):
        name = "one" if mode else "several"
        out = tmp_path / f"{name}.json"
        for ticks in (TICKS,) if stop is None else (stop, TICKS - stop):
            done = ran(
                *(*COMMAND, *mode, "--only", "simulated", "--speed", "0", "--ticks", str(ticks)),
                *("--journal", str(tmp_path / f"{name}.db"), "--json", str(out), "--seed", "3"),
            )
            assert done.returncode == 0, done.stderr
        outcome[name] = decided(tmp_path / f"{name}.db"), json.loads(out.read_text())
    (several, grants), figures = outcome["several"]
    (alone, granted), expected = outcome["one"]
    assert [len(of["what"]) for of in several] == [len(of["what"]) for of in alone]
    for mine, its in zip(several, alone, strict=True):
        for column, values in its.items():
            np.testing.assert_array_equal(mine[column], values, err_msg=column)
    for mine, its in zip(grants, granted, strict=True):
        np.testing.assert_array_equal(mine, its)
    assert figures["policies"] == expected["policies"]
    # Without its forecast it would decide as the one beside it, which has none.
    for figures_of in (figures, expected):
        with_it, without = figures_of["policies"][:2], figures_of["policies"][-2:]
        assert with_it[0]["prediction"]
        assert not without[0]["prediction"]
        assert with_it[0]["reserved_ratio"] != without[0]["reserved_ratio"]
    assert len(figures["processes"]) == 3
    assert "processes" not in expected


LEDGER_ELSEWHERE = """
import sys
from functools import partial
from pathlib import Path
from tidegate.cli import up
from tidegate.cli.main import main

up.MachineOptions = partial(up.MachineOptions, ledger=Path(sys.argv[1]))
main(sys.argv[2:])
"""


@pytest.mark.root
def test_what_an_agent_can_not_do_is_one_sentence_and_exit_code_2(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root to be allowed to act at all: run the tests as root")
    no_folder = tmp_path / "file"
    no_folder.write_text("is in the way")
    done = ran(
        *(sys.executable, "-c", LEDGER_ELSEWHERE, str(no_folder / "limits.json")),
        *("up", "--only", "machine", "--act", "--ticks", "1"),
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"tidegate: the ledger {no_folder / 'limits.json'} can't be written")
    assert done.stderr.count("\n") == 1
