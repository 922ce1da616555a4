"""A journal whose process was killed, or whose disk was full, is whole and goes on.

Run as a program, this file is the process that is killed: it reads paths, one a line, and for each starts
a child that opens the journal there and appends ticks until it is ended, a line for each.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tidegate.journal.sql import checkpoint, writer
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import Reader
from tidegate.journal.sql.writer import opened
from tidegate.model.errors import TidegateError
from tidegate.model.outcome import nothing_confirmed
from tidegate.model.tick import Tick
from tidegate.plan.difference import difference
from tidegate.testing import forecast_of
from tidegate.testing.random_fleets import random_plan, random_snapshot

KILLS = 20
FLEETS = 5, 7
"""Seeds of two fleets of three resources each."""


SHORT = (
    (writer, "ANCHOR_TICKS", 7),
    (writer, "CHECKPOINT_TICKS", 5),
    (writer, "SAVING_TICKS", 3),
    (checkpoint, "SLICE_BYTES", 1600),
)
"""So that a few ticks hold several of everything."""


@pytest.fixture
def tmp_path(tmp_path):
    """In memory where there is such a folder: what is tested is not how fast a disk is."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    for owner, name, value in SHORT:
        monkeypatch.setattr(owner, name, value)


def snapshot_at(number):
    """What tick ``number`` sees; the fleet is another every 23 ticks, and one object until then."""
    if number // 23 not in _fleets:
        _fleets[number // 23] = random_snapshot(FLEETS[number // 23 % 2])
    fleet = _fleets[number // 23]
    used = np.random.default_rng(number).random(fleet.used.shape, dtype=np.float32)
    return replace(fleet, used=used, time_seconds=60 * number)


_fleets = {}


def state_at(number):
    ring = np.zeros((10, 200))
    ring[: number % 10] = number
    return {"forecaster.ring": ring, "forecaster.seen": np.array([number])}


def tick_of(number):
    snapshot = snapshot_at(number)
    plan = random_plan(number, snapshot)
    return Tick(
        number=number,
        snapshot=snapshot,
        forecast=forecast_of(snapshot, snapshot.capacity),
        scores=None,
        planned=plan,
        plan=plan,
        actions=difference(plan, snapshot),
        outcome=nothing_confirmed(),
        stage_seconds={},
    )


def append_on(where, *, each=lambda _: None, until=10**9):
    """Go on after the last tick there is."""
    with opened(where, {}) as journal:
        span = Reader.of(where).span()
        for number in range(0 if span is None else span.last + 1, until):
            journal.append(tick_of(number))
            each(number)
            if journal.wants_checkpoint:
                journal.checkpoint(number, state_at(number))


def require_whole(path, seed):
    """Every tick that was told is there and decodes; the checkpoint is of one moment."""
    where = location(str(path))
    with opened(where, {}):
        reader = Reader.of(where)
    span = reader.span()
    if span is None:
        return -1
    numbers = []
    first = max(0, span.last - 40)
    for number, snapshot in reader.snapshots(first, span.last):
        assert snapshot.used.tobytes() == snapshot_at(number).used.tobytes(), f"seed {seed}"
        numbers.append(number)
    assert numbers == list(range(first, span.last + 1)), f"seed {seed}"
    assert [changes.number for changes in reader.changes(first, span.last)] == numbers, f"seed {seed}"
    assert len(reader.used(0, span.last)) == span.last + 1, f"seed {seed}"
    reader.last_rows(span.last)
    manifest = reader.checkpoint()
    if manifest is not None:
        state = reader.state(manifest)
        for name, values in state_at(manifest.number).items():
            assert state[name].tolist() == values.tolist(), f"seed {seed}"
        assert span.last - manifest.number < 16, f"seed {seed}"
    reader.close()
    return span.last


@contextmanager
def nursery():
    """Start the process whose children are killed: it has imported everything, they are quick."""
    starter = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        yield starter
    finally:
        starter.stdin.close()
        starter.stdout.close()
        assert starter.wait(timeout=10) == 0


def kill_one(starter, path, seed):
    """Have a child append and kill it at a moment drawn from the seed; return the last tick it told."""
    rng, told = np.random.default_rng(seed), -1
    starter.stdin.write(f"{path}\n")
    pid = int(starter.stdout.readline())
    for _ in range(int(rng.integers(0, 10))):
        told = int(starter.stdout.readline())
    until = time.perf_counter() + rng.uniform(0, 0.008)
    while time.perf_counter() < until:
        pass
    os.kill(pid, signal.SIGKILL)
    for line in iter(starter.stdout.readline, "ended\n"):
        told = int(line)
    return told


def test_a_journal_whose_process_is_killed_again_and_again_loses_no_tick_it_told(tmp_path):
    path, last = tmp_path / "j.db", -1
    with nursery() as starter:
        for seed in range(KILLS):
            told = kill_one(starter, path, seed)
            last = require_whole(path, seed)
            assert last >= told, f"seed {seed}"
    assert last > 2 * KILLS


def test_a_journal_whose_process_is_killed_while_it_is_made_can_be_opened(tmp_path):
    with nursery() as starter:
        for seed in range(5):
            path = tmp_path / f"{seed}.db"
            starter.stdin.write(f"{path}\n")
            pid = int(starter.stdout.readline())
            until = time.perf_counter() + np.random.default_rng(seed).uniform(0, 0.05)
            while time.perf_counter() < until:
                pass
            os.kill(pid, signal.SIGKILL)
            for _ in iter(starter.stdout.readline, "ended\n"):
                pass
            require_whole(path, seed)


@contextmanager
def files_of_at_most(bytes_max):
    """Let no file grow beyond some bytes: what a full disk does, for this process alone."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("full_at", range(30, 60, 7))
def test_a_full_disk_is_told_in_a_sentence_and_the_journal_goes_on_when_there_is_room(tmp_path, full_at):
    path = tmp_path / "j.db"
    where = location(str(path))
    append_on(where, until=20)
    with opened(where, {}) as journal:
        number, refused = 20, 0
        journal.checkpoint(19, state_at(19))
        while number < 90:
            full = number >= full_at and refused < 3
            room = path.with_name("j.db-wal").stat().st_size if full else 10**9
            with files_of_at_most(room):
                try:
                    journal.append(tick_of(number))
                except TidegateError as error:
                    refused += 1
                    assert str(path) in str(error)  # noqa: PT017
                    assert "\n" not in str(error)  # noqa: PT017
                    continue
            if journal.wants_checkpoint:
                journal.checkpoint(number, state_at(number))
            number += 1
    assert refused == 3
    assert require_whole(path, full_at) == 89


def main():
    for owner, name, value in SHORT:
        setattr(owner, name, value)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            append_on(location(line.strip()), each=lambda number: os.write(1, f"{number}\n".encode()))
        os.write(1, f"{child}\n".encode())
        os.waitpid(child, 0)
        os.write(1, b"ended\n")


if __name__ == "__main__":
    main()
