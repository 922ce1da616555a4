"""A journal stays within what it may keep, and never forgets what a restart needs."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from tidegate.journal.sql import retention, tables, writer
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import Reader
from tidegate.journal.sql.retention import Retention
from tidegate.journal.sql.writer import opened
from tidegate.model.errors import TidegateError
from tidegate.model.outcome import nothing_confirmed
from tidegate.model.tick import Tick
from tidegate.plan.difference import difference
from tidegate.testing import forecast_of, roster_of, snapshot_of
from tidegate.testing.random_fleets import random_plan

STEP_SECONDS = 300
MIB = 1024**2
BLOCK = 10
"""Ticks from one stored whole to the next."""


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
def _short_blocks(monkeypatch):
    monkeypatch.setattr(writer, "ANCHOR_TICKS", BLOCK)
    monkeypatch.setattr(writer, "CHECKPOINT_TICKS", BLOCK)
    monkeypatch.setattr(writer, "SAVING_TICKS", 4)


def ticks_of(workloads, *, seed=0):
    """Ticks without end of a fleet whose use is drawn anew each time, so that it does not compress."""
    rng = np.random.default_rng(seed)
    roster = roster_of(workloads)
    first = snapshot_of(np.zeros(workloads), roster=roster, time_seconds=0)
    plan = replace(random_plan(seed, first), wanted=first.grant, card=first.card)  # nobody is asked to change
    tick = Tick(
        number=0,
        snapshot=first,
        forecast=forecast_of(first, first.capacity),
        scores=None,
        planned=plan,
        plan=plan,
        actions=difference(plan, first),
        outcome=nothing_confirmed(),
        stage_seconds={},
    )
    number = 0
    while True:
        used = rng.integers(0, 2**31, (1, workloads)).astype(np.uint32).view(np.float32)
        snapshot = replace(first, used=used, time_seconds=number * STEP_SECONDS)
        yield replace(tick, number=number, snapshot=snapshot)
        number += 1


def size_of(path):
    files = (path, path.with_name(path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def written(path, kept, ticks, count, *, state=None):
    """Write ``count`` ticks, or until so many bytes were; return the most bytes there ever were on disk."""
    most = 0
    with opened(location(str(path)), {}, kept) as journal:
        for tick in ticks:
            journal.append(tick)
            if state is not None and journal.wants_checkpoint:
                journal.checkpoint(tick.number, state)
            most = max(most, size_of(path))
            done = journal.written.changes_bytes + journal.written.samples_bytes
            if tick.number + 1 >= count or done >= 2 * kept.bytes_max:
                return most, done
    raise AssertionError


def require_readable(reader):
    """Every tick left has its rows; from the first with samples on, every snapshot comes back."""
    span = reader.span()
    numbers = [changes.number for changes in reader.changes(span.first, span.last)]
    assert numbers == list(range(span.first, span.last + 1))
    for number in (span.first, span.last):
        assert reader.last_rows(number).shape[0] == 1
    sampled = [number for number, *_ in reader.used(span.first, span.last)]
    assert sampled == list(range(sampled[0], span.last + 1))
    assert [number for number, _ in reader.snapshots(sampled[0], span.last)] == sampled
    return span, sampled


def require_restartable(reader):
    manifest = reader.checkpoint()
    reader.state(manifest)
    span = reader.span()
    assert [number for number, _ in reader.snapshots(manifest.number, span.last)] == list(
        range(manifest.number, span.last + 1)
    )


@pytest.mark.parametrize(
    ("keep_ticks", "samples_ticks"), [(100, 30), (60, 60), (30, 30), (35, 17), (1, 1), (0, 0)]
)
def test_ticks_and_samples_are_kept_as_long_as_was_said_and_hardly_longer(
    tmp_path, keep_ticks, samples_ticks
):
    kept = Retention(keep_seconds=keep_ticks * STEP_SECONDS, samples_seconds=samples_ticks * STEP_SECONDS)
    path = tmp_path / "j.db"
    written(path, kept, ticks_of(5), 203, state={"a": np.arange(3)})
    reader = Reader.of(location(str(path)))
    span, sampled = require_readable(reader)
    require_restartable(reader)
    # Pruned with each whole tick, to a whole tick; a restart needs up to three blocks.
    assert keep_ticks <= span.last - span.first <= max(keep_ticks, BLOCK) + 2 * BLOCK
    assert min(keep_ticks, samples_ticks) <= span.last - sampled[0] <= max(samples_ticks, BLOCK) + 2 * BLOCK
    reader.close()


def test_what_is_no_longer_kept_is_said_to_be_gone(tmp_path):
    kept = Retention(keep_seconds=60 * STEP_SECONDS, samples_seconds=20 * STEP_SECONDS)
    path = tmp_path / "j.db"
    written(path, kept, ticks_of(5), 150, state={"a": np.arange(3)})
    reader = Reader.of(location(str(path)))
    first = reader.span().first
    for ask, said in (
        (lambda: list(reader.snapshots(first, first)), "no longer kept"),
        (lambda: list(reader.snapshots(first - 1, first)), "holds no tick"),
        (lambda: reader.last_rows(first - 1), "holds no tick"),
        (lambda: reader.fleet_of(first - 1), "holds no tick"),
        (lambda: reader.number_at((first - 1) * STEP_SECONDS), "no tick that old"),
    ):
        with pytest.raises(TidegateError, match=said):
            ask()
    reader.close()


@pytest.mark.parametrize(("mib", "workloads"), [(8, 4200), (8, 9000)])
def test_the_file_and_its_log_never_outgrow_the_bytes_allowed(tmp_path, mib, workloads):
    # 4200: a tick fills a little more than a page, and wastes much of the next.
    path = tmp_path / "j.db"
    bytes_max = mib * MIB
    most, _ = written(
        path, Retention(bytes_max=bytes_max), ticks_of(workloads), 1200, state={"a": np.arange(9)}
    )
    assert most <= bytes_max
    assert most >= 0.6 * bytes_max  # and they are made use of
    reader = Reader.of(location(str(path)))
    require_readable(reader)
    require_restartable(reader)
    reader.close()


@pytest.mark.parametrize("bytes_max", [0, 1, 100_000])
def test_what_a_restart_needs_stays_even_if_it_is_more_than_allowed(tmp_path, bytes_max):
    path = tmp_path / "j.db"
    state = {"a": np.random.default_rng(0).random(50_000)}
    with opened(location(str(path)), {}, Retention(bytes_max=bytes_max, keep_seconds=0)) as journal:
        reader = Reader.of(location(str(path)))
        for tick, _ in zip(ticks_of(200), range(65), strict=False):
            journal.append(tick)
            if journal.wants_checkpoint:
                journal.checkpoint(tick.number, state)
            if reader.checkpoint() is not None:
                require_restartable(reader)
                assert reader.state(reader.checkpoint())["a"].tobytes() == state["a"].tobytes()
        assert reader.span().first > 0
        reader.close()


def test_samples_go_before_what_changed(tmp_path):
    path = tmp_path / "j.db"
    written(path, Retention(bytes_max=6 * MIB), ticks_of(9000), 200, state={"a": np.arange(3)})
    reader = Reader.of(location(str(path)))
    span, sampled = require_readable(reader)
    assert span.first == 0
    assert sampled[0] > 0
    reader.close()


def test_fleets_nobody_is_in_any_more_are_forgotten(tmp_path):
    path = tmp_path / "j.db"
    kept = Retention(keep_seconds=30 * STEP_SECONDS)

    def moving():
        for tick in ticks_of(5):
            roster = roster_of(5, names=[f"{tick.number // 20}-{name}" for name in range(5)])
            held = moving.rosters.setdefault(tick.number // 20, roster)
            yield replace(tick, snapshot=replace(tick.snapshot, roster=held))

    moving.rosters = {}
    written(path, kept, moving(), 200, state={"a": np.arange(3)})
    reader = Reader.of(location(str(path)))
    assert len(reader._rows(sa.select(tables.fleets.c.id))) <= 5
    assert reader.fleet_of(reader.span().first).roster.names[0].endswith("-0")
    reader.close()


@pytest.mark.parametrize("checkpoints", [True, False], ids=["checkpoints", "none"])
def test_only_the_newest_events_are_kept(tmp_path, monkeypatch, checkpoints):
    monkeypatch.setattr(retention, "EVENTS_MAX", 50)
    path = tmp_path / "j.db"
    with opened(location(str(path)), {}) as journal:
        for tick, _ in zip(ticks_of(3), range(100), strict=False):
            journal.append(tick)
            for part in range(3):
                journal.event(tick.number, "released", f"sentence {tick.number}.{part}", f"vm-{part}")
            if checkpoints and journal.wants_checkpoint:
                journal.checkpoint(tick.number, {})
    reader = Reader.of(location(str(path)))
    events = reader.events(last=1000)
    assert 50 <= len(events) <= 50 + 3 * BLOCK
    assert [event.time_seconds for event in events] == sorted(event.time_seconds for event in events)
    assert events[-1].sentence == "sentence 99.2"
    assert [event.sentence for event in reader.events(last=2, workload="vm-1")] == [
        "sentence 98.1",
        "sentence 99.1",
    ]
    reader.close()


def test_slices_no_checkpoint_needs_are_dropped_and_those_that_stay_are_not_written_again(tmp_path):
    path = Path(tmp_path / "j.db")
    ring = np.random.default_rng(0).random((8, 65_536))  # a slice a row
    with opened(location(str(path)), {}) as journal:
        reader, sizes, counts = Reader.of(location(str(path))), [], []
        for tick, _ in zip(ticks_of(5), range(45), strict=False):
            journal.append(tick)
            if journal.wants_checkpoint:
                sizes.append(journal.written.checkpoint_bytes)
                ring = ring.copy()
                ring[tick.number // BLOCK % 8] += 1
                journal.checkpoint(tick.number, {"ring": ring})
            counts.append(len(reader._rows(sa.select(tables.slices.c.digest))))
        per_row = sizes[1] / 8
        assert all(0.5 * per_row < later - earlier < 1.5 * per_row for earlier, later in pairwise(sizes[1:]))
        assert max(counts) <= 2 * len(reader.checkpoint().digests)
        assert {
            row[0] for row in reader._rows(sa.select(tables.slices.c.digest))
        } >= reader.checkpoint().digests
        reader.close()
