"""Stages are timed under their names, since the last reading and in all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.app import stopwatch
from tidegate.app.stopwatch import StageTimer
from tidegate.testing import ManualClock


@pytest.fixture
def clock(monkeypatch):
    clock = ManualClock()
    monkeypatch.setattr(stopwatch, "perf_counter", clock.now_seconds)
    return clock


def test_a_stage_is_timed_even_where_it_fails(clock):
    timer = StageTimer()

    def fail():
        with timer.stage("plan"):
            clock.advance(2)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert timer.seconds() == {"plan": 2}


def test_a_reading_starts_anew_and_the_total_goes_on(clock):
    timer = StageTimer()
    for seconds in (1, 2):
        with timer.stage("plan"):
            clock.advance(seconds)
    assert timer.seconds() == {"plan": 3}
    with timer.stage("plan"):
        clock.advance(4)
    assert timer.seconds() == {"plan": 4}
    assert timer.seconds() == {}
    assert timer.total_seconds == {"plan": 7}


def test_a_stage_within_another_counts_for_itself_alone(clock):
    timer = StageTimer()
    with timer.stage("plan"):
        clock.advance(1)
        with timer.stage("shadow"):
            clock.advance(2)
            with timer.stage("forecast"):
                clock.advance(4)
        clock.advance(8)
        with timer.stage("shadow"):
            clock.advance(16)
    assert timer.seconds() == {"plan": 9, "shadow": 18, "forecast": 4}


@given(st.recursive(st.integers(0, 9), lambda inner: st.lists(inner, max_size=4), max_leaves=20))
def test_stages_add_up_to_the_whole_however_they_are_nested(tree):
    clock, timer = ManualClock(), StageTimer()

    def run(part, depth=0):
        with timer.stage(f"stage {depth % 3}"):
            if isinstance(part, int):
                clock.advance(part)
            for inner in () if isinstance(part, int) else part:
                run(inner, depth + 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopwatch, "perf_counter", clock.now_seconds)
        run(tree)
    assert sum(timer.total_seconds.values()) == clock.now_seconds()
    assert min(timer.total_seconds.values()) >= 0


def test_a_stage_that_fails_within_another_leaves_the_outer_one_right(clock):
    timer = StageTimer()

    def fail():
        with timer.stage("plan"), timer.stage("shadow"):
            clock.advance(2)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with timer.stage("plan"):
        clock.advance(1)
    assert timer.seconds() == {"plan": 1, "shadow": 2}
