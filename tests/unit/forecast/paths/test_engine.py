"""The engine for whole paths: the gate learns whom to follow, members are heard, promises are kept."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.forecast.paths import calibration, reliance
from tidegate.forecast.paths.candidates import CANDIDATES, MEDIAN, strays, usual
from tidegate.forecast.paths.draws import Drawn
from tidegate.forecast.paths.engine import PathEngine
from tidegate.forecast.paths.gate import Gate
from tidegate.forecast.paths.histories import filled, lagged, mean_before, running_peak, running_sum
from tidegate.forecast.paths.judging import Judged
from tidegate.forecast.paths.lessons import Schedule
from tidegate.forecast.paths.looking import look_back
from tidegate.forecast.paths.outlook import Rows
from tidegate.model.errors import InputError
from tidegate.model.panel import Panel
from tidegate.model.paths import PATH_LEVELS, Paths

STEP = 1800
DAY = 48
QUICK = Schedule(batches=150, rows=512, drop_ratio=0.1)


def panel_of(shares: np.ndarray, step_seconds: int = STEP) -> Panel:
    series = shares.shape[1]
    return Panel(
        start_seconds=1_700_006_400,
        step_seconds=step_seconds,
        names=tuple(f"vm{at}" for at in range(series)),
        shares=shares.astype(np.float32),
        capacity=np.ones(series, dtype=np.float32),
    )


def mixed_fleet(days: int, seed: int = 0) -> np.ndarray:
    """Twelve series that wander, and twelve that repeat their day."""
    random = np.random.default_rng(seed)
    steps = days * DAY
    wander = 0.5 + np.cumsum(random.normal(0, 0.01, (steps, 12)), axis=0)
    turn = np.arange(steps)[:, None] % DAY
    daily = np.where(np.abs(turn - 4 * np.arange(12)) < 3, 0.8, 0.1) + random.normal(0, 0.01, (steps, 12))
    return np.clip(np.concatenate((wander, daily), axis=1), 0, 1)


def pinball(quantiles: np.ndarray, came: np.ndarray) -> float:
    short = came[None] - quantiles
    levels = PATH_LEVELS[:, None, None]
    return float(np.maximum(levels * short, (levels - 1) * short).mean())


@pytest.fixture(scope="module")
def fleet() -> np.ndarray:
    return mixed_fleet(days=14)


@pytest.fixture(scope="module")
def plain(fleet: np.ndarray) -> PathEngine:
    engine = PathEngine(seed=0, members={}, schedule=QUICK)
    engine.fit(panel_of(fleet[: 12 * DAY]))
    return engine


def test_the_gate_beats_the_mean_of_its_candidates(plain: PathEngine, fleet: np.ndarray) -> None:
    even = PathEngine(seed=0, members={}, schedule=QUICK)
    even.fit(panel_of(fleet[:DAY]))
    past, came = panel_of(fleet[: 12 * DAY]), fleet[12 * DAY : 13 * DAY]
    assert pinball(plain.paths(past, DAY).quantiles, came) < 0.8 * pinball(
        even.paths(past, DAY).quantiles, came
    )


def test_who_repeats_their_day_is_forecast_by_their_day(plain: PathEngine, fleet: np.ndarray) -> None:
    median = plain.paths(panel_of(fleet[: 12 * DAY]), DAY).quantiles[MEDIAN]
    came = fleet[12 * DAY : 13 * DAY]
    error = np.abs(median - came)[:, 12:].mean()
    assert error < 0.25 * np.abs(fleet[12 * DAY - 1] - came)[:, 12:].mean()


def test_promises_are_kept_on_days_that_were_not_learned_from(plain: PathEngine, fleet: np.ndarray) -> None:
    covered = []
    for origin in range(12 * DAY, 13 * DAY, 4):
        said = plain.paths(panel_of(fleet[:origin]), DAY).quantiles
        covered.append(fleet[None, origin : origin + DAY] <= said)
    reached = np.mean(covered, axis=(0, 2, 3))
    assert abs(reached[PATH_LEVELS.tolist().index(np.float32(0.9))] - 0.9) < 0.06


class Prophetic:
    """A member that knows the future and is sure of it."""

    def __init__(self, future: np.ndarray) -> None:
        self.future = future
        self.fitted_steps: list[int] = []

    def fit(self, panel: Panel) -> None:
        self.fitted_steps.append(panel.steps)

    def paths(self, panel: Panel, horizon_steps: int) -> Paths:
        coming = self.future[panel.steps : panel.steps + horizon_steps]
        coming = np.pad(coming, ((0, horizon_steps - len(coming)), (0, 0)), mode="edge")
        quantiles = np.repeat(coming[None], PATH_LEVELS.size, axis=0).astype(np.float32)
        return Paths(end_seconds=panel.end_seconds, step_seconds=panel.step_seconds, quantiles=quantiles)


def test_a_member_that_is_right_is_followed(fleet: np.ndarray, plain: PathEngine) -> None:
    member = Prophetic(fleet)
    engine = PathEngine(seed=0, members={"prophetic": member}, schedule=QUICK)
    engine.fit(panel_of(fleet[: 12 * DAY]))
    assert engine.candidates == (*CANDIDATES, "prophetic")
    assert member.fitted_steps[-1] == 12 * DAY, "it learns from everything before it answers"
    assert member.fitted_steps[0] < 12 * DAY, "and is judged on what it did not learn from"
    past, came = panel_of(fleet[: 12 * DAY]), fleet[12 * DAY : 13 * DAY]
    alone = pinball(plain.paths(past, DAY).quantiles, came)
    assert pinball(engine.paths(past, DAY).quantiles, came) < 0.8 * alone


class Demanding(Prophetic):
    """A member that wants more history than there is."""

    def fit(self, panel: Panel) -> None:
        raise InputError(f"{panel.steps} steps are not enough")


def test_a_member_that_cannot_learn_from_so_little_is_left_out(fleet: np.ndarray, plain: PathEngine) -> None:
    engine = PathEngine(seed=0, members={"demanding": Demanding(fleet)}, schedule=QUICK)
    engine.fit(panel_of(fleet[: 12 * DAY]))
    assert engine.candidates == CANDIDATES
    past = panel_of(fleet[: 12 * DAY])
    np.testing.assert_array_equal(engine.paths(past, 4).quantiles, plain.paths(past, 4).quantiles)


def test_series_it_never_saw_are_served(plain: PathEngine) -> None:
    others = mixed_fleet(days=13, seed=7)[:, ::2]
    said = plain.paths(panel_of(others[: 12 * DAY]), DAY).quantiles
    assert np.abs(said[MEDIAN] - others[12 * DAY :])[:, 6:].mean() < 0.1


def test_how_many_series_are_asked_about_changes_nothing_for_each(
    plain: PathEngine, fleet: np.ndarray
) -> None:
    past = panel_of(fleet[: 12 * DAY])
    some = np.array([3, 17])
    np.testing.assert_allclose(
        plain.paths(past.of(some), DAY).quantiles, plain.paths(past, DAY).quantiles[:, :, some], atol=2e-3
    )


def test_the_width_learned_is_the_width_that_was_missing() -> None:
    random = np.random.default_rng(0)
    rows = 20_000
    came = random.normal(0, 2, rows).astype(np.float32)
    claimed = np.quantile(random.normal(0, 1, 100_000), PATH_LEVELS).astype(np.float32)
    quantiles = np.broadcast_to(claimed, (rows, PATH_LEVELS.size))
    ahead = random.integers(1, DAY + 1, rows)
    width = calibration.measured(quantiles, came, ahead, STEP)
    reached = (came[:, None] <= width.applied(quantiles, ahead)).mean(axis=0)
    np.testing.assert_allclose(reached[-3:], PATH_LEVELS[-3:], atol=0.01)
    np.testing.assert_array_equal(width.stretch[:, :8], 1)


def test_rare_levels_are_never_narrowed_and_half_a_correction_is_half() -> None:
    random = np.random.default_rng(6)
    rows = 20_000
    came = random.normal(0, 0.5, rows).astype(np.float32)
    claimed = np.quantile(random.normal(0, 1, 100_000), PATH_LEVELS).astype(np.float32)
    quantiles = np.broadcast_to(claimed, (rows, PATH_LEVELS.size))
    width = calibration.measured(quantiles, came, random.integers(1, DAY + 1, rows), STEP)
    assert (width.stretch[:, -1] == 1).all()
    assert (width.stretch[:, -2] < 0.8).all()
    np.testing.assert_allclose(width.eased().stretch - 1, (width.stretch - 1) / 2, rtol=1e-5)


def gate_rows(random: np.random.Generator, count: int, candidates: int) -> Rows:
    said = np.sort(random.random((count, candidates, PATH_LEVELS.size)), axis=2).astype(np.float32)
    return Rows(
        seen=random.normal(0, 1, (count, 5)).astype(np.float32),
        said=said,
        scale=random.random(count).astype(np.float32),
    )


def drawn_of(came: np.ndarray) -> Drawn:
    nothing = np.zeros(came.size, dtype=np.intp)
    weight = np.ones(came.size, dtype=np.float32)
    return Drawn(origin=nothing, ahead=nothing, series=nothing, came=came, weight=weight)


def test_an_untrained_gate_is_the_mean_of_its_candidates() -> None:
    random = np.random.default_rng(0)
    gate = Gate(5, 4, random)
    gate.weights[-2][:] = 0
    rows = gate_rows(random, 50, 4)
    np.testing.assert_allclose(gate.blend(rows), rows.said.mean(axis=1), atol=1e-5)


def test_a_step_goes_down_the_loss_as_finite_differences_say() -> None:
    """Adam's first step is the sign of the gradient: it must agree with the loss around each weight."""
    random = np.random.default_rng(1)
    gate = Gate(5, 3, random)
    gate.weights[-2][:] = random.normal(0, 0.3, gate.weights[-2].shape)
    rows = gate_rows(random, 400, 3)
    came = random.random(400).astype(np.float32)

    def loss() -> float:
        short = came[:, None].astype(np.float64) - gate.blend(rows)
        return float(np.maximum(PATH_LEVELS * short, (PATH_LEVELS - 1) * short).mean())

    before = [weight.copy() for weight in gate.weights]
    slopes = []
    for at in (1, 3, 5):
        for place in range(0, gate.weights[at].size, 5):
            gate.weights[at][place] += 1e-2
            up = loss()
            gate.weights[at][place] -= 2e-2
            slopes.append((at, place, up - loss()))
            gate.weights[at][place] += 1e-2
    gate.learn(rows, drawn_of(came), rate=1e-3, decay=0.0)
    clear = [(at, place, slope) for at, place, slope in slopes if abs(slope) > 1e-4]
    assert len(clear) > 5
    agree = [
        np.sign(before[at][place] - gate.weights[at][place]) == np.sign(slope) for at, place, slope in clear
    ]
    assert np.mean(agree) > 0.9


def test_a_gate_restored_blends_as_before() -> None:
    random = np.random.default_rng(2)
    gate, other = Gate(5, 3, random), Gate(5, 3, random)
    rows = gate_rows(random, 20, 3)
    gate.standardise(rows.seen)
    other.restore(gate.state())
    np.testing.assert_array_equal(gate.blend(rows), other.blend(rows))


def judged_rows(random: np.random.Generator, gates_error: float, members_error: float) -> Judged:
    """Forecasts that are off by so much, each by its own chance."""
    rows = 30_000
    came = random.random(rows).astype(np.float32)
    off = [random.normal(0, error, (rows, 1)) for error in (gates_error, members_error)]
    gates, members = (
        np.repeat(came[:, None] + error, PATH_LEVELS.size, axis=1).astype(np.float32) for error in off
    )
    return Judged(
        gates=gates,
        members=members,
        came=came,
        ahead=random.integers(1, DAY + 1, rows),
        weight=np.ones(rows, dtype=np.float32),
    )


def test_who_was_right_is_relied_on() -> None:
    random = np.random.default_rng(4)
    better = reliance.measured(judged_rows(random, 0.01, 0.3), STEP).share_at(np.array([1, DAY]))
    worse = reliance.measured(judged_rows(random, 0.3, 0.01), STEP).share_at(np.array([1, DAY]))
    np.testing.assert_allclose(better, 0.25)
    np.testing.assert_allclose(worse, 0.1)


def test_what_nobody_was_asked_about_changes_no_trust() -> None:
    random = np.random.default_rng(5)
    seen = judged_rows(random, 0.3, 0.01)
    seen.members[:] = np.nan
    np.testing.assert_allclose(reliance.measured(seen, STEP).share_at(np.array([1])), 0.2)


def test_nothing_in_view_depends_on_what_comes_later(fleet: np.ndarray) -> None:
    """What the gate sees and candidates say from past origins stays when everything after changes."""
    panel = panel_of(fleet[: 8 * DAY])
    view = look_back(panel)
    origin = int(np.searchsorted(view.origins, 6 * DAY))
    changed = fleet[: 8 * DAY].copy()
    changed[view.origins[origin] :] = 1 - changed[view.origins[origin] :]
    other = look_back(panel_of(changed))
    ahead = np.tile(np.array([1, 2, DAY // 2, DAY]), 24)
    series = np.repeat(np.arange(24), 4)
    rows, same = (each.rows(np.full(96, origin), ahead, series) for each in (view, other))
    np.testing.assert_array_equal(rows.said, same.said)
    np.testing.assert_array_equal(rows.seen, same.seen)


def test_histories_look_back_only() -> None:
    random = np.random.default_rng(3)
    shares = random.random((60, 3)).astype(np.float32)
    shares[5:9, 1] = np.nan
    shares[:4, 2] = np.nan
    history = filled(shares)
    assert history[7, 1] == shares[4, 1]
    assert history[3, 2] == 0
    peak = running_peak(history, 7)
    means = mean_before(running_sum(history), np.array([1, 30]), 7)
    for at in (0, 3, 30, 59):
        np.testing.assert_array_equal(peak[at], history[max(0, at - 6) : at + 1].max(axis=0))
    np.testing.assert_allclose(means[1], history[23:30].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(means[0], history[0], rtol=1e-5)
    np.testing.assert_array_equal(lagged(history, np.array([61]), 24, 24)[0], history[37])
    np.testing.assert_array_equal(lagged(history, np.array([10]), 24, 24)[0], history[10])


def test_straying_is_what_was_measured_between_and_at_the_knots() -> None:
    ramp = np.arange(400, dtype=np.float32)[:, None] / 1000
    found = strays(ramp, np.array([300]), STEP)
    ahead = np.array([1, 2, 3, 20, DAY])
    nobody = np.zeros(ahead.size, dtype=np.intp)
    said = found.at(np.full(ahead.size, 300), ahead, nobody)
    np.testing.assert_allclose(said[:, MEDIAN], ahead / 1000, atol=1e-5)


def test_what_is_usual_at_a_time_of_day_is_seen_on_days_before() -> None:
    day = np.zeros(DAY, dtype=np.float32)
    day[20] = 0.9
    history = np.tile(day, 8)[:, None]
    said = usual(history, 8 * DAY + np.array([20, 30]), STEP)
    assert said[0, 0, -1] == pytest.approx(0.9, abs=1e-3)
    assert said[1, 0, -1] == 0
