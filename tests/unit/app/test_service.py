"""A loop with a journal hands in its memory when it is asked for, and goes on from it."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.app.resume import memory_of
from tidegate.app.service import Service
from tidegate.app.wiring import simulated
from tidegate.drivers.simulated.build import build_world, read_scenario
from tidegate.forecast.profile import Profile
from tidegate.journal.sql import writer
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import Reader
from tidegate.journal.sql.writer import opened
from tidegate.learn.observing import Observing


@pytest.fixture(scope="module")
def world():
    return build_world(read_scenario(None))


@pytest.fixture
def where(tmp_path):
    return location(str(tmp_path / "journal.db"))


def service_of(world, journal):
    profile = Profile(step_seconds=world.trace.step_seconds)
    loop = simulated(
        world,
        world.start(),
        policy_name="calibrated_reactive",
        journal=journal,
        learner=Observing(profile, profile),
        league=True,
    )
    return Service(loop=loop, journal=journal)


def test_the_first_start_has_nothing_to_go_on_from(world, where):
    with opened(where, {}) as journal:
        service = service_of(world, journal)
        assert service.go_on(where) is None
        assert service.loop.number == 0


def test_memory_is_saved_as_it_was_when_it_was_asked_for(world, where, monkeypatch):
    monkeypatch.setattr(writer, "CHECKPOINT_TICKS", 6)
    monkeypatch.setattr(writer, "SAVING_TICKS", 1)
    memories = []
    with opened(where, {}) as journal:
        service = service_of(world, journal)
        for _ in range(9):
            service.tick()
            memories.append(memory_of(service.loop))
    reader = Reader.of(where)
    manifest = reader.checkpoint()
    assert manifest.number == 6
    state = reader.state(manifest)
    reader.close()
    assert memories[6]
    for name, values in memories[6].items():
        np.testing.assert_array_equal(state[name], values, name)


def test_going_on_repeats_only_what_came_after_the_checkpoint(world, where, monkeypatch):
    monkeypatch.setattr(writer, "CHECKPOINT_TICKS", 6)
    monkeypatch.setattr(writer, "SAVING_TICKS", 1)
    with opened(where, {}) as journal:
        service = service_of(world, journal)
        for _ in range(9):
            tick = service.tick()
        memory = memory_of(service.loop)
    with opened(where, {}) as journal:
        service = service_of(world, journal)
        resumed = service.go_on(where)
        assert (resumed.checkpoint, resumed.repeated_ticks, service.loop.number) == (6, 2, 9)
        assert resumed.last.used.tobytes() == tick.snapshot.used.tobytes()
        again = memory_of(service.loop)
    assert again.keys() == memory.keys()
    for name, values in memory.items():
        np.testing.assert_array_equal(again[name], values, name)


def test_saving_counts_as_the_journals_time(world, where):
    with opened(where, {}) as journal:
        service = service_of(world, journal)
        service.tick()
        assert "journal" in service.loop.stopwatch.seconds()
