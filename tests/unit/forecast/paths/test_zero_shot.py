"""The pre-trained plug-in around a stand-in for its package, which the lock leaves out."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

from tidegate.forecast.paths.zero_shot import CONTEXT_STEPS, SERIES_AT_ONCE, Fracast, filled, with_tails
from tidegate.model.errors import InputError
from tidegate.model.panel import Panel
from tidegate.model.paths import PATH_LEVELS

NAN = np.nan


class StandIn:
    """Says the last sample plus a tenth per level, and notes what it was asked."""

    asked: list[tuple[tuple[int, ...], int]]

    @classmethod
    def from_pretrained(cls):
        made = cls()
        cls.asked = []
        return made

    def forecast_batch(self, context, *, horizon):
        assert (np.isfinite(context[:, -8:])).all()
        self.asked.append((context.shape, horizon))
        levels = np.arange(9) / 100
        return np.broadcast_to(context[:, -1, None, None] + levels, (context.shape[0], horizon, 9))


@pytest.fixture
def fracast(monkeypatch):
    package = ModuleType("fracast")
    package.FracastModel = StandIn
    monkeypatch.setitem(sys.modules, "fracast", package)
    return Fracast(seed=0)


def panel_of(shares):
    shares = np.asarray(shares, dtype=np.float32)
    return Panel(
        start_seconds=0,
        step_seconds=300,
        names=tuple(str(n) for n in range(shares.shape[1])),
        shares=shares,
        capacity=np.ones(shares.shape[1], dtype=np.float32),
    )


def test_it_answers_all_levels_in_batches_from_a_bounded_context(fracast):
    panel = panel_of(np.full((CONTEXT_STEPS + 50, SERIES_AT_ONCE + 1), 0.4))
    fracast.fit(panel)
    found = fracast.paths(panel, 60).quantiles
    assert found.shape == (PATH_LEVELS.size, 60, SERIES_AT_ONCE + 1)
    assert StandIn.asked == [((SERIES_AT_ONCE, CONTEXT_STEPS), 60), ((1, CONTEXT_STEPS), 60)]
    np.testing.assert_allclose(found[:9, 0, 0], 0.4 + np.arange(9) / 100, atol=1e-6)


def test_series_of_few_samples_or_none_are_answered(fracast):
    shares = np.full((20, 3), NAN)
    shares[3, 0] = 0.2
    shares[:, 1] = 0.5
    found = fracast.paths(panel_of(shares), 4).quantiles
    np.testing.assert_allclose(found[0, :, 0], 0.2)
    np.testing.assert_array_equal(found[:, 3, 2], PATH_LEVELS)
    assert np.isfinite(fracast.paths(panel_of(shares[:2]), 4).quantiles).all()


def test_a_gap_repeats_the_sample_before_it_and_what_was_before_the_first_stays_unknown():
    shares = np.array([[NAN, NAN, 0.1, NAN, 0.3, NAN, NAN, NAN, 0.5, NAN, NAN, NAN]], dtype=np.float32).T
    found = filled(shares, np.zeros(1, dtype=np.float32))[:, 0]
    wanted = [NAN, NAN, 0.1, 0.1, 0.3, 0.3, 0.3, 0.3, 0.5, 0.5, 0.5, 0.5]
    np.testing.assert_allclose(found, wanted)


def test_the_tail_above_nine_tenths_is_exponential():
    # Of an exponential distribution the quantiles are known: -log(1 - level) of its mean.
    said = -np.log(1 - np.arange(1, 10) / 10).astype(np.float32)[:, None, None] / 10
    found = with_tails(said)[:, 0, 0]
    np.testing.assert_allclose(found, -np.log(1 - PATH_LEVELS) / 10, rtol=1e-5)


def test_crossed_levels_are_put_in_order():
    found = with_tails(np.linspace(0.9, 0.1, 9, dtype=np.float32)[:, None, None])
    assert (np.diff(found, axis=0) >= 0).all()


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "fracast", None)
    with pytest.raises(InputError, match=r"pip install torch==2\.13\.0 fracast"):
        Fracast(seed=0)
