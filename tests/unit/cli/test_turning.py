"""Loops are turned when they are due, side by side, until one is done or somebody ends them."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from tidegate.cli import turning
from tidegate.cli.turning import NAP_SECONDS_MAX, Stop, stopped_by_signals, turn_all


class FakeTime:
    """Time that passes while somebody sleeps or works."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        assert 0 < seconds <= NAP_SECONDS_MAX
        self.now += seconds


class Turned:
    """A loop whose every turn takes as long as it is told."""

    def __init__(self, clock, step, ticks, takes=()):
        self.seconds_per_tick = step
        self.ticks_left = ticks
        self.began = []
        self._clock, self._takes = clock, list(takes)

    def turn(self):
        self.began.append(round(self._clock.now - 100, 6))
        self._clock.now += self._takes.pop(0) if self._takes else 0.0
        self.ticks_left -= 1


@pytest.fixture
def clock(monkeypatch):
    made = FakeTime()
    monkeypatch.setattr(turning, "time", made)
    return made


def test_a_loop_is_turned_once_a_step(clock):
    loop = Turned(clock, 1.0, 4, takes=[0.3] * 4)
    turn_all([loop], Stop())
    assert loop.began == pytest.approx([0, 1, 2, 3])


def test_without_a_step_it_is_turned_as_fast_as_it_goes(clock):
    loop = Turned(clock, 0.0, 5, takes=[0.01] * 5)
    turn_all([loop], Stop())
    assert loop.began == pytest.approx([0, 0.01, 0.02, 0.03, 0.04])


def test_turns_that_take_longer_than_their_step_follow_at_once(clock):
    loop = Turned(clock, 1.0, 3, takes=[1.5] * 3)
    turn_all([loop], Stop())
    assert loop.began == pytest.approx([0, 1.5, 3.0])


@pytest.mark.parametrize("held_up", [0.6, 0.95, 3.0])
def test_after_a_late_turn_the_next_comes_nearly_a_step_later(clock, held_up):
    """Rates are taken between two turns: two of them a moment apart would say nothing."""
    slow = Turned(clock, 10.0, -1, takes=[1.0 + held_up])
    loop = Turned(clock, 1.0, 5)
    turn_all([loop, slow], Stop())
    gaps = [after - before for before, after in zip(loop.began, loop.began[1:], strict=False)]
    assert min(gaps) >= 0.9 - 1e-9
    assert max(gaps) == pytest.approx(1 + held_up)


def test_a_fast_loop_does_not_starve_a_slow_one(clock):
    fast, slow = Turned(clock, 0.0, 400, takes=[0.01] * 400), Turned(clock, 1.0, -1)
    turn_all([fast, slow], Stop())
    assert slow.began == pytest.approx([0, 1, 2, 3], abs=0.021)


def test_it_ends_with_the_first_loop_that_is_done(clock):
    short, long = Turned(clock, 1.0, 2), Turned(clock, 1.0, 9)
    turn_all([short, long], Stop())
    assert (short.ticks_left, long.ticks_left) == (0, 8)


def test_whoever_was_stopped_before_is_not_turned(clock):
    loop = Turned(clock, 1.0, 3)
    turn_all([loop], Stop("SIGINT"))
    assert loop.began == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_it_waits_and_the_handlers_are_as_before(number):
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]

    class Once:
        seconds_per_tick = 60.0
        ticks_left = -1
        turns = 0

        def turn(self):
            self.turns += 1
            threading.Timer(0.05, os.kill, (os.getpid(), number)).start()

    loop, began = Once(), time.monotonic()
    with stopped_by_signals() as stop:
        turn_all([loop], stop)
    assert (stop.name, loop.turns) == (number.name, 1)
    assert time.monotonic() - began < 10
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_within_a_turn_lets_it_end():
    class Struck:
        seconds_per_tick = 0.0
        ticks_left = -1
        whole = 0

        def turn(self):
            os.kill(os.getpid(), signal.SIGINT)
            self.whole += 1

    loop = Struck()
    with stopped_by_signals() as stop:
        turn_all([loop], stop)
    assert loop.whole == 1


class Waits(turning.NothingBeside):
    """What a loop watches comes at given times."""

    def __init__(self, clock, loop, comes):
        self._clock, self._loop, self._comes = clock, loop, comes

    def is_ready(self, loop):
        done = len(self._loop.began)
        return loop is not self._loop or (
            done < len(self._comes) and self._clock.now >= 100 + self._comes[done] - 1e-9
        )

    def nap(self, seconds):
        self._clock.sleep(seconds)


def test_a_loop_waits_for_what_it_watches_and_holds_nobody_up(clock):
    late, other = Turned(clock, 1.0, 3), Turned(clock, 1.0, 9)
    turn_all([late, other], Stop(), Waits(clock, late, [0.0, 4.5, 5.0]))
    assert late.began == pytest.approx([0, 4.5, 5.4], abs=0.11)
    assert other.began == pytest.approx([0, 1, 2, 3, 4, 5], abs=0.11)
