"""One contract, two stores: what a journal in SQLite does, one in PostgreSQL does too."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tidegate.journal.sql import tables, writer
from tidegate.journal.sql.opening import REVISIONS, location, writing
from tidegate.journal.sql.reader import Reader
from tidegate.journal.sql.retention import Retention
from tidegate.journal.sql.writer import opened
from tidegate.model.errors import InputError, TidegateError
from tidegate.model.outcome import nothing_confirmed
from tidegate.model.tick import Tick
from tidegate.plan.difference import difference
from tidegate.testing import forecast_of
from tidegate.testing.random_fleets import random_plan, random_snapshot

BLOCK = 5
"""Ticks from one stored whole to the next."""
START_SECONDS = 60


# --- A PostgreSQL of our own, on a socket in a folder of its own ----------------------------------


def binary(name):
    """Where a program of PostgreSQL's is; distributions keep most of them off the path."""
    beside = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(beside[-1]) if beside else None)
    if found is None:
        pytest.skip(f"no {name} on this machine: install PostgreSQL to run the journal's contract against it")
    return os.path.realpath(found)


def unprivileged():
    """PostgreSQL refuses to run as root: run it as somebody else, who owns its folder."""
    if os.geteuid() != 0:
        return {}, None
    names = {entry.pw_name for entry in pwd.getpwall()}
    entry = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}, entry


@pytest.fixture(scope="session")
def postgres():
    """Start a server without TCP; return the folder of its socket."""
    initdb, pg_ctl = binary("initdb"), binary("pg_ctl")
    folder = Path(tempfile.mkdtemp(prefix="tidegate-pg-"))  # short: a socket's path has 107 characters
    who, entry = unprivileged()
    if entry is not None:
        os.chown(folder, entry.pw_uid, entry.pw_gid)

    def run(*command):
        done = subprocess.run(
            command,
            check=False,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            **who,
        )
        assert done.returncode == 0, done.stdout.decode()

    data = str(folder / "data")
    options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
    try:
        run(initdb, "-D", data, "-U", "tidegate", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-locale")
        run(pg_ctl, "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        yield folder
    finally:
        if (folder / "data/postmaster.pid").exists():
            run(pg_ctl, "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


_numbers = count()


@pytest.fixture(params=["sqlite", "postgres"])
def where(request, tmp_path):
    """A place for a journal, in either store."""
    if request.param == "sqlite":
        yield location(str(tmp_path / "j.db"))
        return
    folder, name = request.getfixturevalue("postgres"), f"journal{next(_numbers)}"
    maintenance = sa.create_engine(
        f"postgresql+psycopg://tidegate@/postgres?host={folder}", isolation_level="AUTOCOMMIT"
    )
    with maintenance.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield location(f"postgresql://tidegate@/{name}?host={folder}")
    with maintenance.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    maintenance.dispose()


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch):
    monkeypatch.setattr(writer, "ANCHOR_TICKS", BLOCK)
    monkeypatch.setattr(writer, "CHECKPOINT_TICKS", BLOCK)
    monkeypatch.setattr(writer, "SAVING_TICKS", 3)


# --- What is written ------------------------------------------------------------------------------


def tick_of(number, snapshot):
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


def ticks_of(last, *, first=0, fleet=5):
    """Ticks of one fleet whose use is drawn anew."""
    before = random_snapshot(fleet)
    for number in range(last):
        used = np.random.default_rng(number).random(before.used.shape, dtype=np.float32)
        if number >= first:
            yield tick_of(number, replace(before, used=used, time_seconds=START_SECONDS * number))


def state_at(number):
    ring = np.random.default_rng(0).random((6, 3, 40))
    ring[number % 6] = number
    return {"forecaster.ring": ring, "forecaster.seen": np.array(number), "planner.dwell": np.arange(number)}


def write(where, ticks, kept=None, identity=None):
    with opened(where, identity or {}, kept) as journal:
        for tick in ticks:
            journal.append(tick)
            if journal.wants_checkpoint:
                journal.checkpoint(tick.number, state_at(tick.number))


@contextmanager
def reader_of(where):
    reader = Reader.of(where)
    try:
        yield reader
    finally:
        reader.close()


def require_same_state(got, wanted):
    for name, values in wanted.items():
        assert (got[name].dtype, got[name].shape) == (values.dtype, values.shape)
        assert got[name].tobytes() == values.tobytes()


# --- The contract ---------------------------------------------------------------------------------


def test_what_is_written_is_read(where):
    ticks = list(ticks_of(23))
    write(where, ticks, identity={"policy": "tidegate", "seed": "1"})
    with reader_of(where) as reader:
        assert reader.identity() == {"policy": "tidegate", "seed": "1"}
        span = reader.span()
        assert (span.first, span.last, span.first_seconds, span.last_seconds) == (
            0,
            22,
            0,
            22 * START_SECONDS,
        )
        for start in (0, 4, 5, 13):
            found = list(reader.snapshots(start, 22))
            assert [number for number, _ in found] == list(range(start, 23))
            for number, snapshot in found:
                for name in ("used", "grant", "capacity", "pressed", "in_flight", "host", "card"):
                    assert (
                        getattr(snapshot, name).tobytes() == getattr(ticks[number].snapshot, name).tobytes()
                    )
        assert [number for number, *_ in reader.used(3, 9)] == list(range(3, 10))
        assert [changes.number for changes in reader.changes(3, 9)] == list(range(3, 10))
        assert reader.number_at(7 * START_SECONDS + 1) == 7
        assert reader.fleet_of(22) is reader.fleet_of(0)
        assert reader.last_rows(22).max() <= 22


def test_the_last_rows_are_those_of_the_changes(where):
    write(where, ticks_of(17))
    with reader_of(where) as reader:
        book = np.full(next(ticks_of(1)).snapshot.used.shape, -1)
        for changes in reader.changes(0, 16):
            book[changes.rows["resource"], changes.rows["workload"]] = changes.number
            assert reader.last_rows(changes.number).tolist() == book.tolist()


def test_a_journal_that_nothing_was_written_to_is_empty_but_one(where):
    write(where, [])
    with reader_of(where) as reader:
        assert reader.span() is None
        assert reader.checkpoint() is None
        assert reader.events(last=5) == []
        with pytest.raises(InputError, match="no tick that old"):
            reader.number_at(10**10)
        with pytest.raises(InputError, match="holds no tick 3"):
            reader.last_rows(3)


def test_the_last_whole_checkpoint_comes_back_in_all_and_in_part(where):
    write(where, ticks_of(23))
    with reader_of(where) as reader:
        manifest = reader.checkpoint()
        assert 13 <= manifest.number <= 22
        wanted = state_at(manifest.number)
        require_same_state(reader.state(manifest), wanted)
        part = reader.state(manifest, "planner.")
        assert part.keys() == {"planner.dwell"}
        require_same_state(part, {"planner.dwell": wanted["planner.dwell"]})


def test_a_writer_that_ended_between_slices_leaves_the_checkpoint_before_whole(where, monkeypatch):
    monkeypatch.setattr("tidegate.journal.sql.checkpoint.SLICE_BYTES", 64)
    write(where, ticks_of(10))
    with reader_of(where) as reader:
        before = reader.checkpoint().number
    with opened(where, {}) as journal:
        journal.checkpoint(9, {"forecaster.ring": np.random.default_rng(9).random(500)})
        journal.append(next(ticks_of(11, first=10)))
        assert journal.written.checkpoint_bytes > 0
    write(where, [])
    with reader_of(where) as reader:
        manifest = reader.checkpoint()
        assert manifest.number == before
        require_same_state(reader.state(manifest), state_at(before))
        stored = {bytes(row[0]) for row in reader._rows(sa.select(tables.slices.c.digest))}
        assert stored == manifest.digests


def test_a_tick_that_was_refused_leaves_no_trace_and_the_journal_goes_on(where, monkeypatch):
    monkeypatch.setattr("tidegate.journal.sql.checkpoint.SLICE_BYTES", 64)
    refused = {1, 2, 7, 8, 13, 21}
    with opened(where, {}) as journal:
        for tick in ticks_of(40):
            if tick.number in refused:
                with pytest.MonkeyPatch.context() as patched:
                    patched.setattr(writer, "prune", _full)
                    patched.setattr(writer, "ANCHOR_TICKS", 1)  # every tick prunes, last of all
                    with pytest.raises(TidegateError, match="is full"):
                        journal.append(tick)
            else:
                journal.append(tick)
            if journal.wants_checkpoint:
                journal.checkpoint(tick.number, state_at(tick.number))
    with reader_of(where) as reader:
        numbers = [number for number, _ in reader.snapshots(0, 40)]
        assert numbers == [number for number in range(40) if number not in refused]
        manifest = reader.checkpoint()
        assert manifest.number >= 25
        require_same_state(reader.state(manifest), state_at(manifest.number))
        assert not np.isin(reader.last_rows(39), list(refused)).any()


def _full(*_, **__):
    raise sa.exc.OperationalError("INSERT", {}, RuntimeError("the disk is full"))


def test_what_is_old_goes_and_what_a_restart_needs_stays(where):
    kept = Retention(keep_seconds=20 * START_SECONDS, samples_seconds=10 * START_SECONDS)
    write(where, ticks_of(60), kept)
    with reader_of(where) as reader:
        span, manifest = reader.span(), reader.checkpoint()
        assert 20 <= span.last - span.first <= 20 + 2 * BLOCK
        sampled = [number for number, *_ in reader.used(0, 60)]
        assert 10 <= span.last - sampled[0] <= 10 + 2 * BLOCK
        assert [number for number, _ in reader.snapshots(manifest.number, 60)] == list(
            range(manifest.number, 60)
        )
        reader.last_rows(span.first)


def test_the_oldest_go_when_there_is_too_much(where):
    write(where, ticks_of(60), Retention(bytes_max=30_000))
    with reader_of(where) as reader:
        span, manifest = reader.span(), reader.checkpoint()
        assert span.first > 0
        assert [number for number, _ in reader.snapshots(manifest.number, 60)] == list(
            range(manifest.number, 60)
        )


def test_events_come_back_newest_last(where):
    with opened(where, {}) as journal:
        for number in range(5):
            journal.event(number, "paused", f"größe {number} 🌊", "vm" if number % 2 else None)
    with reader_of(where) as reader:
        assert [event.time_seconds for event in reader.events(last=3)] == [2, 3, 4]
        found = reader.events(last=9, workload="vm")
        assert [(event.kind, event.sentence) for event in found] == [
            ("paused", "größe 1 🌊"), ("paused", "größe 3 🌊"),
        ]  # fmt: skip


def test_one_writes_at_a_time_and_the_next_when_it_has_ended(where):
    with opened(where, {}):
        with pytest.raises(InputError, match="in use by another Tidegate"):
            write(where, [])
        with pytest.raises(InputError, match="in use by another Tidegate"):
            write(where, [])
    write(where, ticks_of(2))


def test_a_writer_that_failed_lets_go(where):
    with pytest.raises(ZeroDivisionError), opened(where, {"policy": "a"}):
        raise ZeroDivisionError
    with pytest.raises(InputError, match="is of policy a, not b") as _kept_alive:
        write(where, [], identity={"policy": "b"})
    write(where, ticks_of(2), identity={"policy": "a"})


def test_a_reader_follows_a_writer(where):
    with opened(where, {}) as journal, reader_of(where) as reader:
        for tick in ticks_of(12):
            under_way = reader.changes(0, tick.number)
            next(under_way, None)  # a reader in the middle of reading
            journal.append(tick)
            assert reader.span().last == tick.number
            assert [number for number, _ in reader.snapshots(0, tick.number)] == list(range(tick.number + 1))
            under_way.close()


def test_a_newer_journal_is_refused_by_all(where):
    write(where, ticks_of(3))
    with writing(where) as engine, engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    for open_ in (lambda: write(where, []), lambda: Reader.of(where)):
        with pytest.raises(
            TidegateError, match=rf"newer Tidegate \(revision 9999, known up to {REVISIONS[-1]}\)"
        ):
            open_()
    assert "secret" not in where.name


def test_the_migrated_tables_are_the_declared_ones(where):
    with writing(where) as engine, engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_a_server_that_is_not_there_is_told(tmp_path):
    nowhere = location(f"postgresql://me:secret@/name?host={tmp_path}")
    for open_ in (lambda: write(nowhere, []), lambda: Reader.of(nowhere)):
        with pytest.raises(TidegateError) as found:
            open_()
        assert "can't be used" in str(found.value)
        assert "\n" not in str(found.value)
        assert "secret" not in str(found.value)
