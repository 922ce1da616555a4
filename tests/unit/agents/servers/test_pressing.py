"""Servers' scores: a history stays its server's, the strictest rate counts, no limit keeps nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.agents.servers.pressing import Pressing
from tidegate.model.resources import Resource
from tidegate.model.roster import HOST, NO_CARD, SHARES, one_unbounded_server
from tidegate.model.snapshot import Snapshot
from tidegate.testing import roster_of

RESOURCES = (Resource.CPU, Resource.MEMORY)
ALLOCATABLE = np.array([8.0, 8e9])


def shown(time_seconds, used, held, roster):
    grant = np.zeros((SHARES, *used.shape), dtype=np.float32)
    grant[HOST] = held
    count = used.shape[1]
    return Snapshot(
        time_seconds=time_seconds,
        step_seconds=1,
        resources=RESOURCES,
        roster=roster,
        places=one_unbounded_server(2),
        host=np.zeros(count, dtype=np.int32),
        card=np.full(count, NO_CARD, dtype=np.int32),
        used=used.astype(np.float32),
        capacity=np.full(used.shape, 8.0, dtype=np.float32),
        pressed=np.zeros(used.shape, dtype=np.bool_),
        grant=grant,
        in_flight=np.zeros_like(grant),
    )


class Card:
    """Applications that work for servers, and what each server's score is."""

    def __init__(self):
        self.pressing, self.time = Pressing(resources=RESOURCES), 1_700_000_000

    def turn(self, seconds, cores, whose, rates=0.01):
        rows = len(cores)
        self.roster = replace(
            roster_of(rows, resources=2, names=[f"app-{at}" for at in range(rows)]),
            violation_rate=np.broadcast_to(np.float32(rates), (rows,)).copy(),
        )
        used = np.stack([np.array(cores), np.zeros(rows)])
        for _ in range(seconds):
            self.time += 1
            self.last = shown(self.time, used, used * 1.5, self.roster)
            self.pressing.show(self.last, whose)
        self.whose = whose

    def scores(self, reserved=None):
        reserved = self.last.grant[HOST] if reserved is None else np.array(reserved, dtype=np.float32)
        found = self.pressing.scores(self.last, self.whose, ALLOCATABLE, reserved)
        return {one.server: one.score for one in found}


def test_a_server_keeps_its_history_where_another_comes_before_it():
    card = Card()
    card.turn(300, [4.0], ["z"])
    alone = card.scores()["z"]
    card.turn(15, [0.1, 4.0], ["a", "z"])
    both = card.scores()
    assert both["z"] == pytest.approx(alone, rel=0.1)
    assert both["a"] < both["z"]


def test_the_strictest_rate_counts_as_soon_as_it_is_there():
    card = Card()
    card.turn(30, [1.0, 1.0], ["s", "s"], [0.2, 0.2])
    assert card.pressing._roster.violation_rate == np.float32(0.2)
    card.turn(30, [1.0, 1.0], ["s", "s"], [0.2, 0.001])
    assert card.pressing._roster.violation_rate == np.float32(0.001)


def test_who_has_no_limit_leaves_to_others_what_it_does_not_use():
    card = Card()
    card.turn(120, [2.0, 1.0], ["s", ""])
    without = card.scores([[3.0, np.nan], [np.nan, np.nan]])["s"]
    assert without == pytest.approx(card.scores([[3.0, 1.0], [0.0, 0.0]])["s"])
    assert without < 100
