"""Scores follow demand, margins keep what was agreed, on any input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tidegate.model.forecast import ServerForecast
from tidegate.plan.policies.calibrated_reactive import MARGIN_RATIO_MAX, MARGIN_RATIO_MIN, next_margin
from tidegate.score.card_pressure import CardPressure
from tidegate.testing import forecast_of
from tidegate.testing.random_fleets import random_snapshot

seeds = st.integers(0, 2**32 - 1)


def with_servers(snapshot, quantiles):
    servers = ServerForecast(
        levels=np.float32([0.5, 0.9, 0.999]), quantiles=quantiles.astype(np.float32), horizon_seconds=3600
    )
    return replace(forecast_of(snapshot, snapshot.capacity), servers=servers)


@given(seed=seeds)
def test_more_demand_never_lowers_a_score(seed):
    snapshot = random_snapshot(seed)
    assume(len(snapshot.roster))  # an empty fleet is a test of its own, in tests/unit/score
    rng = np.random.default_rng((seed, 4))
    shape = 3, len(snapshot.resources), len(snapshot.places.names)
    low = np.sort(rng.random(shape), axis=0) * snapshot.places.allocatable.max(axis=1)[None, :, None]
    high = low + rng.random(shape[1:]) * low.max()
    before = CardPressure().score(snapshot, with_servers(snapshot, low))
    after = CardPressure().score(snapshot, with_servers(snapshot, high))
    if before is None or after is None:
        assert not snapshot.places.is_card.any()
        return
    assert (after.value >= before.value).all()
    assert ((before.value >= 0) & (before.value <= 100)).all()
    assert (before.parts >= 0).all()
    assert all(before.because(row) for row in range(before.value.size))


@given(seed=seeds, sla=st.floats(1e-4, 0.5))
def test_a_margin_stays_within_its_bounds(seed, sla):
    rng = np.random.default_rng(seed)
    margin = rng.uniform(MARGIN_RATIO_MIN, MARGIN_RATIO_MAX, (2, 10))
    rate = np.full(10, sla, dtype=np.float32)
    for _ in range(50):
        present = rng.random(margin.shape) < 0.8
        after = next_margin(margin, rng.random(margin.shape) < rng.random(), present, rate)
        assert ((after >= MARGIN_RATIO_MIN) & (after <= MARGIN_RATIO_MAX)).all()
        assert (after == margin)[~present].all()
        margin = after


@settings(max_examples=5)
@given(seed=seeds, sla=st.sampled_from([0.01, 0.05, 0.2]))
def test_in_the_long_run_as_many_samples_run_short_as_the_sla_allows(seed, sla):
    # log m moves by v - sla each sample, and stays in a range of log(1e4) = 9.2: over n samples the
    # share of violations is within 9.2 / n of the SLA, but for the kicks and the clips at the ends. Demand
    # stays below 1 / e, so that no step up is clipped at capacity: that would cost more violations.
    rng = np.random.default_rng(seed)
    samples, series = 6000, 8
    demand = 0.36 * rng.beta(2, 5, (samples, 1, series))
    margin = np.full((1, series), 0.05)
    short = np.zeros((1, series))
    rate = np.full(series, sla, dtype=np.float32)
    present = np.ones((1, series), dtype=np.bool_)
    for now in demand:
        violated = now > margin
        short += violated
        margin = next_margin(margin, violated, present, rate)
    np.testing.assert_allclose(short / samples, sla, atol=0.003)
