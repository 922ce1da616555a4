"""A journal that is moved aside is kept, and what people said to it holds for the next one."""

from __future__ import annotations

import pytest

from tidegate.journal.sql.aside import moved_aside
from tidegate.journal.sql.controls import controls_of
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import Reader
from tidegate.journal.sql.writer import opened
from tidegate.model.autonomy import Level
from tidegate.model.errors import InputError


@pytest.fixture
def where(tmp_path):
    return location(str(tmp_path / "machine.db"))


def begun(where, policy):
    with opened(where, {"policy": policy}):
        pass


def test_nothing_to_move_is_nothing_done(where):
    assert moved_aside(where) is None
    assert not where.path.exists()


def test_the_journal_before_can_still_be_read(where):
    begun(where, "tidegate")
    aside = moved_aside(where)
    assert aside == str(where.path.with_name("machine.before.db"))
    assert Reader.of(location(aside)).identity()["policy"] == "tidegate"
    begun(where, "reactive")
    assert Reader.of(where).identity()["policy"] == "reactive"


def test_a_pause_and_autonomy_hold_for_the_next_journal(where):
    begun(where, "tidegate")
    with controls_of(where, Level.OBSERVE) as controls:
        controls.allow("web*", Level.AUTO, now_seconds=1)
        controls.allow("web-1", Level.RECOMMEND, now_seconds=2)
        controls.pause(now_seconds=3)
        before = controls.autonomy()
    moved_aside(where)
    begun(where, "reactive")
    with controls_of(where, Level.OBSERVE) as controls:
        assert controls.autonomy() == before
    assert before.paused


def test_one_that_never_turned_does_not_replace_the_one_before(where):
    begun(where, "tidegate")
    first = moved_aside(where)
    begun(where, "typo")
    assert moved_aside(where) is None
    assert Reader.of(location(first)).identity()["policy"] == "tidegate"


def test_one_in_use_stays(where):
    with opened(where, {"policy": "tidegate"}), pytest.raises(InputError, match="in use"):
        moved_aside(where)
    assert Reader.of(where).identity()["policy"] == "tidegate"


def test_a_damaged_one_is_moved_as_it_is(where):
    where.path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 5000)
    held = where.path.read_bytes()
    aside = moved_aside(where)
    assert location(aside).path.read_bytes() == held
