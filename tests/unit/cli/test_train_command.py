"""`tidegate train`: from a trace to a candidate, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tidegate.app import path_models
from tidegate.app.artefacts import active
from tidegate.cli.main import run
from tidegate.model.paths import PATH_LEVELS, Paths
from tidegate.sim.traces import generate_trace, write_trace


class Half:
    """Says half of everything, whatever it saw."""

    interrupted = False

    def __init__(self, seed):
        self.seed = seed

    def fit(self, panel):
        if self.interrupted:
            raise KeyboardInterrupt

    def paths(self, panel, horizon_steps):
        quantiles = np.full((PATH_LEVELS.size, horizon_steps, len(panel.names)), 0.5, dtype=np.float32)
        return Paths(end_seconds=panel.end_seconds, step_seconds=panel.step_seconds, quantiles=quantiles)

    def state(self):
        return {"half": np.array([0.5], dtype=np.float32)}

    def restore(self, state):
        pass


class Plain(Half):
    state = restore = None


class Entry:
    def __init__(self, name, made):
        self.name, self.load = name, lambda: made


@pytest.fixture(autouse=True)
def _plug_ins(monkeypatch):
    found = [Entry("half", Half), Entry("plain", Plain)]
    for module in (path_models, active):
        monkeypatch.setattr(module, "entry_points", lambda group: found if group == path_models.GROUP else [])


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "four-days.parquet"
    rows = generate_trace(vms=3, days=4, step_seconds=1800, seed=1)
    write_trace(rows.drop("network_bytes_per_second_capacity"), path)
    return str(path)


def test_a_candidate_is_trained_and_said(trace, capsys, tmp_path):
    out = tmp_path / "card.json"
    words = ["train", "--model", "half", trace, "-o", "mine", "--resource", "memory", "--seed", "9"]
    assert run([*words, "--notes", "try", "--json", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(
        "'mine' is trained and kept as a candidate (half, memory).\n  1h ahead: WQL "
    )
    assert "tidegate models promote mine" in captured.out
    assert captured.err == ""
    card = json.loads(out.read_text())
    assert (card["name"], card["resource"], card["seed"], card["notes"]) == ("mine", "memory", 9, "try")
    assert card["step_seconds"] == 1800
    assert run(["models", "show", "mine"]) == 0
    assert "mine is candidate" in capsys.readouterr().out
    assert run(words) == 2
    assert "there is a model 'mine'" in capsys.readouterr().err


def test_a_folder_and_a_step_may_be_given(trace, tmp_path):
    folder = tmp_path / "elsewhere"
    words = ["train", "--model", "half", trace, "-o", "mine", "--step", "1h", "--models", str(folder)]
    assert run(words) == 0
    assert json.loads((folder / "mine/card.json").read_text())["step_seconds"] == 3600
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--agent", "q", "-o", "x"], "--agent can't be trained yet; train a forecaster with --model KIND"),
        (["-o", "x"], "nothing says what to train"),
        (["--model", "half"], "--out"),
        (["--model", "half", "-o", "../x"], "can't be called"),
        (["--model", "half", "-o", "x", "--resource", "cpu,memory"], "a model forecasts one resource"),
        (["--model", "half", "-o", "x", "--resource", "colour"], "'colour' is unknown"),
        (["--model", "half", "-o", "x", "--step", "often"], "no duration"),
        (["--model", "plain", "-o", "x"], "model 'plain' has nothing to store"),
        (["--model", "nobody", "-o", "x"], "unknown model 'nobody'"),
        (["--model", "half", "-o", "x", "--resource", "network"], "no capacity"),
    ],
)
def test_what_is_wrong_is_said_and_leaves_nothing(trace, capsys, tmp_path, words, said):
    assert run(["train", trace, *words]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("tidegate: ")
    assert said in captured.err
    assert not (tmp_path / "state/tidegate/models").exists()


def test_the_kinds_that_can_be_stored_are_named(trace, capsys):
    assert run(["train", trace, "--model", "plain", "-o", "x"]) == 2
    assert "choose from " in (said := capsys.readouterr().err)
    assert "half" in said
    assert "plain," not in said


def test_control_c_leaves_nothing_behind(trace, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(Half, "interrupted", True)
    assert run(["train", "--model", "half", trace, "-o", "mine"]) == 130
    assert capsys.readouterr().err == "tidegate: interrupted; nothing was left half-written\n"
    assert not (tmp_path / "state/tidegate/models").exists()
