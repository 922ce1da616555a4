"""Gains that are chance, and gains that are not."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.forecast.feeds.significance import FALSE_RATIO, judge


def test_noise_is_on_about_never_and_a_plain_gain_always():
    random = np.random.default_rng(0)
    gain = random.normal(0, 1, size=(20, 400))
    gain[:, :40] += 2
    judged = judge(gain, np.ones(gain.shape), seed=1)
    assert (judged.low[:40] > 0).mean() > 0.95
    assert (judged.low[40:] > 0).mean() < 0.03
    assert (judged.low <= judged.gain).all()
    assert (judged.gain <= judged.high).all()


def test_one_pair_alone_is_wrong_as_often_as_promised():
    random = np.random.default_rng(2)
    found = [
        judge(random.normal(0, 1, size=(16, 1)), np.ones((16, 1)), seed=seed).low[0] > 0
        for seed in range(600)
    ]
    assert 0.02 < np.mean(found) < 2 * FALSE_RATIO


def test_rare_events_are_judged_by_their_blocks_alone():
    gain, moved = np.zeros((30, 1)), np.zeros((30, 1))
    gain[[3, 9, 15, 21, 27], 0], moved[[3, 9, 15, 21, 27], 0] = [1.0, 1.1, 0.9, 1.2, 0.8], 1
    assert judge(gain, moved, seed=0).low[0] > 0
    gain[27] = -6
    assert judge(gain, moved, seed=0).low[0] < 0


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_a_few_blocks_prove_nothing(blocks):
    gain = np.ones((blocks, 1))
    assert judge(gain, gain, seed=0).low[0] <= 0


def test_a_feed_that_said_nothing_gained_nothing():
    judged = judge(np.zeros((9, 2)), np.zeros((9, 2)), seed=0)
    assert judged.low.tolist() == judged.high.tolist() == [0, 0]
