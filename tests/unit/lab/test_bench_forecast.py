"""`tidegate bench forecast`: each figure is what its name says, and each part can be measured alone."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from tidegate.app import path_models
from tidegate.app.path_models import PathModel
from tidegate.cli.main import run
from tidegate.lab.bench.forecast import feeds, one_tick, savings, speed
from tidegate.lab.bench.forecast.asked import Asked
from tidegate.lab.bench.forecast.data import MONTH, trace_of
from tidegate.lab.bench.forecast.measure import bench_forecast
from tidegate.lab.measures import Measures
from tidegate.lab.panels import panel_of
from tidegate.model.errors import InputError
from tidegate.model.paths import PATH_LEVELS, Paths
from tidegate.model.resources import Resource
from tidegate.sim.traces import generate_trace, write_trace

HOUR = 3_600
WHERE = ("cpu.1h", "cpu.24h", "memory.1h", "memory.24h")


class Near:
    """The last sample, give or take so much of capacity."""

    width = 0.3

    def __init__(self, *, seed):
        pass

    def fit(self, panel):
        pass

    def paths(self, panel, horizon_steps):
        last = np.nan_to_num(panel.shares[-1], nan=0.5)
        band = np.clip(last + self.width * (PATH_LEVELS[:, None] - 0.5), 0, 1).astype(np.float32)
        shape = (PATH_LEVELS.size, horizon_steps, len(panel.names))
        return Paths(
            end_seconds=panel.end_seconds,
            step_seconds=panel.step_seconds,
            quantiles=np.broadcast_to(band[:, None, :], shape),
        )


class Far(Near):
    width = 2.0


class Broken(Near):
    def paths(self, panel, horizon_steps):
        raise ValueError("no way ahead")


@pytest.fixture(autouse=True)
def models(monkeypatch):
    """Register an engine, two members, and a peer that is not installed."""
    module = ModuleType("tidegate.forecast.paths.made_up")
    module.Near, module.Far, module.Broken = Near, Far, Broken
    monkeypatch.setitem(sys.modules, module.__name__, module)
    known = {
        "last": PathModel(where="made_up:Far"),
        "ridge": PathModel(where="made_up:Near"),
        "arima": PathModel(where="made_up:Near", needs="models", modules=("no_such_package",)),
        "fracast": PathModel(where="made_up:Near", needs="fracast", modules=("no_such_package",)),
        "engine": PathModel(where="made_up:Near"),
    }
    monkeypatch.setattr(path_models, "PATH_MODELS", known)
    return known


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("traces") / "little.parquet"
    write_trace(generate_trace(vms=5, days=9, step_seconds=HOUR, seed=4), path)
    return path


def quiet(_what, _done, _of):
    pass


def measured(*traces, **given):
    asked = Asked(traces=traces, processes=1, **{"origins": 4} | given)
    return bench_forecast(asked, progress=quiet)


def by_name(benchmark):
    return {row.name: row for row in benchmark.rows}


# --- The engine beside its members -----------------------------------------------------------------


def test_the_engine_is_held_against_the_best_member_at_its_worst_place(trace, models):
    models["engine"] = PathModel(where="made_up:Far")
    rows = by_name(measured(trace, parts=("league",)))
    each = [rows[f"engine_wql_over_best_member.{where}"].value for where in WHERE]
    assert rows["engine_wql_over_best_member"].value == max(each) > 1
    assert rows["engine_wql_over_best_member"].limit == 1
    assert rows["engine_wql_over_best_member"].direction == "max"
    assert rows["engine_wql_over_best_member"].holds is False
    assert rows["mase_median_over_best_member"].limit == 1.02
    for where in WHERE:
        losses = [rows[f"wql.{where}.{name}"].value for name in ("last", "ridge")]
        assert rows[f"best_member_wql.{where}"].value == min(losses)
        assert rows[f"engine_wql.{where}"].value == rows[f"wql.{where}.engine"].value


def test_an_engine_as_good_as_the_best_member_holds(trace):
    benchmark = measured(trace, parts=("league",))
    rows = by_name(benchmark)
    assert rows["engine_wql_over_best_member"].value == 1
    assert rows["engine_wql_over_best_member"].holds is True
    assert "best member at cpu.1h: ridge" in benchmark.notes


def test_coverage_is_off_by_the_largest_distance_from_its_level(trace):
    rows = by_name(measured(trace, parts=("league",)))
    for level, limit in ((0.9, 0.015), (0.95, 0.01), (0.99, 0.005)):
        name = f"p{level * 100:.0f}"
        off = max(abs(rows[f"coverage_{name}.{where}"].value - level) for where in WHERE)
        worst = rows[f"coverage_error_{name}"]
        assert worst.value == pytest.approx(off)
        assert (worst.limit, worst.direction) == (limit, "max")


def test_who_is_not_installed_is_left_out_and_told_of(trace, models):
    benchmark = measured(trace, parts=("league",))
    (of_peer,) = [note for note in benchmark.notes if "model 'fracast'" in note]
    assert "pip install fracast" in of_peer
    assert not any("fracast" in row.name for row in benchmark.rows)
    models["fracast"] = PathModel(where="made_up:Far")
    rows = by_name(measured(trace, parts=("league",)))
    assert rows["engine_wql_over_fracast"].value < 1
    assert rows["engine_wql_over_fracast"].limit == 1
    assert rows["engine_wql_over_best_member"].value == 1, "the peer is no member"


def test_intervals_stand_beside_the_ratio_where_there_are_enough_origins(trace):
    few = by_name(measured(trace, parts=("league",), origins=2))
    assert not any("_low" in name for name in few)
    rows = by_name(measured(trace, parts=("league",), origins=6, models=("last",)))
    low, high = (rows[f"engine_wql_over_best_member_{end}.cpu.1h"].value for end in ("low", "high"))
    assert low <= rows["engine_wql_over_best_member.cpu.1h"].value <= high


def test_a_member_that_fails_costs_nobody_else_anything(trace, models):
    whole = by_name(measured(trace, parts=("league",), models=("last",)))
    models["ridge"] = PathModel(where="made_up:Broken")
    benchmark = measured(trace, parts=("league",), models=("last", "ridge"))
    assert by_name(benchmark) == whole
    assert len(benchmark.failures) == 2
    assert "model 'ridge' failed at memory: ValueError: no way ahead" in benchmark.failures[1]


def test_without_the_engine_what_the_members_lose_is_still_told(trace, models):
    models["engine"] = PathModel(where="made_up:Broken")
    benchmark = measured(trace, parts=("league",))
    rows = by_name(benchmark)
    assert rows["wql.cpu.1h.ridge"].value == rows["best_member_wql.cpu.1h"].value
    assert not any("engine" in name or "coverage" in name for name in rows)
    assert all("'engine' failed" in failure for failure in benchmark.failures)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("arima",), "extra 'models'"),
        (("engine",), "nobody"),
        (("last", "last"), "twice"),
        (("x",), "unknown"),
    ],
)
def test_models_that_cannot_be_held_against_are_refused(trace, names, said):
    with pytest.raises(InputError, match=said):
        measured(trace, parts=("league",), models=names)


# --- Replays ---------------------------------------------------------------------------------------


def test_replays_tell_what_is_saved_and_what_it_costs(trace):
    rows = by_name(measured(trace, parts=("replay",)))
    for name, limit, direction in (
        ("reserved_saved_sla_1pct", 0.08, "min"),
        ("reserved_saved_sla_01pct", 0.12, "min"),
        ("changes_per_vm_day_p99", 24, "max"),
        ("unmet_over_rule", 1.25, "max"),
        ("violation_ratio.cpu.sla_1pct", 0.01, "max"),
        ("violation_ratio.memory.sla_01pct", 0.001, "max"),
    ):
        assert (rows[name].limit, rows[name].direction) == (limit, direction)
    for sla in ("sla_1pct", "sla_01pct"):
        each = []
        for resource in ("cpu", "memory"):
            ours = rows[f"reserved_ratio.{resource}.{sla}.tidegate"].value
            each.append(1 - ours / rows[f"reserved_ratio.{resource}.{sla}.calibrated_reactive"].value)
        assert rows[f"reserved_saved_{sla}"].value == pytest.approx(min(each))


@pytest.mark.parametrize(("ours", "rule", "ratio"), [(0.0, 0.0, 1), (0.02, 0.01, 2), (0.0, 0.01, 1e-7)])
def test_unmet_demand_is_compared_where_there_is_none(ours, rule, ratio):
    def of(unmet):
        zero = dict.fromkeys(Measures.__dataclass_fields__, 0.0)
        return Measures(**zero | {"unmet_ratio": unmet})

    assert savings._unmet_over(of(ours), of(rule)) == pytest.approx(ratio)


# --- Feeds -----------------------------------------------------------------------------------------


def panel(vms=12, days=20):
    random = np.random.default_rng(3)
    made = panel_of(trace_of(Asked(vms=vms, seed=1), None), Resource.CPU).until(days * 288)
    shares = np.clip(0.4 + 0.05 * random.standard_normal(made.shares.shape), 0, 1).astype(np.float32)
    return type(made)(
        start_seconds=made.start_seconds,
        step_seconds=made.step_seconds,
        names=made.names,
        shares=shares,
        capacity=made.capacity,
    )


def test_real_feeds_move_their_groups_and_no_others():
    before = panel()
    made = feeds.injected(before, seed=2)
    groups = np.array(made.panel.groups)
    feed = next(feed for feed in made.panel.feeds if feed.name == "weather")
    middle = before.start_seconds + np.arange(before.steps) * before.step_seconds + before.step_seconds // 2
    told = feed.as_known(before.end_seconds, middle)
    moved = made.panel.shares - before.shares
    for group in sorted(set(groups)):
        follows = np.corrcoef(told, moved[:, groups == group].mean(axis=1))[0, 1]
        if (feed.name, group) in made.real:
            assert follows > 0.95
        else:
            assert not np.isfinite(follows) or abs(follows) < 0.3


def test_what_a_feed_says_of_coming_weather_is_known_and_of_coming_demand_is_not():
    made = feeds.injected(panel(), seed=2).panel
    tomorrow = np.array([made.end_seconds + 86_400])
    known = {feed.name: np.isfinite(feed.as_known(made.end_seconds, tomorrow)[0]) for feed in made.feeds}
    assert known["weather"]
    assert known["events_announced"]
    assert not known["demand_upstream"]


@pytest.mark.parametrize(("real_on", "useless_on"), [(True, False), (True, True), (False, False)])
def test_feeds_are_counted_by_whether_they_tell_something(trace, real_on, useless_on):
    asked = Asked(traces=(trace,))
    read = trace_of(asked, None)
    real = feeds.injected(panel_of(read, Resource.CPU), 0).real  # the same groups of every resource

    def judged(panel, _seed):
        pairs = {(feed.name, group) for feed in panel.feeds for group in panel.groups}
        return [
            SimpleNamespace(feed=feed, group=group, on=real_on if (feed, group) in real else useless_on)
            for feed, group in sorted(pairs)
        ]

    rows = {row.name: row for row in feeds.feed_answer(read, asked, quiet, judged).rows}
    assert rows["useless_feeds_off_ratio"].value == (not useless_on)
    assert rows["useless_feeds_off_ratio"].holds is (not useless_on)
    assert (rows["useless_feeds_off_ratio"].limit, rows["useless_feeds_off_ratio"].direction) == (0.95, "min")
    assert rows["real_feeds_found_ratio"].value == real_on
    assert rows["real_feeds"].value == 2 * len(real)
    assert rows["useless_feeds"].value + rows["real_feeds"].value == 2 * 18


# --- Speed -----------------------------------------------------------------------------------------


class Counting:
    """Counts the series that it was given."""

    def __init__(self):
        self.stepped = self.started = 0

    def start(self, panel):
        self.started += len(panel.names)
        return len(panel.names)

    def step(self, carried, sample):
        assert carried == sample.size
        self.stepped += sample.size
        return carried

    def quantiles(self, carried):
        return np.zeros((PATH_LEVELS.size, 1, carried))


def test_the_lstm_s_speed_is_series_over_seconds(monkeypatch):
    model = Counting()
    monkeypatch.setattr(speed, "drawn", lambda _seed: model)
    monkeypatch.setattr(speed, "CARRIED_SERIES", 40)
    monkeypatch.setattr(speed, "COLD_SERIES", 50)
    monkeypatch.setattr(speed, "AT_ONCE", 20)
    rows = by_name(measured(parts=("lstm",)))
    assert model.stepped == 40 * speed.CARRIED_TICKS
    assert model.started == 40 + 50 * speed.COLD_TURNS
    for name, limit in (("lstm_series_per_second", 20_000), ("lstm_series_per_second_cold", 2_000)):
        assert (rows[name].limit, rows[name].direction, rows[name].unit) == (limit, "min", "1/s")
        assert rows[name].value > 0


def test_the_lstm_itself_answers_without_training(models):
    models["lstm"] = PathModel(where="lstm:Lstm")
    model = speed.drawn(seed=1)
    carried = model.start(speed._panel(300, 2, np.random.default_rng(1)))
    said = model.quantiles(model.step(carried, np.full(2, 0.5, dtype=np.float32)))
    assert said.shape[0] == PATH_LEVELS.size
    assert np.isfinite(said).all()


def test_what_the_product_says_of_injected_feeds_is_what_is_counted(models):
    models["profile"] = PathModel(where="made_up:Near")
    made = feeds.injected(panel(vms=6), seed=2)
    gains = feeds._judged(made.panel, 2)
    assert {(gain.feed, gain.group) for gain in gains} > made.real


def test_an_lstm_that_is_not_installed_is_left_out(models):
    models["lstm"] = PathModel(where="made_up:Near", needs="learn", modules=("no_such_package",))
    benchmark = measured(parts=("lstm",))
    assert benchmark.rows == ()
    assert "pip install 'tidegate[learn]'" in benchmark.notes[0]


def test_the_tick_is_that_of_the_other_benchmark(monkeypatch):
    monkeypatch.setattr(one_tick, "WORKLOADS", 200)
    rows = by_name(measured(parts=("tick",)))
    assert rows["tick_seconds_1m"].unit == "s"
    assert rows["tick_seconds_1m"].value <= rows["tick_seconds_max_1m"].value


# --- Parts, data and machines ----------------------------------------------------------------------


def test_the_archive_s_month_is_taken_where_there_is_one(tmp_path, trace):
    assert trace_of(Asked(vms=3, seed=7), tmp_path).name == "made up, seed 7"
    (tmp_path / MONTH).parent.mkdir()
    (tmp_path / MONTH).write_bytes(trace.read_bytes())
    assert trace_of(Asked(), tmp_path).ticks == 9 * 24
    assert len(trace_of(Asked(vms=2), tmp_path).vms) == 2


def test_the_command_writes_its_figures_with_what_they_were_made_on(trace, tmp_path, capsys):
    out = tmp_path / "forecast.json"
    words = ["bench", "forecast", "--trace", str(trace), "--only", "league", "--origins", "2"]
    assert run([*words, "--model", "last", "--vms", "3", "--processes", "1", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert (found["area"], found["seed"]) == ("forecast", 0)
    assert found["machine"]["data_vms"] == "3"
    assert found["machine"]["data_days"] == "9"
    names = {row["name"] for row in found["rows"]}
    assert {"engine_wql_over_best_member", "coverage_error_p95", "wql.memory.24h.last"} <= names
    assert not any(name.startswith(("reserved", "lstm", "tick", "useless")) for name in names)
    assert "best member at cpu.1h: last" in capsys.readouterr().out


def test_the_command_says_who_failed_and_keeps_the_figures_of_others(trace, tmp_path, capsys, models):
    models["ridge"] = PathModel(where="made_up:Broken")
    out = tmp_path / "forecast.json"
    words = ["bench", "forecast", "--trace", str(trace), "--only", "league", "--origins", "2"]
    assert run([*words, "--model", "last,ridge", "--vms", "3", "--processes", "1", "--json", str(out)]) == 1
    written, said = json.loads(out.read_text()), capsys.readouterr()
    assert "wql.memory.24h.last" in {row["name"] for row in written["rows"]}
    assert ["'ridge' failed at" in failure for failure in written["failures"]] == [True, True]
    assert "model 'ridge' failed at cpu: ValueError: no way ahead" in said.err
    assert "engine_wql_over_best_member" in said.out


def test_an_unknown_part_is_refused_by_name(capsys):
    assert run(["bench", "forecast", "--only", "league,ticks"]) == 2
    assert "ticks; choose from league, replay, feeds, lstm, tick" in " ".join(capsys.readouterr().err.split())
