"""The measures of path models against a loop that reads like their definition."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.lab.forecasts.intervals import drawn_origins, ratio_interval, wql_interval
from tidegate.lab.forecasts.measures import PathTally, seasonal_scale
from tidegate.lab.forecasts.origins import Origins
from tidegate.model.paths import PATH_LEVELS, Paths

STEP_SECONDS = 3600
DAY = 24
NAN = np.nan
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def histories(series=6, days=9, seed=1):
    rng = np.random.default_rng(seed)
    shares = rng.uniform(0, 1, (days * DAY, series)).astype(np.float32)
    shares[rng.uniform(size=shares.shape) < 0.15] = NAN
    shares[:, 1] = 0.25  # never differs from the day before
    shares[:, 2] = NAN  # never seen
    shares[: 7 * DAY, 3] = NAN  # comes with the first origin: nothing to scale by
    shares[150:160, :] = NAN  # nobody is seen for a while
    return shares


def paths_at(steps, horizon, series, seed):
    drawn = np.random.default_rng([seed, steps]).uniform(0, 1, (len(LEVELS), horizon, series))
    quantiles = np.sort(drawn, axis=0).astype(np.float32)
    quantiles[:, 0, 1:2] = 0.25  # exactly what comes: covered
    return Paths(end_seconds=steps * STEP_SECONDS, step_seconds=STEP_SECONDS, quantiles=quantiles)


def tallied(shares, origins, horizons, seed=5):
    tally = PathTally(
        scale=seasonal_scale(shares[: origins[0]], STEP_SECONDS),
        horizons_steps=horizons,
        origins=len(origins),
        step_seconds=STEP_SECONDS,
    )
    for number, steps in enumerate(origins):
        paths = paths_at(steps, horizons[-1], shares.shape[1], seed)
        tally.add(number, paths, shares[steps : steps + horizons[-1]])
    return tally


def naive(shares, origins, horizon, longest, seed=5):
    """Every measure, sample by sample, from the words of the contract."""
    loss = size = 0.0
    covered = {0.9: 0, 0.95: 0, 0.99: 0}
    samples = 0
    errors: dict[int, list[float]] = {}
    for steps in origins:
        paths = paths_at(steps, longest, shares.shape[1], seed)
        for ahead in range(horizon):
            for series in range(shares.shape[1]):
                u = shares[steps + ahead, series]
                if np.isnan(u):
                    continue
                samples += 1
                size += abs(float(u))
                for at, level in enumerate(LEVELS):
                    q = paths.quantiles[at, ahead, series]
                    if level <= 0.9:
                        miss = float(u) - float(q)
                        loss += level * miss if miss >= 0 else (1 - level) * -miss
                    if level in covered:
                        covered[level] += bool(u <= q)
                    if level == 0.5:
                        errors.setdefault(series, []).append(abs(float(u) - float(q)))
    mase, without = naive_mase(shares, origins[0], errors)
    return {
        "wql": 2 * loss / (9 * size),
        "coverage": {level: count / samples for level, count in covered.items()},
        "mase_median": np.median(mase),
        "mase_mean": np.mean(mase),
        "series": len(errors),
        "without": without,
    }


def naive_mase(shares, first_origin, errors):
    mase, without = [], 0
    for series, own in errors.items():
        moved = [
            abs(float(shares[t, series]) - float(shares[t - DAY, series]))
            for t in range(DAY, first_origin)
            if not np.isnan(shares[t, series]) and not np.isnan(shares[t - DAY, series])
        ]
        if not moved or sum(moved) == 0:
            without += 1
        else:
            mase.append(np.mean(own) / np.mean(moved))
    return mase, without


@pytest.mark.parametrize("seed", [1, 2])
def test_every_measure_is_what_a_plain_loop_finds(seed):
    shares, origins, horizons = histories(seed=seed), (7 * DAY, 7 * DAY + 7, 7 * DAY + 14), (3, 20)
    tally = tallied(shares, origins, horizons)
    for row, horizon in enumerate(horizons):
        found, expected = tally.measures(row), naive(shares, origins, horizon, horizons[-1])
        assert found.wql == pytest.approx(expected["wql"], rel=1e-6)
        assert found.mase_median == pytest.approx(expected["mase_median"], rel=1e-6)
        assert found.mase_mean == pytest.approx(expected["mase_mean"], rel=1e-6)
        assert found.coverage == pytest.approx(expected["coverage"], rel=1e-9)
        assert (found.series, found.series_without_scale) == (expected["series"], expected["without"])
    assert (expected["series"], expected["without"]) == (5, 2)


def test_the_parts_by_origin_series_step_and_hour_add_up():
    shares, origins = histories(), (7 * DAY, 7 * DAY + 7, 7 * DAY + 14)
    tally = tallied(shares, origins, (3, 20))
    for row in (0, 1):
        assert tally.loss_by_origin[row].sum() == pytest.approx(tally.loss_by_series[row].sum())
        assert tally.size_by_origin[row].sum() == pytest.approx(tally.size_by_series[row].sum())
    for parts in (tally.loss_by_step, tally.loss_by_hour):
        assert parts.sum() == pytest.approx(tally.loss_by_origin[1].sum())
    assert tally.loss_by_step[:3].sum() == pytest.approx(tally.loss_by_origin[0].sum())
    assert tally.size_by_hour.sum() == pytest.approx(tally.size_by_step.sum())


def test_loss_falls_into_the_hour_in_which_its_step_begins():
    shares = np.full((9 * DAY, 1), NAN, dtype=np.float32)
    shares[7 * DAY + 5] = 0.5  # row k begins at hour k
    tally = tallied(shares, (7 * DAY,), (20,))
    assert np.flatnonzero(tally.size_by_hour).tolist() == [5]
    assert np.flatnonzero(tally.size_by_step).tolist() == [5]


def test_calibration_is_coverage_at_every_level():
    tally = tallied(histories(), (7 * DAY, 7 * DAY + 7), (20,))
    reached = tally.calibration(0)
    assert reached.shape == PATH_LEVELS.shape
    assert (np.diff(reached) >= 0).all()
    assert tally.measures(0).coverage == {0.9: reached[8], 0.95: reached[9], 0.99: reached[10]}


def test_where_nothing_is_known_nothing_is_claimed():
    nothing = np.full((9 * DAY, 2), NAN, dtype=np.float32)
    found = tallied(nothing, (7 * DAY,), (5,)).measures(0)
    assert found.wql is found.mase_median is found.mase_mean is None
    assert set(found.coverage.values()) == {None}
    assert (found.series, found.series_without_scale) == (0, 0)
    idle = np.zeros((9 * DAY, 2), dtype=np.float32)
    found = tallied(idle, (7 * DAY,), (5,)).measures(0)
    assert found.wql is None
    assert (found.series, found.series_without_scale) == (2, 2)


def test_less_than_a_day_has_no_scale():
    assert np.isnan(seasonal_scale(np.ones((DAY, 2), dtype=np.float32), STEP_SECONDS)).all()


# --- Intervals -----------------------------------------------------------------------------------


def origins_apart(count, horizon):
    steps = tuple(7 * DAY + 7 * at for at in range(count))
    return Origins(steps=steps, steps_apart=7, horizons_steps=(horizon,))


def scored(losses):
    tally = PathTally(scale=np.ones(1), horizons_steps=(1,), origins=len(losses), step_seconds=STEP_SECONDS)
    tally.loss_by_origin[0] = losses
    tally.size_by_origin[0] = 1
    return tally


def test_the_interval_of_a_ratio_is_narrow_where_origins_are_hard_for_both():
    hard = np.random.default_rng(3).lognormal(0, 1, 16)
    drawn = drawn_origins(origins_apart(16, 1), 0, seed=0)
    assert ratio_interval(scored(1.1 * hard), scored(hard), 0, drawn) == pytest.approx((1.1, 1.1))
    low, high = wql_interval(scored(hard), 0, drawn)
    assert low < 2 * hard.mean() / 9 < high
    assert high > 1.3 * low


def test_neighbours_are_drawn_together_where_their_paths_overlap():
    drawn = drawn_origins(origins_apart(12, 24), 0, seed=0)  # a path is as long as four origins
    blocks = drawn.reshape(-1, 3, 4)
    np.testing.assert_array_equal(
        (blocks - blocks[:, :, :1]) % 12, np.broadcast_to(np.arange(4), blocks.shape)
    )


def test_draws_depend_on_the_seed_alone():
    placed = origins_apart(16, 1)
    np.testing.assert_array_equal(drawn_origins(placed, 0, seed=4), drawn_origins(placed, 0, seed=4))
    assert (drawn_origins(placed, 0, seed=4) != drawn_origins(placed, 0, seed=5)).any()


def test_of_too_few_origins_nothing_is_said():
    assert drawn_origins(origins_apart(11, 24), 0, seed=0) is None
    assert wql_interval(scored([1.0]), 0, None) is None
    assert ratio_interval(scored([1.0]), scored([1.0]), 0, None) is None
