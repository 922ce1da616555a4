"""Newcomers start from what the engine remembers of their peers, and their own samples take over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.forecast.engine import Engine
from tidegate.forecast.engine.variants import WithoutPeers
from tidegate.model.resources import Resource
from tidegate.testing import roster_of, snapshot_of

STEP = 3600
START = 1_704_067_200
SETTLED = 6


def run(kind, ticks, newcomer_at):
    """An engine over a fleet of which the last comes later; the others do the same thing every day."""
    random = np.random.default_rng(4)
    engine = kind(resources=(Resource.CPU,), step_seconds=STEP, seed=1)
    said = None
    for tick in range(ticks):
        count = SETTLED + (tick >= newcomer_at)
        used = 2 + np.sin(2 * np.pi * tick / 24) + random.normal(0, 0.3, SETTLED + 1)
        snapshot = snapshot_of(
            used[:count].clip(0), capacity=8.0, held=8.0, time_seconds=START + STEP * (tick + 1)
        )
        snapshot = replace(
            snapshot, roster=roster_of(count, names=tuple(f"web-{row}" for row in range(count)))
        )
        engine.observe(snapshot)
        said = engine.forecast(snapshot)
    return engine, said


def test_the_record_of_its_peers_is_its_start():
    before, _ = run(Engine, ticks=72, newcomer_at=72)
    wanted = np.median(before._record["loss"][:, 0], axis=-1)
    assert (wanted > 0).all()
    engine, _ = run(Engine, ticks=73, newcomer_at=72)
    # Its first sample has been judged since: what it said before it came was everything.
    found = engine._record["loss"][:, 0, SETTLED]
    assert found == pytest.approx(wanted, rel=0.5)
    alone, _ = run(WithoutPeers, ticks=73, newcomer_at=72)
    assert (alone._record["loss"][:, 0, SETTLED] < 0.5 * found).all()


def test_the_network_may_act_for_a_newcomer_sooner_than_for_a_new_fleet():
    _, early = run(Engine, ticks=12, newcomer_at=0)
    assert early.profiling.all()
    _, said = run(Engine, ticks=72 + 8, newcomer_at=72)
    assert not said.profiling[0, SETTLED]
    _, without = run(WithoutPeers, ticks=72 + 8, newcomer_at=72)
    assert without.profiling[0, SETTLED]
