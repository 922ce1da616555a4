"""`tidegate forecast` with feeds: what each is worth, the model with and without, and what goes wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from tidegate.cli.feeds_table import ROWS_MAX, feeds_table, in_words
from tidegate.cli.main import run
from tidegate.forecast.feeds import FeedGain
from tidegate.lab.forecasts.worth import Worth
from tidegate.model.feed import FeedKind
from tidegate.model.resources import Resource
from tidegate.sim.traces import write_trace

START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS = 24
PER_DAY = 48
QUICK = ("--origins", "6", "--processes", "1", "--horizon", "6h")


def launches(seed, count=14, until=DAYS):
    """Six hours each, on days and at hours that nobody could guess."""
    random = np.random.default_rng(seed)
    days = np.sort(random.choice(until, count, replace=False))
    return [(START + timedelta(days=int(day), hours=int(random.integers(2, 17)))) for day in days]


def as_events(begins, path):
    rows = [f"{at.isoformat()},{(at + timedelta(hours=6)).isoformat()},launch,2025-01-01" for at in begins]
    path.write_text("\n".join(["start,end,name,issued", *rows]) + "\n", "utf-8")
    return path


def rows_of(vms=("web-1", "web-2", "db-1"), **columns):
    """Days that are alike, some noise, and on the web servers launches: a frame of a trace."""
    random = np.random.default_rng(5)
    steps = DAYS * PER_DAY
    times = [START + timedelta(minutes=30 * at) for at in range(steps)]
    middle = np.array([(at + timedelta(minutes=15)).timestamp() for at in times])
    busy = np.zeros(steps)
    for begin in launches(1):
        busy[(middle >= begin.timestamp()) & (middle < begin.timestamp() + 6 * 3600)] = 1
    wave = 0.3 + 0.1 * np.sin(2 * np.pi * np.arange(steps) / PER_DAY)
    parts = []
    for vm in vms:
        used = wave + 0.02 * random.standard_normal(steps) + 0.25 * busy * vm.startswith("web")
        parts.append(
            pl.DataFrame(
                {
                    "time": times,
                    "vm": vm,
                    "cpu_cores_used": 4 * used,
                    "cpu_cores_capacity": 4.0,
                    **{name: of(used, random) for name, of in columns.items()},
                }
            )
        )
    return pl.concat(parts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("feeds")


@pytest.fixture(scope="module")
def trace(folder):
    path = folder / "fleet.parquet"
    write_trace(rows_of(), path)
    return path


@pytest.fixture(scope="module")
def real(folder):
    return as_events(launches(1), folder / "real.csv")


@pytest.fixture(scope="module")
def tables(real, folder):
    """Two with the same names in them."""
    return {"real": real, "useless": as_events(launches(9), folder / "useless.csv")}


def forecast(trace, *options):
    return run(["forecast", str(trace), *QUICK, *options])


@pytest.fixture(scope="module")
def judged(trace, folder):
    """Both feeds behind the profile: the useless one as a table of numbers, for their names must differ."""
    other = folder / "noise.csv"
    values = np.random.default_rng(7).standard_normal(DAYS * 24)
    lines = [f"{(START + timedelta(hours=at)).isoformat()},{value}" for at, value in enumerate(values)]
    other.write_text("\n".join(["time,value", *lines]) + "\n", "utf-8")
    real, path = as_events(launches(1), folder / "launches.csv"), folder / "judged.json"
    named = ("--feed", f"events={real}", "--feed", f"series={other}")
    assert forecast(trace, "--feeds", *named, "--json", str(path)) == 0
    return json.loads(path.read_text("utf-8"))


def test_a_feed_that_tells_something_is_on_and_one_that_tells_nothing_is_off(judged):
    feeds = judged["feeds"]
    assert list(feeds[0]) == [
        "feed", "kind", "group", "resource", "horizon_seconds", "gain_ratio", "low", "high", "on",
    ]  # fmt: skip
    on = {(entry["feed"], entry["kind"], entry["group"]) for entry in feeds if entry["on"]}
    assert on == {("launch", "event", "web")}
    assert {(entry["feed"], entry["group"]) for entry in feeds} == {
        (feed, group) for feed in ("launch", "noise") for group in ("web", "db")
    }
    assert {(entry["resource"], entry["horizon_seconds"]) for entry in feeds} == {("cpu", 21_600)}
    (found,) = (entry for entry in feeds if entry["on"])
    assert 0 < found["low"] < found["gain_ratio"] < found["high"] < 1


def test_the_model_runs_without_and_with_feeds_and_is_better_with(judged):
    without, with_feeds = judged["models"]
    assert (without["name"], with_feeds["name"]) == ("profile", "profile+feeds")
    assert with_feeds["wql"] < 0.95 * without["wql"]


@pytest.mark.parametrize(("columns", "wide"), [("80", False), ("140", True)])
def test_the_table_says_what_it_means(columns, wide, trace, real, capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", columns)
        assert forecast(trace, "--feeds", "--feed", f"events={real}", "--model", "last") == 0
    said = capsys.readouterr().out
    assert "what feeds are worth to last, cpu, 6h ahead: 1 on, 1 off" in said
    lines = [line.split() for line in said.splitlines() if line.split()[:1] == ["launch"]]
    assert [line[1] for line in lines] == ["web", "db"]
    assert ("helps, and is used" in said) == wide
    assert max(map(len, said.splitlines())) <= int(columns)


def test_a_feed_of_other_days_is_off_and_the_report_knows_the_wrapped_model(trace, tables, tmp_path):
    page, out = tmp_path / "a.html", tmp_path / "a.json"
    written = ("--json", str(out), "--report", str(page))
    assert forecast(trace, "--feeds", "--feed", f"events={tables['useless']}", *written) == 0
    assert not any(entry["on"] for entry in json.loads(out.read_text("utf-8"))["feeds"])
    assert "its paths shifted by those feeds that have shown to help" in page.read_text("utf-8")


def test_without_feeds_the_figures_are_as_they_were(trace, tmp_path):
    assert forecast(trace, "--model", "last", "--json", str(tmp_path / "a.json")) == 0
    assert json.loads((tmp_path / "a.json").read_text("utf-8")).keys() == {"models"}


def test_groups_are_servers_where_the_trace_has_them_and_its_own_columns_are_feeds(tmp_path):
    path, out = tmp_path / "a.parquet", tmp_path / "a.json"
    rows = rows_of(
        app_requests_per_second=lambda used, random: 100 * used + random.standard_normal(used.size)
    ).with_columns(pl.col("vm").replace_strict({"web-1": "s1", "web-2": "s2", "db-1": "s2"}).alias("server"))
    write_trace(rows, path)
    assert forecast(path, "--feeds", "--json", str(out)) == 0
    said = json.loads(out.read_text("utf-8"))["feeds"]
    assert {(entry["feed"], entry["kind"], entry["group"]) for entry in said} == {
        ("app_requests_per_second", "application", group) for group in ("s1", "s2")
    }
    assert forecast(path, "--feeds", "--no-app-metrics") == 2


@pytest.mark.parametrize(("days_dead", "helps"), [(0, True), (4, False)])
def test_a_metric_that_dies_midway_leaves_the_model_as_it_is(days_dead, helps, tmp_path):
    """Demand follows the metric an hour later; where its collector is gone before anybody looks ahead, so is
    what it would have saved, and nothing else."""
    rows = rows_of(app_queue_length=lambda used, _: np.append(100 * used[2:], [np.nan, np.nan])).with_columns(
        pl.when(pl.col("time") < START + timedelta(days=DAYS - days_dead)).then("app_queue_length")
    )
    path, out = tmp_path / "a.parquet", tmp_path / "a.json"
    write_trace(rows, path)
    options = ("--horizon", "1h", "--app-metrics", "--json", str(out))
    assert forecast(path, "--model", "profile,profile+feeds", *options) == 0
    without, with_feeds = json.loads(out.read_text("utf-8"))["models"]
    assert (with_feeds["wql"] < without["wql"]) == helps
    assert (with_feeds["wql"] == without["wql"]) != helps


def test_a_feed_that_ended_was_still_worth_something(trace, tmp_path):
    """Its table lacks the last two launches: it is judged by those before, and these come as a surprise."""
    path, out = as_events(launches(1)[:-2], tmp_path / "launches.csv"), tmp_path / "a.json"
    assert forecast(trace, "--feeds", "--feed", f"events={path}", "--json", str(out)) == 0
    said = json.loads(out.read_text("utf-8"))
    assert [entry["group"] for entry in said["feeds"] if entry["on"]] == ["web"]
    without, with_feeds = said["models"]
    assert with_feeds["wql"] <= 1.05 * without["wql"]


def test_a_short_trace_says_that_nothing_can_be_told(tmp_path, real, capsys):
    path = tmp_path / "short.parquet"
    write_trace(rows_of().filter(pl.col("time") < START + timedelta(days=7, hours=14)), path)
    asked = ("--feeds", "--feed", f"events={real}", "--origins", "2", "--json", str(tmp_path / "a.json"))
    assert forecast(path, *asked) == 0
    assert "takes about eight days of history" in " ".join(capsys.readouterr().out.split())
    assert json.loads((tmp_path / "a.json").read_text("utf-8"))["feeds"] == []


def test_who_uses_no_feeds_is_told_how_to(trace, real, capsys):
    assert forecast(trace, "--model", "last", "--feed", f"events={real}") == 0
    assert "--model last+feeds uses those that help" in " ".join(capsys.readouterr().err.split())


def test_the_default_with_feeds_has_the_engine_with_them(monkeypatch, trace, real, capsys):
    runs = []
    monkeypatch.setattr(
        "tidegate.cli.forecast.forecast_all", lambda _trace, given, *_, **__: runs.extend(given) or []
    )
    monkeypatch.setattr("tidegate.cli.forecast._show", lambda *_: None)
    assert forecast(trace, "--feed", f"events={real}") == 0
    names = [given.model for given in runs]
    assert names[-2:] == ["engine", "engine+feeds"]
    assert "wrapped" not in capsys.readouterr().err


WRONG = {
    "none": (["--feeds"], "no feed was given, and the trace has no column app_*"),
    "none_but_asked": (["--app-metrics"], "the trace has no column app_*"),
    "no_kind": (["--feed", "rain"], "'rain' names no feed; write one of weather"),
    "dead": (["--feed", "events=gone.csv"], "gone.csv"),
    "malformed": (["--feeds", "--feed", "events={bad}"], "bad.csv"),
    "two_bases": (["--feeds", "--model", "last,profile", "--feed", "events={real}"], "behind one model"),
    "model_without": (["--model", "last+feeds"], "last+feeds needs feeds, and none is given"),
    "unknown_base": (["--model", "nobody+feeds", "--feed", "events={real}"], "unknown model 'nobody'"),
    "wrapped_twice": (
        ["--model", "last+feeds+feeds", "--feed", "events={real}"],
        "unknown model 'last+feeds'",
    ),
    "one_name": (
        ["--feed", "events={real}", "--feed", "events={useless}"],
        "another feed is called 'launch'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_sentence_and_nothing_written(case, trace, tables, tmp_path, capsys):
    bad = tmp_path / "in" / "bad.csv"
    bad.parent.mkdir()
    bad.write_text("start,end,name\nsoon,later,x\n", "utf-8")
    options, said = WRONG[case]
    given = [option.format(bad=bad, **tables) for option in options]
    if not any(option.startswith("--model") for option in given) and "--feeds" not in given:
        given += ["--model", "last"]
    assert forecast(trace, *given, "--json", str(tmp_path / "a.json")) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("tidegate: ")
    assert said in error
    assert not (tmp_path / "a.json").exists()


def gain(**changed):
    return FeedGain(**{"feed": "f", "kind": FeedKind.SERIES, "group": "g", "gain_ratio": 0.0, "low": 0.0,
                       "high": 0.0, "on": False} | changed)  # fmt: skip


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (gain(gain_ratio=0.05, low=0.01, high=0.09, on=True), "helps, and is used"),
        (gain(), "says nothing here: unknown, or always the same"),
        (gain(gain_ratio=-0.05, low=-0.09, high=-0.01), "would do harm"),
        (gain(gain_ratio=0.001, low=0.0005, high=0.002), "too little, or told by others already"),
        (gain(gain_ratio=0.05, low=-0.01, high=0.09), "may be chance"),
        (gain(gain_ratio=-0.01, low=-0.05, high=0.01), "no gain"),
    ],
)
def test_every_record_has_its_words(record, words):
    assert in_words(record) == words


def test_many_pairs_are_cut_and_counted():
    gains = tuple(gain(feed=f"f{at}", gain_ratio=at / 1000) for at in range(ROWS_MAX + 5))
    table = feeds_table(Worth(resource=Resource.CPU, horizon_seconds=3600, gains=gains), "profile", 80)
    assert table.row_count == ROWS_MAX
    assert table.caption == "5 more are not shown; --json holds all"
