"""The report on models: its numbers, its safety against odd names, and that it needs nobody else."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from tidegate.lab.forecasts.run import ForecastSettings, forecast_all, origins_in, runs_of
from tidegate.lab.forecasts.table import rows_of
from tidegate.lab.panels import panel_of
from tidegate.lab.replay import with_known_capacity
from tidegate.lab.report import models_words
from tidegate.lab.report.models_page import models_html
from tidegate.model.resources import Resource

SETTINGS = ForecastSettings(horizons_seconds=(3600, 21_600), origins=8, seed=3, with_fans=True)


def html_of(trace, models=("spy", "near"), settings=SETTINGS):
    from plotly.offline import get_plotlyjs

    known = with_known_capacity(trace)
    results = forecast_all(known, runs_of(models, known.resources), settings, processes=1)
    html = models_html(known, results, settings)
    assert html.count(get_plotlyjs()) == 1
    return results, html.replace(get_plotlyjs(), "").replace("&nbsp;", " ")


def charts(html):
    found = re.findall(
        r'<script type="application/json" data-chart="([^"]+)">(.*?)</script>', html, re.DOTALL
    )
    return {name: json.loads(text) for name, text in found}


def values(line):
    return np.frombuffer(base64.b64decode(line["y"]["bdata"]), dtype=np.float32)


def by_name(chart):
    return {line["name"]: line for line in chart["data"] if line.get("name")}


def test_the_table_and_the_headline_hold_the_figures(seen, trace):
    results, html = html_of(trace)
    own = [result for result in results if result.run.resource is Resource.CPU]
    rows = rows_of(own, origins_in(trace, SETTINGS), 0, step_seconds=300, seed=3)
    for row in rows:
        assert f"<td>{row.measures.wql:.4f}</td>" in html
        assert f"<td>{row.measures.mase_median:.4f}</td>" in html
    assert f"Looking 1 h ahead at CPU, near loses least: a WQL of {rows[0].measures.wql:.4f}." in html
    assert "<td>{:.3f} to {:.3f}</td>".format(*rows[1].ratio_interval) in html
    assert html.index(">near</th>") < html.index(">spy</th>")
    assert "4 series counted; 1 without MASE" in html


def test_every_chart_is_there_with_a_line_per_model(seen, trace):
    _, html = html_of(trace)
    drawn = charts(html)
    kinds = ("step", "hour", "origin", "calibration", "fan")
    for resource in ("cpu", "memory"):
        own = {name: chart for name, chart in drawn.items() if f"-{resource}" in name}
        assert {name.partition("-")[0] for name in own} == set(kinds)
        for name, chart in own.items():
            if not name.startswith("fan"):
                assert {"near", "spy"} <= set(by_name(chart))
    symbols = {line["marker"]["symbol"] for line in drawn["hour-cpu"]["data"]}
    assert len(symbols) == 2
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_calibration_and_loss_by_step_are_those_of_the_tally(seen, trace):
    results, html = html_of(trace)
    near = next(result for result in results if result.run.model == "near").tally
    drawn = charts(html)
    reached = by_name(drawn["calibration-cpu-12"])["near"]["y"]
    assert reached == pytest.approx(100 * near.calibration(0), rel=1e-4)
    by_step = by_name(drawn["step-cpu"])["near"]
    assert by_step["y"] == pytest.approx(2 * near.loss_by_step / (9 * near.size_by_step), rel=1e-4)
    assert by_step["x"][-1] == 6


def test_a_fan_shows_what_was_said_over_what_came_and_nothing_between(seen, trace):
    results, html = html_of(trace)
    near = next(result for result in results if result.run.model == "near")
    fan = near.fans[0]
    lines = by_name(charts(html)["fan-cpu-good"])
    panel = panel_of(with_known_capacity(trace), Resource.CPU)
    begin = int(fan.begins[0]) - 288
    came = values(lines["what came"])
    np.testing.assert_allclose(came, 100 * panel.shares[begin:, fan.series], rtol=1e-6)
    median = values(lines["median"])
    np.testing.assert_allclose(median[-72:], 100 * fan.quantiles[-1, 4], rtol=1e-6)
    between = np.ones(median.size, dtype=bool)
    for begins in fan.begins:
        between[begins - begin : begins - begin + 72] = False
    assert between[288:].any()
    assert np.isnan(median[between]).all()
    low, high = (values(line) for line in charts(html)["fan-cpu-good"]["data"][:2])
    np.testing.assert_array_equal(low[between], high[between])
    assert not np.isnan(high).any()


def test_where_the_loss_comes_from_is_listed_the_worst_first(seen, trace):
    _results, html = html_of(trace)
    part = html[html.index("Where the loss comes from") :]
    shares = [
        float(found) for found in re.findall(r"</th><td>([\d.]+) %</td>", part[: part.index("</table>")])
    ]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.5)


def test_names_are_escaped_and_nothing_is_loaded(seen, trace):
    _, html = html_of(replace(trace, name='</script><img src=x onerror="alert(1)">'))
    assert "<img" not in html
    assert "&lt;e&gt;" in html
    assert html.count("</script>") == html.count("<script")
    assert not re.search(r"<(script|img|iframe|link|object|embed)[^>]*\b(src|href)\s*=", html)
    assert not re.search(r"https?://|@import|url\(", html)


def test_the_same_results_give_the_same_bytes(seen, trace):
    assert html_of(trace)[1] == html_of(trace)[1]


def test_a_trace_on_which_nobody_used_anything_is_said_to_tell_nothing(seen, trace):
    idle = replace(trace, used=np.where(np.isnan(trace.used), np.nan, 0).astype(np.float32))
    _, html = html_of(idle)
    assert "nothing was used, so nothing tells the models apart" in html
    assert ">nan" not in html.lower()
    assert "inf" not in {cell.strip() for cell in re.findall(r"<td>(.*?)</td>", html)}


def test_one_step_from_one_origin_makes_a_page(seen, trace):
    _, html = html_of(trace, settings=replace(SETTINGS, origins=1, horizons_seconds=(300,)))
    assert "origin-cpu" not in charts(html)
    assert "step-cpu" not in charts(html)
    assert "fan-cpu-good" in charts(html)


def test_the_words_know_every_model_there_is():
    from tidegate.app.path_models import PATH_MODELS

    missing = set(PATH_MODELS) - set(models_words.MODELS)
    assert not missing, f"say in lab/report/models_words.py, in one sentence each, what these are: {missing}"


def test_every_model_is_drawn_in_a_way_of_its_own():
    from tidegate.app.path_models import PATH_MODELS
    from tidegate.lab.report.models_figures import look_of

    names = [*PATH_MODELS, "plug_in"]
    looks = [look_of(name, names) for name in names]
    assert len({(look.symbol, look.dash) for look in looks[:-1]}) == len(PATH_MODELS)
