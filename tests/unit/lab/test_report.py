"""The HTML report: its numbers, its safety against odd names, and that it needs nobody and nothing else."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("plotly", reason="the replay extra is not installed")

from tidegate.lab.history import Exemplar, History
from tidegate.lab.measures import Measures
from tidegate.lab.replay import ReplaySettings, Run, RunResult
from tidegate.lab.report import meaning, page, report_html
from tidegate.lab.report.frontier import frontier_of
from tidegate.lab.report.series import POINTS_MAX, series_of, thinned
from tidegate.lab.report.words import duration, headline, percent
from tidegate.lab.series_record import SeriesRecord
from tidegate.model.resources import Resource
from tidegate.model.trace import Trace

TICKS, WARMUP_TICKS, STEP_SECONDS = 48, 12, 300
SETTINGS = ReplaySettings(
    sla=0.01,
    warmup_seconds=WARMUP_TICKS * STEP_SECONDS,
    decide_every_seconds=STEP_SECONDS,
    lead_steps=1,
    censored=False,
    seed=7,
)
GIB = 2.0**30
ODD_NAME = '</script><img src=x onerror="alert(1)">&%{y}'


FIGURES = ("samples", "violation_ratio", "reserved_ratio", "model", "skill", "coverage", "profiling")
NOTHING_KNOWN = SeriesRecord(models=(), **dict.fromkeys(FIGURES, np.zeros((2, 0))))


def made_up_trace(vms=("a", "b", "c"), name="made up") -> Trace:
    shape = (2, TICKS, len(vms))
    capacity = np.full(shape, 4, dtype=np.float32)
    capacity[1] = 8 * GIB
    used = capacity * np.random.default_rng(1).uniform(0.1, 0.5, shape).astype(np.float32)
    return Trace(
        name=name,
        start_seconds=1_375_660_800,
        step_seconds=STEP_SECONDS,
        resources=(Resource.CPU, Resource.MEMORY),
        vms=vms,
        servers=(),
        used=used,
        capacity=capacity,
    )


def measures(reserved=0.241, violations=0.0093, **more) -> Measures:
    figures = {
        "violation_ratio": violations,
        "vms_within_sla_ratio": 0.97,
        "unmet_ratio": 0.004,
        "reserved_ratio": reserved,
        "slack_ratio": 0.5,
        "changes_per_vm_day_p50": 8.25,
        "changes_per_vm_day_p99": 31.0,
    }
    return Measures(**(figures | more))


def exemplar(trace, kind, column, row, *, band=None) -> Exemplar:
    demand, capacity = trace.used[row, :, column], trace.capacity[row, :, column]
    grant = demand * np.float32(1.2)
    grant[WARMUP_TICKS - 1] = grant[WARMUP_TICKS + 3] = 0  # once in the warm-up, once after it
    if band is None:
        band = np.stack([demand * np.float32(0.9), demand * np.float32(1.1)])
        band[:, 20:24] = np.nan
    return Exemplar(
        kind=kind,
        vm=trace.vms[column],
        resource_row=row,
        violation_ratio=1 / 36,
        demand=demand,
        capacity=capacity,
        grant=grant,
        band=band,
    )


def result(trace, policy, of, *, sla=0.01, band=None, seconds=1.0) -> RunResult:
    history = None
    if sla == SETTINGS.sla:
        history = History(trace)
        last = len(trace.vms) - 1
        kinds = (("best", 0), ("median", last // 2), ("worst", last))
        history.exemplars = tuple(
            exemplar(trace, kind, column, row, band=band) for row in (0, 1) for kind, column in kinds
        )
    return RunResult(
        run=Run(policy=policy, sla=sla),
        measures=(of, of),
        seconds=seconds,
        history=history,
        series=NOTHING_KNOWN,
    )


def results_of(trace) -> list[RunResult]:
    return [
        result(trace, "vpa", measures(reserved=0.389, violations=0.033)),
        result(trace, "calibrated_reactive", measures(reserved=0.2548, violations=0.0099)),
        result(trace, "tidegate", measures()),
        result(trace, "oracle", measures(reserved=0.15, violations=0.0)),
        result(trace, "calibrated_reactive", measures(reserved=0.2, violations=0.048), sla=0.05),
        result(trace, "tidegate", measures(reserved=0.19, violations=0.049), sla=0.05),
        result(trace, "tidegate", measures(reserved=0.31, violations=0.001), sla=0.001),
    ]


def without_plotly(html: str) -> str:
    """The page without the library, which is not ours to judge; spaces made plain."""
    from plotly.offline import get_plotlyjs

    assert html.count(get_plotlyjs()) == 1
    return html.replace(get_plotlyjs(), "").replace("&nbsp;", " ")


def charts(html: str) -> dict[str, dict]:
    found = re.findall(
        r'<script type="application/json" data-chart="([^"]+)">(.*?)</script>', html, re.DOTALL
    )
    return {name: json.loads(text) for name, text in found}


def values(trace: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(trace["y"]["bdata"]), dtype=np.float32)


@pytest.fixture(scope="module")
def html() -> str:
    trace = made_up_trace()
    return without_plotly(report_html(trace, results_of(trace), SETTINGS))


def test_the_headline_is_made_from_the_figures(html):
    assert (
        "At an SLA of 1 %, tidegate reserves 24.1 % of CPU capacity where the calibrated rule needs 25.5 % "
        "(5.4 % less) and VPA 38.9 %; it ran short in 0.93 % of samples, the calibrated rule in 0.99 %, "
        "VPA in 3.3 %." in html
    )
    assert "reserves 24.1 % of memory capacity" in html
    assert "97.0 % of VMs stayed within 1.2 times the SLA" in html
    # 0.2548 to 0.15 is the gap, 0.2548 to 0.241 the part that is closed
    assert "Knowing the future, 15.0 % would do: tidegate closes 13.2 % of the gap" in html


def test_the_headline_names_only_what_ran_and_admits_more():
    trace = made_up_trace()
    alone = headline(Resource.CPU, 0, [result(trace, "vpa", measures())], 0.01)
    assert (
        alone[0]
        == "At an SLA of 1 %, VPA reserves 24.1 % of CPU capacity; it ran short in 0.93 % of samples."
    )
    rule = result(trace, "calibrated_reactive", measures(reserved=0.2))
    vpa = result(trace, "vpa", measures(reserved=0.3))
    assert (
        "20.0 % of CPU capacity where VPA needs 30.0 %; it" in headline(Resource.CPU, 0, [vpa, rule], 0.01)[0]
    )
    worse = headline(Resource.CPU, 0, [result(trace, "tidegate", measures()), rule], 0.01)
    assert "the calibrated rule needs 20.0 % (20.5 % more)" in worse[0]


def test_the_facts_and_every_policy_are_there(html):
    for fact in (
        "Replay of made up",
        "<dd>3</dd>",
        "4 h from 2013-08-05 00:00 UTC",
        "1 h, not measured",
        "<dd>7</dd>",
    ):
        assert fact in html
    for policy in ("vpa", "calibrated_reactive", "tidegate", "oracle"):
        assert f'<th scope="row">{policy}</th>' in html.replace("<wbr>", "")
    for policy, words in meaning.POLICIES.items():
        assert f"<dt>{policy}</dt><dd>{words}</dd>" in html


def test_the_frontier_draws_lines_over_slas_and_points(html):
    frontier = charts(html)["frontier-cpu"]
    by_name = {trace["name"]: trace for trace in frontier["data"]}
    assert by_name["tidegate"]["x"] == [19.0, 24.1, 31.0]
    assert by_name["tidegate"]["y"] == [0.049, 0.0093, 0.001]
    assert by_name["tidegate"]["mode"] == "lines+markers"
    assert by_name["vpa"]["mode"] == "markers"
    assert by_name["oracle"]["marker"]["symbol"] == "star"
    assert len({trace["marker"]["symbol"] for trace in frontier["data"]}) == len(by_name)
    assert frontier["layout"]["shapes"][0]["y0"] == 0.01


def test_a_run_without_violations_has_a_place_on_the_log_axis():
    trace = made_up_trace()
    frontier = frontier_of(0, results_of(trace), 0.01)
    assert 0 < frontier.zero_at < 0.001
    assert frontier.ticks[0] == (frontier.zero_at, "0")
    assert frontier.view[0] < frontier.zero_at


def test_static_does_not_press_the_others_into_a_corner():
    trace = made_up_trace()
    static = result(trace, "static", measures(reserved=1.0, violations=0.0))
    assert frontier_of(0, results_of(trace), 0.01).reserved_max is None
    assert frontier_of(0, [*results_of(trace), static], 0.01).reserved_max == pytest.approx(0.389 * 1.08)
    assert "static, at 100 %" in without_plotly(report_html(trace, [*results_of(trace), static], SETTINGS))


def test_a_vm_chart_shows_use_grant_capacity_band_and_what_ran_short(html):
    trace = made_up_trace()
    chart = charts(html)["vm-memory-best"]
    by_name = {line.get("name"): line for line in chart["data"]}
    np.testing.assert_allclose(values(by_name["use"]), trace.used[1, :, 0] / GIB, rtol=1e-6)
    assert by_name["grant"]["line"]["shape"] == "hv"
    assert by_name["capacity"]["hovertemplate"].endswith("GiB")
    assert by_name["forecast, 50 % to 99 %"]["fill"] == "tonexty"
    assert by_name["ran short"]["x"] == [(trace.start_seconds + (WARMUP_TICKS + 3) * STEP_SECONDS) * 1000]
    shade = chart["layout"]["shapes"][0]
    assert shade["x1"] - shade["x0"] == SETTINGS.warmup_seconds * 1000


def test_a_gap_in_the_forecast_is_filled_by_no_band_and_no_number(html):
    band = [line for line in charts(html)["vm-cpu-best"]["data"] if line.get("legendgroup") == "forecast"]
    low_fill, high_fill, high, low = (values(line) for line in band)
    np.testing.assert_array_equal(low_fill[20:24], high_fill[20:24])
    assert np.isnan(high[20:24]).all()
    assert np.isnan(low[20:24]).all()
    assert not np.isnan(high_fill).any()


def test_tidegate_is_the_policy_whose_vms_are_drawn(html):
    assert "VMs under tidegate: best, median and worst" in html


def test_names_are_escaped_everywhere():
    trace = made_up_trace(vms=(ODD_NAME, "b", "c"), name=ODD_NAME)
    odd = [*results_of(trace), result(trace, ODD_NAME, measures())]
    html = without_plotly(report_html(trace, odd, SETTINGS))
    assert "<img" not in html
    assert html.count("</script>") == html.count("<script")
    frontier = charts(html)["frontier-cpu"]
    assert frontier["data"][-1]["name"] == '&lt;/script&gt;&lt;img src=x onerror="alert(1)"&gt;&amp;%{y}'


def test_nothing_is_loaded_from_elsewhere(html):
    assert not re.search(r"<(script|img|iframe|link|object|embed)[^>]*\b(src|href)\s*=", html)
    assert not re.search(r"https?://|@import|url\(", html)
    assert "content=\"default-src 'none'" in html


def test_the_same_results_give_the_same_bytes():
    trace = made_up_trace()
    first = report_html(trace, results_of(trace), SETTINGS)
    slower = [replace(run, seconds=99.0) for run in results_of(trace)]
    assert report_html(trace, slower, SETTINGS) == first
    ids = re.findall(r' id="([^"]+)"', without_plotly(first))
    assert len(ids) == len(set(ids))


def test_another_process_gives_the_same_bytes():
    code = (
        f"import sys, hashlib, importlib.util as u; s = u.spec_from_file_location('t', {__file__!r})\n"
        "t = u.module_from_spec(s); sys.modules['t'] = t; s.loader.exec_module(t)\n"
        "trace = t.made_up_trace()\n"
        "html = t.report_html(trace, t.results_of(trace), t.SETTINGS)\n"
        "sys.stdout.write(hashlib.sha256(html.encode()).hexdigest())"
    )
    found = set()
    for seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(ran.stdout)
    assert len(found) == 1


def test_unknown_figures_are_said_to_be_unknown():
    trace = made_up_trace()
    nothing = measures(reserved=np.nan, violations=np.nan, changes_per_vm_day_p50=np.nan)
    only = replace(result(trace, "vpa", nothing), history=None)
    html = without_plotly(report_html(trace, [only], SETTINGS))
    assert "VPA reserves n/a of CPU capacity" in html
    assert "No policy has a figure to draw" in html
    assert "No run kept the history" in html
    assert ">nan" not in html.lower()


def test_a_resource_that_was_never_seen_is_drawn_empty():
    trace = made_up_trace(vms=("a",))
    missing = np.full(TICKS, np.nan, dtype=np.float32)
    run = result(trace, "vpa", measures(), band=np.stack([missing, missing]))
    run.history.exemplars = tuple(
        replace(one, demand=missing, grant=missing, capacity=missing) for one in run.history.exemplars
    )
    html = without_plotly(report_html(trace, [run], SETTINGS))
    assert "Best and median and worst: a" in html
    assert "n/a of capacity reserved" in html


def test_a_single_forecast_is_a_line():
    trace = made_up_trace()
    level = trace.used[0, :, 0]
    run = result(trace, "vpa", measures(), band=np.stack([level, level]))
    chart = charts(report_html(trace, [run], SETTINGS))["vm-cpu-best"]
    assert "forecast" in {line.get("name") for line in chart["data"]}
    assert not any("fill" in line for line in chart["data"])


def test_thinning_keeps_the_extremes_in_their_order():
    long = np.array([1, 5, 2, 9, 0, 3, np.nan, np.nan, np.nan, 7])
    np.testing.assert_array_equal(thinned(long, 3), [1, 5, 9, 0, np.nan, np.nan, 7, 7])
    np.testing.assert_array_equal(thinned(long, 1), long)


def test_a_long_trace_is_thinned_and_says_so():
    ticks = 2 * POINTS_MAX + 1
    used = np.linspace(0, 2, ticks, dtype=np.float32)
    trace = replace(made_up_trace(), used=np.zeros((2, ticks, 3), np.float32))
    grant = np.ones(ticks, np.float32)
    grant[:10] = 4
    one = replace(
        exemplar(made_up_trace(), "worst", 0, 0),
        demand=used,
        grant=grant,
        capacity=np.full(ticks, 4, np.float32),
        band=np.full((2, ticks), np.nan, np.float32),
    )
    series = series_of(one, trace, SETTINGS)
    assert series.used.size <= POINTS_MAX
    assert np.nanmax(series.used) == np.float32(2)
    assert series.end_seconds >= trace.start_seconds + ticks * STEP_SECONDS
    assert 0 < series.short_seconds.size <= POINTS_MAX // 2
    assert series.short_by.max() == pytest.approx(1.0)
    assert "samples only the least and the greatest are drawn" in page._vm_words(one, series)


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (0.2414, "24.1 %"),
        (0.0093, "0.93 %"),
        (0.00038, "0.038 %"),
        (0.01, "1.0 %"),
        (0.00999, "1.0 %"),
        (0, "0 %"),
        (1, "100 %"),
        (-12.3, "-1230 %"),
        (None, "n/a"),
        (float("nan"), "n/a"),
        (float("inf"), "n/a"),
    ],
)
def test_percent(ratio, said):
    assert percent(ratio) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (300, "5 min"),
        (3600, "1 h"),
        (86_400, "1 day"),
        (14 * 86_400, "14 days"),
        (90, "90 s"),
        (129_600, "1.5 days"),
    ],
)
def test_duration(seconds, said):
    assert duration(seconds) == said


def test_the_words_know_every_policy_there_is():
    from tidegate.app.registry import POLICIES

    missing = set(POLICIES) - set(meaning.POLICIES)
    assert not missing, f"say in lab/report/meaning.py, in one sentence each, what these do: {missing}"


def test_the_style_and_the_script_stand_beside_the_code():
    folder = Path(page.__file__).parent
    assert {"page.css", "page.js"} <= {path.name for path in folder.iterdir()}
