"""Rehearsals decide about somebody made up: they order something, and leave nothing behind."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import sqlalchemy as sa

from tidegate.agents.servers.rehearsal import Rehearsal
from tidegate.agents.servers.servers import NANOSECONDS
from tidegate.journal.sql import tables
from tidegate.journal.sql.passing import passing
from tidegate.model.resources import Resource

RESOURCES = (Resource.CPU, Resource.MEMORY)
BEGAN_SECONDS = 1_700_000_000


@pytest.fixture
def rehearsed():
    """A rehearsal, its journal, and how it is turned."""
    seconds = [BEGAN_SECONDS]
    with passing() as journal:
        rehearsal = Rehearsal(
            resources=RESOURCES,
            step_seconds=1,
            policy_name="tidegate",
            model="live",
            now_nanoseconds=lambda: seconds[0] * NANOSECONDS,
            journal=journal,
        )

        def turn(times):
            for _ in range(times):
                seconds[0] += 1
                rehearsal.rehearse()
                yield
                rehearsal.think()

        yield rehearsal, journal, turn


def count(journal, table):
    with journal._engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table))


def test_it_walks_the_whole_way_and_changes_what_the_made_up_workloads_hold(rehearsed):
    rehearsal, journal, turn = rehearsed
    held = []
    for _ in turn(100):
        assert count(journal, tables.ticks) == 1
        held.append(rehearsal._grant.copy())
    changed = sum(not np.array_equal(one, other) for one, other in itertools.pairwise(held))
    assert changed >= 5, changed


def test_nothing_of_it_piles_up(rehearsed):
    rehearsal, journal, turn = rehearsed
    for _ in turn(130):
        pass
    assert count(journal, tables.ticks) == count(journal, tables.events) == 0
    assert count(journal, tables.fleets) == 1
    assert rehearsal._servers.next_orders("rehearsal") is None
    assert rehearsal._servers.collect().phase.size <= rehearsal._grant.size


def test_after_what_was_forgotten_it_goes_on(rehearsed):
    """A whole tick, an anchor and a fleet are stored on top of nothing."""
    rehearsal, journal, turn = rehearsed
    for at, _ in enumerate(turn(3)):
        assert count(journal, tables.ticks) == 1
        assert rehearsal._number == at + 1
