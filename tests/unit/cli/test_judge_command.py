"""`tidegate models judge`: a record on samples nobody has learned from, and what `promote` makes of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tidegate.app import path_models
from tidegate.app.artefacts import Card, Data, ModelStore, active
from tidegate.cli.main import run
from tidegate.lab import judging
from tidegate.lab.archive import load_trace
from tidegate.lab.panels import panel_of
from tidegate.model.paths import PATH_LEVELS, Paths
from tidegate.model.resources import Resource
from tidegate.sim.traces import generate_trace, write_trace
from tidegate.testing import ManualClock

STEP = 1800
DAY = 86_400
LEARNED = "2024-01-09T00:00:00Z"
"""The trace is the 17 days from the first of the month: eight of them were seen."""


class Off:
    """Says what came an hour ago, too much by what it was stored with."""

    asked: list[tuple[int, int]]
    interrupted = False
    broken = False

    def __init__(self, seed):
        self.seed = seed

    def fit(self, panel):
        raise AssertionError("a stored model is judged as it is stored")

    def paths(self, panel, horizon_steps):
        if self.interrupted:
            raise KeyboardInterrupt
        Off.asked.append((panel.steps, horizon_steps))
        last = np.nan_to_num(panel.shares[-1])
        said = np.clip(last + 0.02 * (PATH_LEVELS - 0.5)[:, None] + self.off, 0, 1)
        quantiles = np.broadcast_to(said[:, None], (PATH_LEVELS.size, horizon_steps, last.size))
        return Paths(
            end_seconds=panel.end_seconds,
            step_seconds=panel.step_seconds,
            quantiles=(np.nan if self.broken else 1) * quantiles.astype(np.float32),
        )

    def state(self):
        return {"off": self.off}

    def restore(self, state):
        self.off = state["off"]


class Entry:
    name = "off"

    @staticmethod
    def load():
        return Off


@pytest.fixture(autouse=True)
def _plug_ins(monkeypatch):
    monkeypatch.setattr(Off, "asked", [], raising=False)
    for module in (path_models, active):
        monkeypatch.setattr(
            module, "entry_points", lambda group: [Entry] if group == path_models.GROUP else []
        )


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "days.parquet"
    write_trace(generate_trace(vms=8, days=17, step_seconds=STEP, seed=1), path)
    return str(path)


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "state/tidegate/models", ManualClock(0))


@pytest.fixture
def add(store, start):
    def add(name, off, *, step=STEP, days=8, end=None):
        learned = judging.iso(start + days * DAY) if end is None else end
        card = Card(
            name=name, kind="off", resource="cpu", step_seconds=step, seed=7, commit="abc", scores=(),
            data=Data(traces=("a.parquet",), series=8, start="2023-01-01T00:00:00Z", end=learned, rows=9),
            inference_seconds_per_series=None, created="2024-01-31T12:00:00Z",
        )  # fmt: skip
        store.add(card, {"off": np.array(off, dtype=np.float32)})
        store.promote(name)

    return add


@pytest.fixture(scope="module")
def panel(trace):
    return panel_of(load_trace([trace], resources=(Resource.CPU,)), Resource.CPU)


@pytest.fixture(scope="module")
def start(panel):
    return panel.start_seconds


@pytest.fixture
def decide(store):
    """Let a model in shadow be active without ado."""

    def decide(name):
        life = next(one.life for one in store.held() if one.name == name)
        record = judging.Record(
            weights_sha256=life.weights_sha256, against=None, against_sha256=None, since="a", until="b",
            samples=4_000, loss_sum=80.0, active_loss_sum=100.0,
        )  # fmt: skip
        store.write_record(name, record)
        store.promote(name)

    return decide


def test_a_better_model_gets_its_record_and_is_promoted(
    trace, add, decide, store, capsys, *, tmp_path, panel
):
    out = tmp_path / "out.json"
    add("bad", 0.3)
    decide("bad")
    add("good", 0.0, days=9)
    assert run(["models", "judge", "good", trace, "--json", str(out)]) == 0
    captured = capsys.readouterr()
    assert "Not counted: " in captured.out
    assert "'good' is better: its loss is 0." in captured.out
    assert "tidegate models promote good" in captured.out
    assert captured.err == ""
    said = json.loads(out.read_text())
    assert set(said) == {
        "name", "kind", "resource", "step_seconds", "horizon_seconds", "origins", "learned_until",
        "samples_learned", "record", "better", "why",
    }  # fmt: skip
    record = store.record("good")
    assert said["record"]["samples"] == record.samples
    assert said["record"]["against"] == "bad"
    assert (said["better"], said["horizon_seconds"], said["origins"]) == (True, 3600, 8 * 24)
    assert len(record.blocks) == 8
    unseen = panel.shares[9 * 48 :]
    assert record.samples == np.isfinite(unseen).sum()
    assert said["samples_learned"] == np.isfinite(panel.shares[: 9 * 48]).sum()
    assert said["learned_until"] == record.since == judging.iso(panel.start_seconds + 9 * DAY)
    assert record.until == judging.iso(panel.end_seconds)
    assert run(["models", "promote", "good"]) == 0
    assert "'good' is now active (off, cpu): its loss is 0." in capsys.readouterr().out


def test_the_losses_are_those_of_what_each_said(trace, add, store, panel):
    add("mine", 0.1)
    assert run(["models", "judge", "mine", trace]) == 0
    loss = 0.0
    for steps in range(8 * 48, 17 * 48, 2):
        came = panel.shares[steps : steps + 2].astype(np.float64)
        last = np.nan_to_num(panel.shares[steps - 1])
        for level in PATH_LEVELS[:9].astype(np.float64):
            over = came - np.clip(last + 0.02 * (level - 0.5) + 0.1, 0, 1)
            loss += np.nansum(np.maximum(level * over, (level - 1) * over))
    assert store.record("mine").loss_sum == pytest.approx(loss, rel=1e-4)


def test_a_worse_model_is_told_so_and_refused(trace, add, decide, store, capsys):
    add("good", 0.0)
    decide("good")
    add("bad", 0.3)
    assert run(["models", "judge", "bad", trace]) == 0
    said = capsys.readouterr().out
    assert "'bad' stays in shadow: its loss is " in said
    assert "and must be 0.99 or less" in said
    assert "tidegate models retire bad" in said
    assert store.record("bad").against == "good"
    assert run(["models", "promote", "bad"]) == 2
    assert "stays in shadow: its loss is " in capsys.readouterr().err


def test_without_an_active_model_it_must_beat_the_profile(trace, add, store, capsys):
    add("bad", 0.3)
    assert run(["models", "judge", "bad", trace, "--step", "30m"]) == 0
    assert ": what decides without a trained model" in capsys.readouterr().out
    record = store.record("bad")
    assert (record.against, record.against_sha256) == (None, None)
    assert 0 < record.active_loss_sum < record.loss_sum


def test_nobody_looks_ahead_before_all_learning_ends(trace, add, decide):
    add("old", 0.0, days=12)
    decide("old")
    add("new", 0.0, days=8)
    assert run(["models", "judge", "new", trace]) == 0
    assert min(Off.asked) == (12 * 48, 2)


def test_a_week_of_history_comes_first(trace, add, store, start):
    add("new", 0.0, days=-30)
    assert run(["models", "judge", "new", trace]) == 0
    assert store.record("new").since == judging.iso(start + 7 * DAY)


def test_too_few_days_are_written_and_do_not_promote(trace, add, store, capsys):
    add("new", 0.0, days=14)
    assert run(["models", "judge", "new", trace]) == 0
    assert (
        f"stays in shadow: {store.record('new').samples:,} samples in shadow are too few"
        in capsys.readouterr().out
    )
    assert len(store.record("new").blocks) == 3


@pytest.mark.parametrize(
    ("changes", "words", "said"),
    [
        ({"days": 17}, [], "samples were learned from: they prove nothing; give a trace that goes on after"),
        ({"days": 40}, [], "give a trace that goes on after that"),
        ({"days": 16.97}, [], "give a longer trace"),
        ({"end": "soon"}, [], "'soon' is no time"),
        ({}, ["--step", "5m"], "its step in seconds is 1800, and 300 is needed"),
        ({}, ["--step", "often"], "no duration"),
        ({}, ["--json", "none/x.json"], "cannot write"),
    ],
)
def test_what_can_t_be_judged_is_said_and_leaves_nothing(trace, add, store, capsys, *, changes, words, said):
    add("new", 0.0, **changes)
    assert run(["models", "judge", "new", trace, *words]) == 2
    assert said in capsys.readouterr().err
    assert store.record("new") is None
    assert Off.asked == []


def test_only_a_model_in_shadow_is_judged(trace, add, decide, store, capsys):
    add("one", 0.0)
    decide("one")
    before = store.record("one")
    assert run(["models", "judge", "one", trace]) == 2
    assert "model 'one' is active, and only one in shadow is judged" in capsys.readouterr().err
    store.retire("one")
    assert run(["models", "judge", "one", trace]) == 2
    assert run(["models", "judge", "none", trace]) == 2
    assert "there is no model 'none'" in capsys.readouterr().err
    assert store.record("one") == before


def test_an_active_model_of_another_step_or_not_whole_is_no_measure(trace, add, decide, store, capsys):
    add("old", 0.0, step=300)
    decide("old")
    add("new", 0.0)
    assert run(["models", "judge", "new", trace]) == 2
    assert "model 'old' can't be used here" in capsys.readouterr().err
    (store.folder / "old/stage.json").write_bytes(b"")
    assert run(["models", "judge", "new", trace]) == 2
    assert "'old' may be active, and can't be read" in capsys.readouterr().err
    assert store.record("new") is None


def test_control_c_and_a_broken_model_write_nothing(trace, add, store, capsys, *, monkeypatch, tmp_path):
    out = tmp_path / "out.json"
    add("new", 0.0)
    monkeypatch.setattr(Off, "interrupted", True)
    assert run(["models", "judge", "new", trace, "--json", str(out)]) == 130
    assert capsys.readouterr().err == "tidegate: interrupted; nothing was left half-written\n"
    monkeypatch.setattr(Off, "interrupted", False)
    monkeypatch.setattr(Off, "broken", True)
    assert run(["models", "judge", "new", trace, "--json", str(out)]) == 1
    assert "model 'new' left quantiles without a number; mend it, or train it anew" in capsys.readouterr().err
    assert store.record("new") is None
    assert not out.exists()
