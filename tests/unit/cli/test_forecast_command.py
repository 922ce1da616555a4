"""`tidegate forecast`: figures for machines, a table for people, a sentence where something is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from tidegate.app import path_models
from tidegate.cli import model_names
from tidegate.cli.main import run
from tidegate.model.paths import PATH_LEVELS, Paths
from tidegate.sim.traces import generate_trace, write_trace

QUICK = ("--origins", "3", "--processes", "1")
STORY = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from tidegate.app import path_models

class Slow:
    def __init__(self, seed):
        pass
    def fit(self, panel):
        Path(sys.argv[-1]).touch()
        time.sleep(60)

path_models.entry_points = lambda **_: [
    SimpleNamespace(name=name, load=lambda: Slow) for name in ("slow", "slower")
]
if __name__ == "__main__":
    from tidegate.cli.main import main
    main(sys.argv[1:-1])
"""


class Even:
    """Anything may come; or, with a width, something near the middle."""

    def __init__(self, seed, width=1.0):
        self._width = width

    def fit(self, panel):
        pass

    def paths(self, panel, horizon_steps):
        quantiles = 0.5 + self._width * (PATH_LEVELS - 0.5)
        return Paths(
            end_seconds=panel.end_seconds,
            step_seconds=panel.step_seconds,
            quantiles=np.tile(quantiles[:, None, None], (1, horizon_steps, len(panel.names))),
        )


@pytest.fixture(autouse=True)
def _two_plug_ins(monkeypatch):
    kinds = {"wide": Even, "narrow": lambda seed: Even(seed, width=0.2)}
    found = [SimpleNamespace(name=name, load=lambda kind=kind: kind) for name, kind in kinds.items()]
    monkeypatch.setattr(path_models, "entry_points", lambda **_: found)


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "tiny.parquet"
    write_trace(generate_trace(vms=3, days=9, step_seconds=1800, seed=1), path)
    return path


def forecast(trace, *options):
    return run(["forecast", str(trace), *QUICK, *options])


def test_the_figures_are_those_of_the_contract(trace, tmp_path):
    path = tmp_path / "a.json"
    options = ("--model", "wide,narrow", "--horizon", "1h,6h", "--resource", "cpu,memory")
    assert forecast(trace, *options, "--json", str(path)) == 0
    entries = json.loads(path.read_text("utf-8"))["models"]
    assert len(entries) == 8
    assert list(entries[0]) == [
        "name", "resource", "horizon_seconds", "mase_median", "mase_mean", "wql", "coverage",
        "seconds_per_series_fit", "seconds_per_series_predict", "series", "series_without_scale", "origins",
        "wql_low", "wql_high",
    ]  # fmt: skip
    assert [entry["name"] for entry in entries[:4]] == ["wide", "narrow", "wide", "narrow"]
    assert {entry["horizon_seconds"] for entry in entries} == {3600, 21_600}
    assert all(entry["wql"] > 0 and entry["series"] == 3 and entry["origins"] == 3 for entry in entries)
    assert entries[0]["coverage"].keys() == {"0.9", "0.95", "0.99"}
    assert entries[0]["wql_low"] <= entries[0]["wql"] <= entries[0]["wql_high"]


def test_the_same_seed_gives_the_same_figures_but_for_the_time(trace, tmp_path):
    def figures(name):
        path = tmp_path / name
        assert forecast(trace, "--model", "wide", "--seed", "4", "--json", str(path)) == 0
        entries = json.loads(path.read_text("utf-8"))["models"]
        return [{key: value for key, value in entry.items() if "seconds_per" not in key} for entry in entries]

    assert figures("a.json") == figures("b.json")


@pytest.mark.parametrize(("columns", "wide"), [("80", False), ("140", True)])
def test_the_table_is_sorted_and_the_best_is_marked(columns, wide, trace, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    assert forecast(trace, "--model", "wide,narrow") == 0
    said = capsys.readouterr().out
    lines = [line.split() for line in said.splitlines() if line.strip().startswith(("wide", "narrow"))]
    assert lines[0][1] == "*"
    assert lines[0][3] == "1.000"
    assert float(lines[0][2]) < float(lines[1][1])
    assert "cpu, 1h ahead: 3 series, 3 origins 7h apart" in said
    assert ("fit/series" in said) == wide
    assert max(map(len, said.splitlines())) <= int(columns)


def test_a_report_can_be_had(trace, tmp_path):
    path = tmp_path / "models.html"
    assert forecast(trace, "--model", "wide,narrow", "--report", str(path)) == 0
    assert "<title>Models side by side on tiny</title>" in path.read_text("utf-8")


WRONG = {
    "unknown_model": (["--model", "nobody"], "unknown model 'nobody'; choose from last"),
    "no_model": (["--model", ","], "names no model"),
    "model_twice": (["--model", "wide,wide"], "names a model twice"),
    "unknown_resource": (["--resource", "cpus"], "'cpus'"),
    "no_horizon": (["--horizon", ","], "--horizon names no time"),
    "no_duration": (["--horizon", "soon"], "'soon' is no duration"),
    "odd_horizon": (["--horizon", "40m"], "multiple of the trace's step"),
    "long_horizon": (["--horizon", "3d"], "give a longer trace"),
    "no_origins": (["--origins", "0"], "--origins 0"),
    "unknown_engine": (["--engine", "steam"], "choose --engine local or ray"),
    "nothing_to_spread": (["--engine", "ray"], "none of wide can spread its work over Ray"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_one_sentence_and_nothing_written(case, trace, tmp_path, capsys):
    options, said = WRONG[case]
    written = ("--json", str(tmp_path / "a.json"), "--report", str(tmp_path / "a.html"))
    assert forecast(trace, "--model", "wide", *written, *options) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("tidegate: ")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def lacking(monkeypatch):
    """Let everything beyond the core be absent, and the plug-ins stand in the default list."""
    needs_more = path_models.PathModel(where="none:None", needs="models", modules=("no_such_package",))
    monkeypatch.setattr(path_models, "PATH_MODELS", {"lightgbm": needs_more})
    monkeypatch.setattr(model_names, "DEFAULT_MODELS", ("wide", "lightgbm", "narrow"))


@pytest.mark.usefixtures("lacking")
def test_of_the_default_what_is_not_installed_is_left_out_and_named(trace, tmp_path, capsys):
    path = tmp_path / "a.json"
    assert forecast(trace, "--json", str(path)) == 0
    names = [entry["name"] for entry in json.loads(path.read_text("utf-8"))["models"]]
    assert names == ["wide", "narrow"]
    assert "left out: model 'lightgbm' needs the extra 'models'" in capsys.readouterr().err


@pytest.mark.usefixtures("lacking")
def test_by_name_what_is_not_installed_is_refused_with_how_to_install_it(trace, capsys):
    assert forecast(trace, "--model", "wide,lightgbm") == 2
    assert "pip install 'tidegate[models]'" in capsys.readouterr().err


def test_ctrl_c_is_one_sentence_and_leaves_nothing(trace, tmp_path):
    script, begun, out = tmp_path / "story.py", tmp_path / "begun", tmp_path / "x.json"
    script.write_text(STORY, "utf-8")
    options = ("--model", "slow,slower", "--origins", "3", "--processes", "2", "--json", str(out))
    with subprocess.Popen(
        [sys.executable, str(script), "forecast", str(trace), *options, str(begun)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as started:
        for _ in range(300):
            if begun.exists() or started.poll() is not None:
                break
            time.sleep(0.1)
        os.killpg(started.pid, signal.SIGINT)
        _, said = started.communicate(timeout=30)
    assert begun.exists()
    assert started.returncode == 130
    assert said == "tidegate: interrupted; nothing was left half-written\n"
    assert not out.exists()
