"""Stages are timed under their names, since the last reading and in all."""

from __future__ import annotations

import pytest

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
