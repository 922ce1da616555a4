"""Ridge and trees: what they learn serves other series, is stored whole, and is refused when it isn't."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.forecast.paths import ridge, trees
from tidegate.forecast.paths.ridge import Ridge
from tidegate.forecast.paths.trees import LightGbm
from tidegate.model.errors import InputError
from tidegate.model.panel import Panel

STEP = 1800
DAY = 48
MEDIAN = 4


@pytest.fixture(autouse=True, scope="module")
def _small() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ridge, "ROWS", 3000)
        patch.setattr(trees, "ROWS", 8000)
        patch.setattr(trees, "TREES", 30)
        yield


def panel_of(shares: np.ndarray) -> Panel:
    count = shares.shape[1]
    return Panel(
        start_seconds=1_700_006_400,
        step_seconds=STEP,
        names=tuple(f"vm{at}" for at in range(count)),
        shares=shares.astype(np.float32),
        capacity=np.full(count, 4, dtype=np.float32),
    )


def falling_back(days: int, count: int, seed: int) -> np.ndarray:
    """Each sample goes half the way back to the series' own level: knowing that beats the last sample."""
    random = np.random.default_rng(seed)
    level = random.uniform(0.2, 0.6, count)
    shares = np.empty((days * DAY, count))
    now = level
    for step in range(days * DAY):
        now = level + 0.5 * (now - level) + random.normal(0, 0.05, count)
        shares[step] = now
    return np.clip(shares, 0, 1)


@pytest.fixture(scope="module", params=[Ridge, LightGbm], ids=["ridge", "lightgbm"])
def model(request: pytest.FixtureRequest) -> Ridge | LightGbm:
    made = request.param(seed=0)
    made.fit(panel_of(falling_back(10, 30, seed=1)))
    return made


def test_series_it_never_saw_fall_back_to_their_level(model: Ridge | LightGbm) -> None:
    others = falling_back(10, 40, seed=2)
    error = last_error = 0.0
    for origin in range(8 * DAY, 9 * DAY, 6):
        said = model.paths(panel_of(others[:origin]), 12).quantiles
        came = others[origin : origin + 12]
        error += float(np.abs(said[MEDIAN] - came).mean())
        last_error += float(np.abs(others[origin - 1] - came).mean())
    assert error < 0.85 * last_error


def test_what_it_promises_is_about_kept(model: Ridge | LightGbm) -> None:
    others = falling_back(10, 60, seed=3)
    covered = [
        others[None, origin : origin + DAY] <= model.paths(panel_of(others[:origin]), DAY).quantiles
        for origin in range(8 * DAY, 9 * DAY, 6)
    ]
    assert abs(np.mean(covered, axis=(0, 2, 3))[8] - 0.9) < 0.06


def test_restored_it_says_the_same(model: Ridge | LightGbm) -> None:
    past = panel_of(falling_back(8, 5, seed=4))
    other = type(model)(seed=9)
    other.restore(model.state())
    np.testing.assert_array_equal(other.paths(past, DAY).quantiles, model.paths(past, DAY).quantiles)


def test_what_was_never_fitted_says_so(model: Ridge | LightGbm) -> None:
    with pytest.raises(RuntimeError, match="not fitted"):
        type(model)(seed=0).paths(panel_of(falling_back(3, 2, seed=0)), 4)
    fresh = type(model)(seed=0)
    fresh.restore(fresh.state())
    with pytest.raises(RuntimeError, match="not fitted"):
        fresh.paths(panel_of(falling_back(3, 2, seed=0)), 4)


def test_too_little_history_is_refused(model: Ridge | LightGbm) -> None:
    with pytest.raises(InputError, match="two days"):
        type(model)(seed=0).fit(panel_of(falling_back(1, 3, seed=0)))


def test_damaged_state_is_refused_and_changes_nothing(model: Ridge | LightGbm) -> None:
    past = panel_of(falling_back(8, 5, seed=4))
    before = model.paths(past, 4).quantiles
    for name, array in model.state().items():
        lacking = {key: value for key, value in model.state().items() if key != name}
        with pytest.raises(InputError):
            model.restore(lacking)
        with pytest.raises(InputError):
            model.restore({**lacking, name: array[: array.shape[0] // 2]})
    np.testing.assert_array_equal(model.paths(past, 4).quantiles, before)
