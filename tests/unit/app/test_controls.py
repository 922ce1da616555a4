"""What people tell a running Tidegate is kept, and heard at once by whoever runs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tidegate.journal.sql import controls as controls_module
from tidegate.journal.sql.controls import controls_of
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import Reader
from tidegate.journal.sql.writer import opened
from tidegate.model.autonomy import Autonomy, Level
from tidegate.model.errors import InputError
from tidegate.model.outcome import nothing_confirmed
from tidegate.model.plan import Reason, host_plan
from tidegate.model.tick import Tick
from tidegate.plan.difference import difference
from tidegate.testing import forecast_of, snapshot_of

PATIENCE_SECONDS = 30


@pytest.fixture
def where(tmp_path):
    return location(str(tmp_path / "journal.db"))


def test_whoever_never_said_anything_left_the_default(where):
    with controls_of(where, Level.RECOMMEND) as controls:
        assert controls.autonomy() == Autonomy(default=Level.RECOMMEND)


def test_rules_are_kept_in_the_order_they_were_last_said(where):
    with controls_of(where, Level.OBSERVE) as controls:
        for pattern, to in (("web*", Level.AUTO), ("*", Level.RECOMMEND), ("web*", Level.OBSERVE)):
            controls.allow(pattern, to, now_seconds=1)
    with controls_of(where, Level.AUTO) as controls:
        now = controls.autonomy()
    assert now == Autonomy(default=Level.AUTO, rules=(("*", Level.RECOMMEND), ("web*", Level.OBSERVE)))


def test_a_forgotten_rule_is_gone_and_one_that_never_was_is_an_error(where):
    with controls_of(where, Level.OBSERVE) as controls:
        controls.allow("web*", Level.AUTO, now_seconds=1)
        controls.forget("web*", now_seconds=2)
        assert controls.autonomy().rules == ()
        with pytest.raises(InputError, match=r"no rule for 'web\*'; 'tidegate autonomy' lists them"):
            controls.forget("web*", now_seconds=3)


def test_pause_and_resume_say_whether_they_changed_anything(where):
    with controls_of(where, Level.OBSERVE) as controls:
        said = [controls.pause(now_seconds=1), controls.pause(now_seconds=2)]
        assert controls.autonomy().paused
        said += [controls.resume(now_seconds=3), controls.resume(now_seconds=4)]
        assert not controls.autonomy().paused
    assert said == [True, False, True, False]


def test_what_was_said_is_noted_once_each(where):
    with controls_of(where, Level.OBSERVE) as controls:
        controls.allow("web*", Level.AUTO, now_seconds=1)
        controls.pause(now_seconds=2)
        controls.pause(now_seconds=3)
        controls.resume(now_seconds=4)
        controls.forget("web*", now_seconds=5)
    reader = Reader.of(where)
    noted = [(event.time_seconds, event.kind) for event in reader.events(last=10)]
    reader.close()
    assert noted == [(1, "autonomy"), (2, "paused"), (4, "resumed"), (5, "autonomy")]


def test_too_many_rules_are_refused_and_none_is_lost(where, monkeypatch):
    monkeypatch.setattr(controls_module, "RULES_MAX", 3)
    with controls_of(where, Level.OBSERVE) as controls:
        for number in range(3):
            controls.allow(f"vm-{number}", Level.AUTO, now_seconds=1)
        with pytest.raises(InputError, match="name groups by a pattern"):
            controls.allow("vm-3", Level.AUTO, now_seconds=1)
        controls.allow("vm-1", Level.OBSERVE, now_seconds=1)
        assert [pattern for pattern, _ in controls.autonomy().rules] == ["vm-0", "vm-2", "vm-1"]


def test_a_pause_outlives_the_loop_it_was_said_to(where):
    for _ in range(2):
        with opened(where, {"loop": "test"}) as journal:
            controls = journal.controls(Level.AUTO)
            was = controls.autonomy().paused
            controls.pause(now_seconds=1)
    assert was


# --- Beside a loop that runs ---------------------------------------------------------------------


def tick_of(number):
    snapshot = replace(snapshot_of([1.0, 2.0]), time_seconds=300 * (number + 1))
    plan = host_plan(snapshot, np.full((1, 2), 1 + number % 3, dtype=np.float32), Reason.BASELINE)
    return Tick(
        number=number,
        snapshot=snapshot,
        forecast=forecast_of(snapshot, 2.0),
        scores=None,
        planned=plan,
        plan=plan,
        actions=difference(plan, snapshot),
        outcome=nothing_confirmed(),
        stage_seconds={},
    )


PAUSE_AND_ALLOW = """
import sys
from tidegate.journal.sql.controls import controls_of
from tidegate.journal.sql.opening import location
from tidegate.model.autonomy import Level

with controls_of(location(sys.argv[1]), Level.OBSERVE) as controls:
    controls.pause(now_seconds=7)
    controls.allow("web*", Level.AUTO, now_seconds=7)
"""
MANY_RULES = """
import sys
from tidegate.journal.sql.controls import controls_of
from tidegate.journal.sql.opening import location
from tidegate.model.autonomy import Level

with controls_of(location(sys.argv[1]), Level.OBSERVE) as controls:
    for number in range(10):
        controls.allow(sys.argv[2] + str(number), Level.AUTO, now_seconds=number)
"""


def speaking(script, where, *arguments):
    return subprocess.Popen([sys.executable, "-c", script, str(where.path), *arguments])


def test_a_running_loop_hears_another_process_at_once_and_loses_no_tick(where):
    """It has read its own journal, as every start does: that must not cost it its hold on the file."""
    with opened(where, {"loop": "test"}) as journal:
        controls = journal.controls(Level.OBSERVE)
        journal.append(tick_of(0))
        assert controls.autonomy() == Autonomy(default=Level.OBSERVE)
        reader = Reader.of(where)
        reader.span()
        reader.close()
        assert speaking(PAUSE_AND_ALLOW, where).wait(PATIENCE_SECONDS) == 0
        assert controls.autonomy() == Autonomy(
            default=Level.OBSERVE, rules=(("web*", Level.AUTO),), paused=True
        )
        for number in range(1, 4):
            journal.append(tick_of(number))
        other = Reader.of(where)
        assert other.span().last == 3
        other.close()
    again = Reader.of(where)
    assert [of.number for of in again.changes(0, 9)] == [0, 1, 2, 3]
    again.close()


def test_two_processes_that_speak_at_once_are_both_heard(where):
    with opened(where, {"loop": "test"}) as journal:
        processes = [speaking(MANY_RULES, where, name) for name in ("a", "b")]
        assert [process.wait(PATIENCE_SECONDS) for process in processes] == [0, 0]
        patterns = [pattern for pattern, _ in journal.controls(Level.OBSERVE).autonomy().rules]
    assert sorted(patterns) == [f"{name}{number}" for name in ("a", "b") for number in range(10)]
