"""The whole way from a trace to a score keeps what the formula promises: more demand, higher scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tidegate.cli.score import last_tick
from tidegate.drivers.simulated.build import build_world, read_scenario
from tidegate.lab.archive import generated_trace

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "scenarios"


@pytest.fixture(scope="module")
def scenario():
    return read_scenario(EXAMPLES / "two_servers_one_card.toml")


def scores_of(scenario, trace, *, factor, seed):
    scaled = replace(trace, used=np.minimum(trace.used * np.float32(factor), trace.capacity))
    world = build_world(scenario, scaled, seed=seed, grow=True)
    scores = last_tick(world, "static", seed=seed, ticks=trace.ticks).scores
    assert scores is not None
    return scores


# The formula is monotone in the forecast (test_scores_and_margins); what a forecaster makes of a scaled
# past is not bound to be, so a few worlds stand for the way from a trace to a score.
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("factor", [0.2, 0.5])
def test_scaling_up_the_demand_of_a_trace_raises_every_score(scenario, seed, factor):
    trace = generated_trace(vms=12, days=0.5, step_seconds=900, seed=seed)
    low = scores_of(scenario, trace, factor=factor, seed=seed)
    high = scores_of(scenario, trace, factor=1.0, seed=seed)
    assert low.names == high.names
    assert (high.value >= low.value).all()
    asks = low.parts.max(axis=0) > 0
    assert (high.parts.max(axis=0) > low.parts.max(axis=0))[asks].all()
    assert (high.demand[:, asks] >= low.demand[:, asks]).all()
