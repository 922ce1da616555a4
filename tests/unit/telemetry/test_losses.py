"""How much is lost, told honestly of few probes, and whether that has changed."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.telemetry.losses import CHANGE_PROBABILITY, chance_unchanged, loss_ratio


def counts(*numbers):
    return np.array(numbers, dtype=np.int64)


@given(st.integers(1, 1000).flatmap(lambda probes: st.tuples(st.integers(0, probes), st.just(probes))))
def test_loss_is_a_share_near_what_was_counted(pair):
    lost, probes = pair
    said = float(loss_ratio(counts(lost), counts(probes))[0])
    assert 0 < said < 1
    assert abs(said - lost / probes) <= 10 / (probes + 10)


def test_few_probes_prove_little_and_many_prove_much():
    lost, probes = counts(0, 1, 1, 10, 500), counts(10, 1, 1000, 1000, 500)
    assert loss_ratio(lost, probes) == pytest.approx([0.0005, 0.0918, 0.001, 0.0099, 0.98], rel=0.02)
    assert np.isnan(loss_ratio(counts(0), counts(0)))


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 60), st.integers(0, 60))
def test_change_is_what_fishers_test_says(lost, kept, lost_before, kept_before):
    probes, before = lost + kept, lost_before + kept_before
    everything = lost + lost_before

    def chance(of):
        outside = probes + before - everything
        return comb(everything, of) * comb(outside, probes - of) / comb(probes + before, probes)

    possible = [of for of in range(probes + 1) if of <= everything]
    tail = min(
        sum(chance(of) for of in possible if of >= lost), sum(chance(of) for of in possible if of <= lost)
    )
    said = chance_unchanged(counts(lost), counts(probes), counts(lost_before), counts(before))
    assert said == pytest.approx([tail])


def test_an_outage_is_a_change_and_so_is_its_end_but_one_lost_probe_is_not():
    lost, probes = counts(20, 0, 1, 3), counts(50, 50, 50, 50)
    lost_before, before = counts(2, 250, 0, 5), counts(550, 500, 550, 550)
    changed = chance_unchanged(lost, probes, lost_before, before) < CHANGE_PROBABILITY
    assert changed.tolist() == [True, True, False, False]


def test_a_steady_link_is_hardly_ever_said_to_have_changed():
    chance = np.random.default_rng(5)
    lost, before = chance.binomial(50, 0.02, 20_000), chance.binomial(550, 0.02, 20_000)
    same = np.full(20_000, 50), np.full(20_000, 550)
    assert np.sum(chance_unchanged(lost, same[0], before, same[1]) < CHANGE_PROBABILITY) <= 3
