"""Models run over a trace: what they are shown and when, and what is made of their answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.app.path_models import path_model
from tidegate.lab.forecasts.run import (
    ForecastRun,
    ForecastSettings,
    forecast,
    forecast_all,
    forecast_each,
    origins_in,
    runs_of,
)
from tidegate.lab.forecasts.table import figures, rows_of
from tidegate.lab.panels import panel_of
from tidegate.lab.replay import with_known_capacity
from tidegate.model.errors import InputError, TidegateError
from tidegate.model.feed import Feed, FeedKind
from tidegate.model.resources import Resource

HOUR, DAY = 12, 288
SETTINGS = ForecastSettings(horizons_seconds=(3600, 21_600), origins=8, seed=3)


def run(trace, model, settings=SETTINGS, resource=Resource.CPU):
    return forecast(with_known_capacity(trace), ForecastRun(model=model, resource=resource), settings)


def shown(seen, what):
    return [panel for kind, panel in seen if kind == what]


def test_no_panel_reaches_past_its_origin(seen, trace):
    run(trace, "daily_spy")
    origins = origins_in(trace, SETTINGS)
    assert [panel.steps for panel in shown(seen, "paths")] == list(origins.steps)
    later = with_known_capacity(trace)
    for _, panel in seen:
        expected = panel_of(later, Resource.CPU).shares[: panel.steps]
        np.testing.assert_array_equal(panel.shares, expected)
        assert panel.end_seconds == trace.start_seconds + panel.steps * trace.step_seconds


def test_capacity_is_what_was_known_at_the_origin(seen, trace):
    run(trace, "spy")
    for panel in shown(seen, "paths"):
        assert panel.capacity[1] == (4 if panel.steps <= 9 * DAY else 8)
    assert {float(panel.capacity[1]) for panel in shown(seen, "paths")} == {4.0, 8.0}


def test_what_comes_later_changes_no_answer(seen, trace):
    origin = origins_in(trace, SETTINGS).steps[0]
    other = replace(trace, used=trace.used.copy(), capacity=trace.capacity.copy())
    other.used[:, origin:] = 0.1
    other.capacity[:, origin:] = 16
    first = []
    for given in (trace, other):
        seen.clear()
        run(given, "near")
        first.append(shown(seen, "paths")[0])
    np.testing.assert_array_equal(first[0].shares, first[1].shares)
    np.testing.assert_array_equal(first[0].capacity, first[1].capacity)


def test_one_model_for_all_learns_once_before_the_first_origin(seen, trace):
    run(trace, "spy")
    assert [kind for kind, _ in seen] == ["fit"] + ["paths"] * 8
    assert shown(seen, "fit")[0].steps == origins_in(trace, SETTINGS).steps[0]


def test_a_model_per_series_learns_at_the_first_origin_of_each_day(seen, trace):
    run(trace, "daily_spy")
    days = [panel.end_seconds // 86_400 for panel in shown(seen, "paths")]
    fits = [panel.end_seconds for panel in shown(seen, "fit")]
    firsts = [panel.end_seconds for at, panel in enumerate(shown(seen, "paths")) if days[at] not in days[:at]]
    assert fits == firsts
    assert 1 < len(fits) < 8


def test_feeds_and_servers_reach_the_model(seen, trace):
    when = np.array([trace.start_seconds], dtype=np.int64)
    feed = Feed(
        name="rain",
        kind=FeedKind.WEATHER,
        valid_seconds=when,
        issued_seconds=when,
        values=np.ones(1, dtype=np.float32),
        holds_seconds=3600,
    )
    run(trace, "spy", replace(SETTINGS, feeds=(feed,)))
    assert all(panel.feeds == (feed,) and panel.groups == trace.servers for _, panel in seen)


def test_the_shorter_horizon_is_the_beginning_of_the_longer(seen, trace):
    both, alone = run(trace, "near"), run(trace, "near", replace(SETTINGS, horizons_seconds=(21_600,)))
    assert both.tally.measures(1) == alone.tally.measures(0)
    assert both.tally.measures(0).wql < both.tally.measures(1).wql


def test_who_is_never_seen_is_not_counted(seen, trace):
    of = run(trace, "near").tally.measures(0)
    assert (of.series, of.series_without_scale) == (4, 1)  # who came late saw no day before
    assert np.isnan(run(trace, "near").tally.mase_by_series(0)[3])


def test_the_better_model_stands_first_and_its_ratio_is_one(seen, trace):
    known = with_known_capacity(trace)
    runs = runs_of(["spy", "near"], (Resource.CPU,))
    results = forecast_all(known, runs, SETTINGS, processes=1)
    rows = rows_of(results, origins_in(trace, SETTINGS), 0, step_seconds=300, seed=0)
    assert [row.model for row in rows] == ["near", "spy"]
    assert rows[0].ratio == 1
    assert rows[0].ratio_interval == (1, 1)
    assert 1 < rows[1].ratio_interval[0] < rows[1].ratio < rows[1].ratio_interval[1]
    assert rows[0].wql_interval[0] < rows[0].measures.wql < rows[0].wql_interval[1]


def test_the_figures_are_those_of_the_contract(seen, trace):
    known = with_known_capacity(trace)
    runs = runs_of(["spy", "near"], trace.resources)
    results = forecast_all(known, runs, SETTINGS, processes=1)
    entries = figures(results, origins_in(trace, SETTINGS), step_seconds=300, seed=0)["models"]
    assert [(entry["name"], entry["resource"], entry["horizon_seconds"]) for entry in entries] == [
        (name, resource, horizon)
        for resource in ("cpu", "memory")
        for horizon in (3600, 21_600)
        for name in ("spy", "near")
    ]
    assert list(entries[0])[:9] == [
        "name", "resource", "horizon_seconds", "mase_median", "mase_mean", "wql", "coverage",
        "seconds_per_series_fit", "seconds_per_series_predict",
    ]  # fmt: skip
    assert set(entries[0]["coverage"]) == {"0.9", "0.95", "0.99"}
    assert entries[0]["series"] == 4


def test_progress_counts_origins(seen, trace):
    told = []
    runs = runs_of(["spy", "near"], (Resource.CPU,))
    forecast_all(
        with_known_capacity(trace), runs, SETTINGS, processes=1, progress=lambda done: told.append(list(done))
    )
    assert told[0] == [1, 0]
    assert told[-1] == [8, 8]


@pytest.mark.parametrize(
    ("model", "said"), [("silent", "without a number"), ("short", "answered with shape")]
)
def test_what_is_no_forecast_is_refused(model, said, seen, trace):
    with pytest.raises(TidegateError, match=said):
        run(trace, model)


def test_who_fails_is_returned_apart_and_the_others_are_as_without(seen, trace):
    known, runs = with_known_capacity(trace), runs_of(["silent", "near"], (Resource.CPU,))
    (near,), (failed,) = forecast_each(known, runs, SETTINGS, processes=1)
    assert near.run == runs[1]
    assert near.tally.measures(0) == run(trace, "near").tally.measures(0)
    assert failed.run == runs[0]
    assert failed.said.startswith("model 'silent' failed at cpu: model 'silent' left quantiles")


@pytest.mark.parametrize(
    ("models", "asked", "expected"),
    [
        (["spread"], ("local", 3), ("local", 3)),  # alone it may use them all
        (["spread", "spy"], ("local", 1), ("local", 1)),
        (["spread", "spy"], ("ray", None), ("ray", None)),
    ],
)
def test_engine_and_processes_reach_the_models_that_take_them(models, asked, expected, seen, trace):
    engine, processes = asked
    settings = replace(SETTINGS, engine=engine)
    known = with_known_capacity(trace)
    forecast_all(known, runs_of(models, (Resource.CPU,)), settings, processes=processes)
    assert [what for kind, what in seen if kind == "spread"] == [expected]


def test_a_model_that_lacks_a_package_says_how_to_get_it(seen):
    with pytest.raises(
        InputError, match=r"'absent' needs the extra 'models' \(pip install 'tidegate\[models"
    ):
        path_model("absent", seed=0)


def test_fans_are_of_a_good_a_typical_and_a_bad_series_and_do_not_overlap(seen, trace):
    result = run(trace, "near", replace(SETTINGS, with_fans=True))
    assert [fan.kind for fan in result.fans] == ["good", "typical", "bad"]
    assert sorted(fan.wql for fan in result.fans) == [fan.wql for fan in result.fans]
    for fan in result.fans:
        assert fan.begins[-1] == trace.ticks - 6 * HOUR
        assert (np.diff(fan.begins) >= 6 * HOUR).all()
        assert fan.quantiles.shape == (fan.begins.size, 11, 6 * HOUR)
        assert trace.vms[fan.series] != "never"
    assert run(trace, "near").fans == ()
