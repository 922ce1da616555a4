"""The LSTM: that it learns, that numpy says what JAX says, and that carried and cold are the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.forecast.paths import lstm_memory, lstm_network, lstm_training
from tidegate.forecast.paths.lstm import Lstm
from tidegate.forecast.paths.lstm_training import Schedule
from tidegate.model.errors import InputError
from tidegate.model.panel import Panel
from tidegate.model.paths import PATH_LEVELS

MONDAY = 1_704_067_200
HOUR = 3600
DAY = 24
BRIEF = Schedule(batch=16, round=40, rounds_max=3)


def waves(*, days, series, seed=0, step=HOUR):
    """Return series with a clear daily wave, each of its own phase and size, and a little noise."""
    random = np.random.default_rng(seed)
    day = 86_400 // step
    at = np.arange(days * day)[:, None]
    phase, size = random.random(series), random.uniform(0.1, 0.35, series)
    shares = 0.45 + size * np.sin(2 * np.pi * (at / day + phase)) + 0.01 * random.standard_normal((1, 1))
    shares += 0.01 * random.standard_normal(shares.shape)
    return Panel(
        start_seconds=MONDAY,
        step_seconds=step,
        names=tuple(f"vm-{n}" for n in range(series)),
        shares=np.clip(shares, 0, 1).astype(np.float32),
        capacity=random.uniform(1, 16, series).astype(np.float32),
    )


def train_on(panel, progress=None):
    """Train briefly; panels of one shape are compiled for only once."""
    model = Lstm(seed=1, schedule=BRIEF, progress=progress)
    model.fit(panel)
    return model


@pytest.fixture(scope="module")
def trained():
    return train_on(waves(days=20, series=12))


def untrained(step=HOUR, seed=3):
    """Return a model with weights as they are drawn: enough where only the arithmetic counts."""
    model = Lstm(seed=seed)
    drawn = lstm_network.first_weights(np.random.default_rng(seed))
    model.restore(drawn | {"version": np.array([1]), "step_seconds": np.array([step])})
    return model


# --- Learning --------------------------------------------------------------------------------------


def test_it_foresees_a_daily_wave_of_series_it_never_saw(trained):
    other = waves(days=12, series=5, seed=9)
    now = other.steps - DAY
    paths = trained.paths(other.until(now), DAY)
    came, last = other.shares[now:], other.shares[now - 1]
    missed = np.abs(paths.quantiles[4] - came).mean()
    assert missed < 0.25 * np.abs(last - came).mean()
    inside = (came >= paths.quantiles[0]) & (came <= paths.quantiles[-1])
    assert inside.mean() > 0.8


def test_paths_rise_with_the_level_and_stay_in_bounds(trained):
    paths = trained.paths(waves(days=9, series=4, seed=5), 30)
    assert paths.quantiles.shape == (PATH_LEVELS.size, 30, 4)
    assert (np.diff(paths.quantiles, axis=0) >= 0).all()
    assert paths.quantiles.min() >= 0
    assert paths.quantiles.max() <= 1


def test_training_reports_its_progress_and_draws_the_same_from_the_same_seed(trained):
    seen = []
    again = train_on(waves(days=20, series=12), seen.append)
    assert [at.round for at in seen] == [1, 2, 3]
    assert seen[-1].loss < seen[0].loss
    for name, array in trained.state().items():
        np.testing.assert_array_equal(array, again.state()[name])


def test_of_a_huge_panel_it_learns_from_a_bounded_part(monkeypatch):
    monkeypatch.setattr(lstm_training, "CELLS_MAX", 3000)
    monkeypatch.setattr(lstm_training, "SERIES_MIN", 4)
    lessons = lstm_training.lessons_of(waves(days=25, series=40), np.random.default_rng(0))
    blocks, stride, series, _ = lessons.inputs.shape
    assert series == 5
    assert blocks * stride == 600


def test_what_comes_after_a_step_does_not_change_what_was_seen_at_it():
    panel = waves(days=12, series=3)
    changed = panel.shares.copy()
    changed[200:] = 0.9
    one = lstm_training.lessons_of(panel, np.random.default_rng(0))
    two = lstm_training.lessons_of(replace(panel, shares=changed), np.random.default_rng(0))
    for name in ("inputs", "standing", "ahead", "constants", "ladders", "scale"):
        np.testing.assert_array_equal(getattr(one, name)[:25], getattr(two, name)[:25])
    assert not np.array_equal(one.inputs, two.inputs)


def test_too_short_a_history_is_refused():
    with pytest.raises(InputError, match="steps of history or more, not 48"):
        Lstm(seed=0).fit(waves(days=2, series=3))


def test_who_was_never_trained_says_so():
    with pytest.raises(RuntimeError, match="not trained"):
        Lstm(seed=0).paths(waves(days=2, series=1), 3)


# --- numpy and JAX, cold and carried -----------------------------------------------------------------


def test_numpy_says_what_jax_says():
    panel = waves(days=9, series=6)
    model = untrained()
    weights = model._trained(HOUR)
    carried = model.start(panel)
    memory = lstm_memory.fresh(6, step_seconds=HOUR, end_seconds=panel.start_seconds)
    seen = []
    for sample in panel.shares[-192:]:
        memory.end_seconds = carried.memory.end_seconds - (192 - len(seen)) * HOUR
        lstm_memory.advance(memory, sample)
        seen.append(lstm_memory.inputs(memory))
    by_jax = np.asarray(lstm_training.recurrent(weights, np.stack(seen[-96:]).transpose(2, 0, 1)))
    np.testing.assert_allclose(by_jax[:, -1].T, carried.recurrent.said, atol=1e-5)

    ahead = lstm_network.look(carried.memory, np.arange(1, 25))
    turned = {
        "standing": ahead.standing.T,
        "ahead": ahead.ahead.transpose(2, 1, 0),
        "knots": ahead.knots.T,
        "constants": ahead.constants.transpose(2, 1, 0),
        "ladders": ahead.ladders.transpose(2, 0, 1),
        "scale": ahead.scale,
    }
    by_jax = np.asarray(lstm_training.decoded(weights, carried.recurrent.said.T, turned))
    by_numpy = lstm_network.decode(weights, carried.recurrent.said, ahead)
    np.testing.assert_allclose(by_jax.transpose(2, 1, 0), by_numpy, atol=1e-5)


@pytest.mark.parametrize("step", [300, 3600])
def test_a_state_carried_sample_by_sample_is_what_a_cold_start_reads(step):
    panel = waves(days=3, series=4, step=step)
    gaps = np.random.default_rng(2).random(panel.shares.shape) < 0.1
    panel = replace(panel, shares=np.where(gaps, np.float32(np.nan), panel.shares))
    model, later = untrained(step), 7
    carried = model.start(panel.until(panel.steps - later), context_steps=20)
    for sample in panel.shares[-later:]:
        carried = model.step(carried, sample)
    cold = model.start(panel, context_steps=20 + later)
    np.testing.assert_allclose(model.quantiles(carried), model.quantiles(cold), atol=1e-5)
    assert carried.memory.end_seconds == panel.end_seconds


def test_a_step_leaves_the_state_as_large_as_it_was():
    panel, model = waves(days=3, series=2), untrained()
    carried = model.start(panel)
    size = carried.memory.day.nbytes + carried.memory.sums.nbytes + carried.recurrent.cell.nbytes
    for _ in range(100):
        carried = model.step(carried, np.array([0.1, np.nan], dtype=np.float32))
    assert size == carried.memory.day.nbytes + carried.memory.sums.nbytes + carried.recurrent.cell.nbytes


def test_steps_from_level_to_level_add_up_from_the_median():
    steps = np.array([0.5, *range(1, 11)], dtype=np.float32)
    found = lstm_network.ladder_of_steps() @ steps
    assert found[4] == 0.5
    np.testing.assert_array_equal(np.diff(found), steps[1:])


# --- Odd series, odd steps -----------------------------------------------------------------------------


@pytest.mark.parametrize("step", [60, 900, 3600, 100_000])
def test_odd_series_are_answered_sensibly(step):
    shares = np.full((300, 4), np.nan, dtype=np.float32)
    shares[:, 0] = 0.25
    shares[-3:, 1] = (0.1, 0.2, 0.3)
    shares[:5, 2] = 0.7
    panel = Panel(
        start_seconds=MONDAY,
        step_seconds=step,
        names=tuple("abcd"),
        shares=shares,
        capacity=np.array([1, 2, 3, np.nan], dtype=np.float32),
    )
    found = untrained(step).paths(panel, 5).quantiles
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[4, :, 0], 0.25, atol=0.01)
    np.testing.assert_array_equal(found[:, 2, 3], PATH_LEVELS)
    one = untrained(step).paths(panel.of(np.array([1])), 5).quantiles
    np.testing.assert_allclose(one[:, :, 0], found[:, :, 1], atol=1e-5)


def test_it_answers_a_panel_without_any_step():
    panel = waves(days=1, series=2).until(0)
    np.testing.assert_array_equal(untrained().paths(panel, 1).quantiles[:, 0, 1], PATH_LEVELS)


def test_training_survives_constant_and_empty_series():
    panel = waves(days=20, series=12)
    panel.shares[:, 0] = 0.3
    panel.shares[:, 1] = np.nan
    assert all(np.isfinite(array).all() for array in train_on(panel).state().values())


# --- Stored form ------------------------------------------------------------------------------------------


def test_it_goes_on_from_its_stored_state(trained):
    other = Lstm(seed=8)
    other.restore(trained.state())
    panel = waves(days=4, series=3, seed=2)
    np.testing.assert_array_equal(trained.paths(panel, 6).quantiles, other.paths(panel, 6).quantiles)


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("gates", None, "'gates' is missing or not"),
        ("gates", np.zeros((3, 3), dtype=np.float32), "'gates' is missing or not"),
        ("outputs_bias", np.full(lstm_network.OUTPUTS, np.nan), "finite"),
        ("version", np.array([99]), "version 99"),
        ("version", None, "lacks its 'version'"),
        ("step_seconds", np.array([0]), "step is 0 s"),
    ],
)
def test_a_wrong_or_truncated_state_is_refused_and_changes_nothing(name, array, said):
    model = untrained()
    before = {part: kept.copy() for part, kept in model.state().items()}
    state = dict(before)
    if array is None:
        del state[name]
    else:
        state[name] = array
    with pytest.raises(InputError, match=said):
        model.restore(state)
    for part, kept in model.state().items():
        np.testing.assert_array_equal(kept, before[part])


def test_a_panel_of_another_step_is_refused():
    with pytest.raises(InputError, match="trained on steps of 3600 s, not 300 s"):
        untrained(3600).paths(waves(days=1, series=1, step=300), 3)
