"""Where the moments lie from which models look ahead."""

from __future__ import annotations

import pytest

from tidegate.lab.forecasts.origins import origins_after, origins_of
from tidegate.model.errors import InputError

DAY = 288


def test_seven_hours_apart_and_the_last_path_ends_with_the_trace():
    placed = origins_of(31 * DAY, 300, horizons_seconds=(86_400, 3600), count=24)
    assert placed.horizons_steps == (12, 288)
    assert placed.steps[-1] + placed.horizon_steps == 31 * DAY
    assert {after - before for before, after in zip(placed.steps, placed.steps[1:], strict=False)} == {7 * 12}
    assert len({steps * 300 // 3600 % 24 for steps in placed.steps}) == 24


@pytest.mark.parametrize(("days", "hours"), [(11.5, 7), (11, 5), (10, 1), (7 + 15 / 24 + 1 / 24, 1)])
def test_a_shorter_trace_has_them_closer_and_the_first_sees_a_week(days, hours):
    placed = origins_of(round(days * DAY), 300, horizons_seconds=(3600,), count=16)
    assert placed.steps_apart == hours * 12
    assert placed.steps[0] >= 7 * DAY
    assert len({steps * 300 // 3600 % 24 for steps in placed.steps}) == 16


def test_too_short_a_trace_is_told_what_is_needed():
    with pytest.raises(
        InputError, match=r"spans 7.6\d days.*need 7.67: give a longer trace, fewer --origins"
    ):
        origins_of(round((7 + 16 / 24) * DAY) - 1, 300, horizons_seconds=(3600,), count=16)


@pytest.mark.parametrize(("step_seconds", "apart"), [(60, 420), (900, 28), (3600, 7), (7200, 4), (86_400, 1)])
def test_every_step_has_origins(step_seconds, apart):
    placed = origins_of(60 * 86_400 // step_seconds, step_seconds, horizons_seconds=(86_400,), count=5)
    assert placed.steps_apart == apart
    assert placed.steps[0] * step_seconds >= 7 * 86_400


@pytest.mark.parametrize("horizon", [0, 60, 450])
def test_a_horizon_is_a_multiple_of_the_step(horizon):
    with pytest.raises(InputError, match="multiple of the trace's step, 300s"):
        origins_of(31 * DAY, 300, horizons_seconds=(horizon,), count=4)


@pytest.mark.parametrize("count", [0, 1001])
def test_the_number_of_origins_has_limits(count):
    with pytest.raises(InputError, match="--origins"):
        origins_of(31 * DAY, 300, horizons_seconds=(3600,), count=count)


def test_after_what_was_seen_every_sample_comes_once():
    placed = origins_after(9 * DAY, 17 * DAY, 300, horizon_steps=12, count_max=400)
    assert placed.steps == tuple(range(9 * DAY, 17 * DAY, 12))
    assert origins_after(0, 8 * DAY, 300, horizon_steps=12, count_max=400).steps[0] == 7 * DAY


def test_on_long_traces_they_lie_further_apart_and_go_round_the_clock():
    placed = origins_after(9 * DAY, 60 * DAY, 300, horizon_steps=12, count_max=400)
    assert placed.steps_apart == 5 * 12
    assert len({steps * 300 // 3600 % 24 for steps in placed.steps}) == 24
    assert placed.steps[-1] + 12 <= 60 * DAY
    assert origins_after(9 * DAY, 400 * DAY, 300, horizon_steps=12, count_max=400).steps_apart == 25 * 12


def test_with_steps_longer_than_an_hour_too():
    assert origins_after(0, 60, 21_600, horizon_steps=1, count_max=400).steps == tuple(range(28, 60))


def test_without_a_whole_horizon_left_nobody_looks_ahead():
    with pytest.raises(InputError, match=r"spans 9 days, and at the earliest after 8.99 .*give a longer"):
        origins_after(9 * DAY - 4, 9 * DAY, 300, horizon_steps=12, count_max=400)
