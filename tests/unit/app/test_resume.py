"""What a restart leaves alone: it acts on nothing, asks nobody, and journals nothing twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.app.resume import resume
from tidegate.app.wiring import guards, simulated
from tidegate.drivers.simulated.build import build_world, read_scenario
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import Reader
from tidegate.journal.sql.writer import opened

TICKS = 5


class Untouchable:
    """An actuator, and what people and drivers are asked for: none of it may be used on a restart."""

    def submit(self, actions):
        raise AssertionError("a restart acted")

    def collect(self):
        raise AssertionError("a restart collected outcomes")

    def settable(self):
        raise AssertionError("a restart asked what can be set")

    def autonomy(self):
        raise AssertionError("a restart asked for consent of now, for what was decided then")


@pytest.fixture
def where(tmp_path):
    return location(str(tmp_path / "journal.db"))


@pytest.fixture
def world():
    return build_world(read_scenario(None))


def lived(world, where):
    with opened(where, {}) as journal:
        loop = simulated(world, world.start(), policy_name="calibrated_reactive", journal=journal)
        for _ in range(TICKS):
            tick = loop.tick()
    return tick


def gone_on(world, where, change=lambda loop: loop):
    with opened(where, {}) as journal:
        loop = change(simulated(world, world.start(), policy_name="calibrated_reactive", journal=journal))
        reader = Reader.of(where)
        try:
            return loop, resume(loop, journal, reader)
        finally:
            reader.close()


def test_a_restart_acts_on_nothing_and_asks_nobody(world, where):
    lived(world, where)
    nobody = Untouchable()

    def untouchable(loop):
        every = guards(loop.telemetry, None, nobody.autonomy, settable=nobody.settable)
        return replace(loop, actuator=nobody, guards=every)

    loop, resumed = gone_on(world, where, untouchable)
    assert loop.number == TICKS
    assert resumed.repeated_ticks == TICKS
    assert loop.actuator is nobody


def test_a_restart_writes_no_tick(world, where):
    lived(world, where)
    gone_on(world, where)
    reader = Reader.of(where)
    assert [of.number for of in reader.changes(0, 99)] == list(range(TICKS))
    reader.close()


def test_what_was_asked_for_last_is_told_as_done(world, where):
    tick = lived(world, where)
    _, resumed = gone_on(world, where)
    assert len(tick.actions) > 0, "else there is nothing to tell"
    np.testing.assert_array_equal(resumed.last.grant, tick.snapshot.grant)
    at = tick.actions.share, tick.actions.resource_row, tick.actions.workload
    np.testing.assert_array_equal(resumed.after.grant[at], tick.actions.amount_to)
    rest = np.ones(tick.snapshot.grant.shape, dtype=np.bool_)
    rest[at] = False
    np.testing.assert_array_equal(resumed.after.grant[rest], tick.snapshot.grant[rest])
