"""`tidegate models`: what people and machines read, and the exit codes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rich.console import Console

from tidegate.app.artefacts import Card, Data, ModelStore, Record, Score
from tidegate.cli.main import run
from tidegate.cli.model_views import bytes_text, in_order, listed
from tidegate.testing import ManualClock


def card(name, resource="cpu"):
    scores = tuple(
        Score(
            horizon_seconds=seconds, origins=4, samples=1_000, wql=0.25, mase_median=0.5, mase_left_out=0,
            coverage={"0.9": 0.9, "0.95": 0.9375, "0.99": 1.0},
        )
        for seconds in (3_600, 86_400)
    )  # fmt: skip
    return Card(
        name=name, kind="tiny", resource=resource, step_seconds=300, seed=7, commit="abc", scores=scores,
        data=Data(traces=("a.parquet",), series=3, start="2024-01-01", end="2024-01-29", rows=9_000),
        inference_seconds_per_series=0.0125, created="2024-01-31T12:00:00Z", notes="[bold]mine",
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    """The store that commands use by default: two on the way up, one who decides, one before it."""
    store = ModelStore(tmp_path / "state/tidegate/models", ManualClock(0))
    for name, resource in (("old", "cpu"), ("new", "cpu"), ("next", "cpu"), ("mem", "memory")):
        store.add(card(name, resource), {"w": np.arange(2, dtype=np.float32)})
    activate(store, "old")
    activate(store, "new")
    store.promote("next")
    return store


def earn(store, name):
    lives = {one.name: one.life for one in store.held()}
    active = next((one for one in lives.values() if one.stage == "active" and one.resource == "cpu"), None)
    record = Record(
        weights_sha256=lives[name].weights_sha256,
        against=active and active.name,
        against_sha256=active and active.weights_sha256,
        since="2024-02-01T00:00:00Z", until="2024-02-08T00:00:00Z",
        samples=4_000, loss_sum=80.0, active_loss_sum=100.0,
    )  # fmt: skip
    store.write_record(name, record)


def activate(store, name):
    store.promote(name)
    earn(store, name)
    store.promote(name)


def test_an_empty_store_says_how_to_train(capsys, tmp_path):
    out = tmp_path / "out.json"
    assert run(["models", "list", "--json", str(out)]) == 0
    said = capsys.readouterr().out
    assert "There is no trained model" in said
    assert "tidegate train --model" in said
    assert json.loads(out.read_text()) == {"models": []}
    assert run(["models", "verify"]) == 0
    assert "no trained model" in capsys.readouterr().out
    assert not (tmp_path / "state/tidegate/models").exists()


@pytest.mark.usefixtures("store")
def test_the_list_is_sorted_who_decides_first(capsys, tmp_path):
    out = tmp_path / "out.json"
    assert run(["models", "list", "--json", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[2:]] == [
        ["new", "active"], ["next", "shadow"], ["old", "retired"], ["mem", "candidate"],
    ]  # fmt: skip
    assert "0.250" in lines[2]
    assert "94 %" in lines[2]
    models = json.loads(out.read_text())["models"]
    assert [one["name"] for one in models] == ["new", "next", "old", "mem"]
    assert models[0] == {
        "name": "new", "stage": "active", "kind": "tiny", "resource": "cpu", "step_seconds": 300,
        "created": "2024-01-31T12:00:00Z", "size_bytes": models[0]["size_bytes"],
        "scores": models[0]["scores"], "problem": None,
    }  # fmt: skip
    assert models[0]["scores"][1]["wql"] == 0.25


def test_wide_and_narrow_hold_the_same_and_fit(store):
    for width, lines_each in ((118, 1), (72, 3), (50, 3)):
        console = Console(width=width, record=True, color_system=None)
        with console.capture() as said:
            for part in listed(store.held(), width):
                console.print(part)
        lines = said.get().splitlines()
        assert max(map(len, lines)) <= width
        assert len(lines) == 4 * lines_each + (2 if width == 118 else 0)
        for words in ("new", "active", "0.250", "0.500", "94 %", "2024-01-31", "5m"):
            assert words in said.get()


def test_stages_have_colours(store):
    console = Console(width=150, force_terminal=True, color_system="standard")
    with console.capture() as said:
        for part in listed(store.held(), 150):
            console.print(part)
    for colour, stage in ((32, "active"), (36, "shadow"), (33, "candidate"), (2, "retired")):
        assert f"\x1b[{colour}m{stage}" in said.get()


def test_one_model_is_shown_whole(store, capsys, tmp_path):
    out = tmp_path / "out.json"
    earn(store, "next")
    assert run(["models", "show", "next", "--json", str(out)]) == 0
    said = capsys.readouterr().out
    for words in (
        "next is shadow", "a.parquet: 3 series, 9,000 samples", "7, abc", "[bold]mine", "12.5 ms per series",
        "1970-01-01T00:00:00Z  shadow: promoted by hand",
        "4,000 samples, loss 80 against 100 of 'new'", "below 0.99",
    ):  # fmt: skip
        assert words in said
    shown = json.loads(out.read_text())
    assert (shown["card"]["seed"], shown["life"]["stage"], shown["record"]["samples"]) == (7, "shadow", 4_000)
    assert [move["to"] for move in shown["life"]["history"]] == ["candidate", "shadow"]


def test_up_and_back_again(store, capsys, tmp_path):
    out = tmp_path / "out.json"
    assert run(["models", "promote", "next"]) == 2
    assert "stays in shadow: there is no record" in capsys.readouterr().err
    earn(store, "next")
    assert run(["models", "promote", "next", "--json", str(out)]) == 0
    said = capsys.readouterr().out
    assert "'next' is now active (tiny, cpu): its loss is 0.800 times that of 'new'" in said
    assert "'new' is now retired (tiny, cpu): replaced by 'next'" in said
    assert "'tidegate models rollback next' brings 'new' back" in said
    assert [(one["name"], one["stage"]) for one in json.loads(out.read_text())["models"]] == [
        ("next", "active"), ("new", "retired"),
    ]  # fmt: skip
    assert run(["models", "rollback", "next"]) == 0
    assert "'new' is now active (tiny, cpu): 'next' was taken back." in capsys.readouterr().out
    assert run(["models", "retire", "mem"]) == 0
    assert "'mem' is now retired (tiny, memory): retired by hand." in capsys.readouterr().out
    assert run(["models", "retire", "mem"]) == 2
    assert run(["models", "rollback", "mem"]) == 2
    assert run(["models", "promote", "mem"]) == 2
    assert run(["models", "show", "none"]) == 2
    assert "there is no model 'none'" in capsys.readouterr().err


def test_what_is_damaged_is_told_by_each_command(store, capsys, tmp_path):
    out = tmp_path / "out.json"
    weights = store.folder / "new/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    (store.folder / "mem/card.json").write_bytes(b"")
    assert run(["models", "verify", "--json", str(out)]) == 1
    captured = capsys.readouterr()
    assert "old: whole" in captured.out
    assert "new/weights.safetensors was altered or cut short" in captured.out
    assert captured.err.startswith("tidegate: 2 of 4 models can't be used: mem, new;")
    assert [one["name"] for one in json.loads(out.read_text())["models"] if one["problem"]] == ["mem", "new"]
    assert run(["models", "verify", "old", "old"]) == 0
    assert capsys.readouterr().out == "old: whole\n"
    assert run(["models", "list"]) == 0
    assert "mem    damaged" in capsys.readouterr().out.replace("mem   damaged", "mem    damaged")
    assert run(["models", "show", "new"]) == 2
    assert run(["models", "verify", "none"]) == 1


def test_another_folder_and_a_wrong_one(store, capsys, tmp_path):
    assert run(["models", "list", "--models", str(tmp_path / "elsewhere")]) == 0
    assert "no trained model" in capsys.readouterr().out
    assert run(["models", "list", "--models", str(store.folder / "old/card.json")]) == 2
    assert run(["models", "list", "--json", str(tmp_path / "none/x.json")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_those_that_can_t_be_read_come_last_and_sizes_have_units(store):
    (store.folder / "a").mkdir()
    assert in_order(store.held())[-1].name == "a"
    assert [bytes_text(size) for size in (999, 1_000, 1_500_000)] == ["999 B", "0.977 KiB", "1.43 MiB"]
