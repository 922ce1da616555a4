"""A journal opens, or says in one sentence why not; what is not ours is never touched."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from importlib import resources

import alembic.op
import numpy as np
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tidegate.journal.sql import tables
from tidegate.journal.sql.opening import REVISIONS, location, reading, steering, writing
from tidegate.journal.sql.reader import Reader
from tidegate.journal.sql.writer import opened
from tidegate.model.errors import InputError, TidegateError
from tidegate.model.outcome import nothing_confirmed
from tidegate.model.tick import Tick
from tidegate.plan.difference import difference
from tidegate.testing import forecast_of
from tidegate.testing.random_fleets import random_plan, random_snapshot

TICKS = 8


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


def journal_at(path, ticks=TICKS):
    """Write a journal with a checkpoint and nothing beside it."""
    snapshot = random_snapshot(5)
    with opened(location(str(path)), {"policy": "static"}) as journal:
        for number in range(ticks):
            journal.append(tick_of(number, replace(snapshot, time_seconds=1000 + number)))
            if journal.wants_checkpoint:
                journal.checkpoint(number, {"stage.ring": np.arange(9000.0)})
    path.with_name(path.name + ".lock").unlink()
    return path


def database_at(path, script):
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.commit()
    connection.close()
    return path


def truncated(path, ratio):
    os.truncate(journal_at(path, 40), int(path.stat().st_size * ratio))
    return path


def opening(where):
    with opened(where, {}):
        pass


def steered(where):
    with steering(where):
        pass


def read(where):
    reader = Reader.of(where)
    try:
        return reader.span()
    finally:
        reader.close()


def read_all(where):
    """Everything there is to read, so that damage anywhere is met."""
    reader = Reader.of(where)
    try:
        span = reader.span()
        for _ in reader.changes(span.first, span.last):
            pass
        for _ in reader.snapshots(span.first, span.last):
            pass
        reader.used(span.first, span.last)
        reader.last_rows(span.last)
        manifest = reader.checkpoint()
        if manifest is not None:
            reader.state(manifest)
        return reader.identity(), reader.events(last=10), reader.number_at(span.last_seconds)
    finally:
        reader.close()


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def sentence_of(found):
    said = str(found.value)
    assert "\n" not in said
    return said


NOT_OURS = {
    "text": lambda path: path.write_text("time,vm\n" * 1000),
    "short": lambda path: path.write_bytes(b"SQLite"),
    "header": lambda path: path.write_bytes(b"SQLite format 3\0"),
    "database": lambda path: database_at(path, "CREATE TABLE a(b); INSERT INTO a VALUES(1)"),
    "database_with_a_log": lambda path: database_at(path, "PRAGMA journal_mode=WAL; CREATE TABLE a(b)"),
    "view": lambda path: database_at(path, "CREATE VIEW a AS SELECT 1"),
    "another_with_our_revision": lambda path: database_at(
        path,
        f"CREATE TABLE alembic_version(version_num); INSERT INTO alembic_version VALUES('{REVISIONS[0]}')",
    ),
    "newer": lambda path: database_at(journal_at(path), "UPDATE alembic_version SET version_num='9999'"),
    "newer_still_open": lambda path: database_at(
        journal_at(path), "PRAGMA journal_mode=DELETE; UPDATE alembic_version SET version_num='9999'"
    ),
    "truncated_header": lambda path: truncated(path, 0.0005),
    "truncated_page": lambda path: truncated(path, 0.01),
    "truncated_third": lambda path: truncated(path, 0.3),
    "truncated_most": lambda path: truncated(path, 0.9),
}


@pytest.mark.parametrize("open_", [opening, steered, read], ids=["write", "steer", "read"])
@pytest.mark.parametrize("what", NOT_OURS)
def test_what_is_no_journal_of_ours_is_refused_and_left_as_it_is(tmp_path, what, open_):
    path = tmp_path / "j.db"
    NOT_OURS[what](path)
    before = files_in(tmp_path)
    with pytest.raises(TidegateError) as found:
        open_(location(str(path)))
    assert str(path) in sentence_of(found)
    after = files_in(tmp_path)
    assert after.pop("j.db.lock", b"") == b""
    assert after == before


def test_a_newer_journal_asks_for_an_upgrade(tmp_path):
    path = tmp_path / "j.db"
    NOT_OURS["newer"](path)
    with pytest.raises(TidegateError, match=r"newer Tidegate \(revision 9999, known up to .*upgrade"):
        opening(location(str(path)))


@pytest.mark.parametrize("open_", [opening, steered])
def test_where_there_is_no_file_or_an_empty_one_a_journal_is_made(tmp_path, open_):
    deep = tmp_path / "a/b/j.db"
    open_(location(str(deep)))
    empty = tmp_path / "empty.db"
    empty.touch()
    open_(location(str(empty)))
    for path in (deep, empty):
        assert read(location(str(path))) is None


def test_a_journal_that_is_not_there_is_not_made_by_reading(tmp_path):
    with pytest.raises(InputError, match=r"there is no journal .*j\.db; run"):
        read(location(str(tmp_path / "j.db")))
    assert list(tmp_path.iterdir()) == []


NAMES = (
    "with space",
    "what?",
    "a#b",
    "100%",
    "%20",
    "größe-日本-🌊",
    "a&b=c",
    "back\\slash",
    "'quoted\"",
    "a;b",
    "-x",
)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_a_file_of_that_name(tmp_path, name):
    path = tmp_path / name / f"{name}.db"
    path.parent.mkdir()
    journal_at(path)
    assert [found.name for found in path.parent.iterdir()] == [f"{name}.db"]
    assert read(location(str(path))).last == TICKS - 1


def test_a_name_that_is_not_text_is_a_file_of_that_name(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.db")
    assert read(location(str(journal_at(path)))).last == TICKS - 1


@pytest.mark.parametrize("open_", [opening, steered, read], ids=["write", "steer", "read"])
@pytest.mark.parametrize("name", ["", ".", "folder", "x" * 300, "file/j.db", "nul\0.db", "loop"])
def test_a_path_that_can_be_no_file_is_refused(tmp_path, monkeypatch, name, open_):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(TidegateError) as found:
        open_(location(name))
    sentence_of(found)


@pytest.mark.parametrize(
    "text",
    ["~nobody-of-that-name/j.db", "postgresql://host:port/name", "://", "mysql://host/name", "sqlite://",
     "postgresql://[::1/name", "http://example.org/j.db"],
)  # fmt: skip
def test_a_place_that_is_none_is_refused(text):
    with pytest.raises(InputError) as found:
        location(text)
    sentence_of(found)


def test_a_password_is_never_told():
    where = location("postgresql://me:secret@nowhere.invalid/name")
    assert "secret" not in where.name
    with pytest.raises(TidegateError) as found:
        opening(location("postgresql://me:secret@/name?host=/nowhere"))
    assert "secret" not in sentence_of(found)


def _as_nobody(path, open_):
    """Open a path as a user who may do nothing, in a child: root may do everything."""
    child = os.fork()
    if child == 0:  # what happens here is told by the exit code alone
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        code = 9
        try:
            open_(location(str(path)))
            code = 0
        except InputError:
            code = 2
        except TidegateError:
            code = 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not")
@pytest.mark.parametrize("open_", [opening, steered, read], ids=["write", "steer", "read"])
@pytest.mark.parametrize("where", ["folder", "file"])
def test_a_path_without_permission_is_refused(tmp_path, where, open_):
    folder = tmp_path / "mine"
    folder.mkdir()
    path = journal_at(folder / "j.db")
    for parent in tmp_path.parents[:3]:
        parent.chmod(0o755)
    tmp_path.chmod(0o755)
    folder.chmod(0o700 if where == "folder" else 0o777)
    path.chmod(0o600)
    assert _as_nobody(path, open_) in {1, 2}


@pytest.mark.parametrize("seed", [*range(8), 18])
def test_scribbled_pages_are_told_in_a_sentence_or_do_not_matter(tmp_path, seed):
    path = journal_at(tmp_path / "j.db", 40)
    rng = np.random.default_rng(seed)
    hurt = bytearray(path.read_bytes())
    at, size = int(rng.integers(100, len(hurt))), int(rng.integers(1, 3000))
    hurt[at : at + size] = rng.bytes(len(hurt[at : at + size]))
    path.write_bytes(hurt)
    for open_ in (read_all, opening):
        try:
            open_(location(str(path)))
        except TidegateError as error:
            assert "\n" not in str(error), f"seed {seed}"  # noqa: PT017
        if open_ is read_all:
            assert path.read_bytes() == hurt, f"seed {seed}"


def test_a_second_writer_is_refused_until_the_first_has_ended(tmp_path):
    path = tmp_path / "j.db"
    linked = tmp_path / "other/name.db"
    linked.parent.mkdir()
    linked.symlink_to(path)
    with opened(location(str(path)), {}):
        for name in (path, linked, f"sqlite:///{path}"):
            with pytest.raises(InputError, match="in use by another Tidegate"):
                opening(location(str(name)))
    opening(location(str(linked)))


def test_a_journal_of_another_loop_is_refused_and_goes_on_with_its_own(tmp_path):
    where = location(str(tmp_path / "j.db"))
    with opened(where, {"policy": "static", "seed": "1"}):
        pass
    with (
        pytest.raises(InputError, match="is of policy static, not tidegate"),
        opened(where, {"policy": "tidegate", "more": "x"}),
    ):
        pass
    with opened(where, {"policy": "static", "seed": "1", "step": "300"}):
        pass
    reader = Reader.of(where)
    assert reader.identity() == {"policy": "static", "seed": "1", "step": "300"}
    reader.close()


def test_a_migration_that_was_interrupted_leaves_nothing_and_is_done_at_the_next_opening(
    tmp_path, monkeypatch
):
    where = location(str(tmp_path / "j.db"))
    create = alembic.op.create_table

    def interrupted(name, *columns, **options):
        if name == "slices":
            raise KeyboardInterrupt
        return create(name, *columns, **options)

    with monkeypatch.context() as patched:
        patched.setattr(alembic.op, "create_table", interrupted)
        with pytest.raises(KeyboardInterrupt):
            opening(where)
    opening(where)
    assert read(where) is None


def test_the_revisions_known_are_those_there_are_scripts_for():
    config = Config()
    config.set_main_option("script_location", str(resources.files("tidegate.journal.sql") / "migrations"))
    scripts = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(scripts)) == REVISIONS


def test_the_migrated_tables_are_the_declared_ones(tmp_path):
    with writing(location(str(tmp_path / "j.db"))) as engine, engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_a_table_that_lacks_a_column_would_be_seen(tmp_path):
    with writing(location(str(tmp_path / "j.db"))) as engine, engine.connect() as connection:
        connection.execute(sa.text("ALTER TABLE ticks DROP COLUMN anchor"))
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) != []


def test_readers_can_not_write(tmp_path):
    engine = reading(location(str(journal_at(tmp_path / "j.db"))))
    with pytest.raises(sa.exc.OperationalError, match="readonly"), engine.begin() as connection:
        connection.execute(tables.ticks.delete())
    engine.dispose()
