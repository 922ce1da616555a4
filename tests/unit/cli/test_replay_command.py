"""`tidegate replay`: figures for machines, and one sentence on stderr where something is wrong."""

from __future__ import annotations

import json

import polars as pl
import pytest

from tidegate.cli.main import run
from tidegate.sim.traces import generate_trace, write_trace

QUICK = ("--warmup", "1h", "--resource", "cpu", "--processes", "1")


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "tiny.parquet"
    write_trace(generate_trace(vms=3, days=0.5, step_seconds=900, seed=1), path)
    return path


def replayed(trace, path, *options):
    assert run(["replay", str(trace), *QUICK, "--json", str(path), *options]) == 0
    return json.loads(path.read_text("utf-8"))


def without_seconds(figures):
    return figures | {"policies": [entry | {"seconds": 0} for entry in figures["policies"]]}


def test_the_figures_are_those_of_the_contract(trace, tmp_path):
    figures = replayed(
        trace, tmp_path / "a.json", "--policy", "static,calibrated_reactive,oracle", "--seed", "9"
    )
    assert list(figures) == [
        "trace",
        "vms",
        "ticks",
        "step_seconds",
        "warmup_seconds",
        "seed",
        "model",
        "policies",
    ]
    assert (figures["trace"], figures["vms"], figures["ticks"]) == ("tiny", 3, 48)
    assert (figures["step_seconds"], figures["warmup_seconds"], figures["seed"]) == (900, 3600, 9)
    assert list(figures["policies"][0]) == [
        "name", "resource", "sla", "violation_ratio", "vms_within_sla_ratio", "unmet_ratio", "reserved_ratio",
        "slack_ratio", "changes_per_vm_day_p50", "changes_per_vm_day_p99", "gap_closed", "seconds",
    ]  # fmt: skip
    assert [entry["name"] for entry in figures["policies"]] == ["static", "calibrated_reactive", "oracle"]
    assert [entry["gap_closed"] for entry in figures["policies"]][1:] == [0, 1]


def test_the_same_seed_gives_the_same_figures(trace, tmp_path):
    policies = ("--policy", "calibrated_reactive,tidegate,n_sigma", "--seed", "4")
    first = replayed(trace, tmp_path / "a.json", *policies)
    second = replayed(trace, tmp_path / "b.json", *policies)
    assert without_seconds(first) == without_seconds(second)
    assert all(entry["gap_closed"] is None for entry in first["policies"])


def test_every_resource_has_an_entry_of_each_policy(trace, tmp_path):
    options = ("--policy", "static,oracle", "--resource", "memory,cpu")
    figures = replayed(trace, tmp_path / "a.json", *options)
    assert [(entry["name"], entry["resource"]) for entry in figures["policies"]] == [
        ("static", "memory"), ("static", "cpu"), ("oracle", "memory"), ("oracle", "cpu"),
    ]  # fmt: skip


WRONG = {
    "unknown_policy": (["--policy", "nobody"], "unknown policy 'nobody'"),
    "policy_twice": (["--policy", "vpa,vpa"], "names a policy twice"),
    "sla_of_nothing": (["--sla", "0"], "outside (0, 0.5]"),
    "sla_above_half": (["--sla", "0.6"], "outside (0, 0.5]"),
    "sla_no_number": (["--sla", "few"], "sla"),
    "unknown_resource": (["--resource", "cpus"], "'cpus'"),
    "no_duration": (["--warmup", "soon"], "'soon' is no duration"),
    "long_warmup": (["--warmup", "7d"], "shorter --warmup"),
    "odd_decisions": (["--decide-every", "7m"], "multiple of the trace's step"),
    "no_lead": (["--lead", "0"], "--lead"),
    "unknown_engine": (["--engine", "steam"], "--engine"),
    "unknown_option": (["--polizy", "vpa"], "polizy"),
}

UNSEEN = {"sla_no_number", "unknown_option"}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_one_sentence_and_nothing_written(case, trace, tmp_path, capsys):
    options, said = WRONG[case]
    path, report = tmp_path / "figures.json", tmp_path / "report.html"
    code = run(["replay", str(trace), *QUICK, "--json", str(path), "--report", str(report), *options])
    assert code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("tidegate: ")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["missing", "empty", "text"])
def test_a_file_that_can_t_be_read_is_named(kind, tmp_path, capsys):
    source, path = tmp_path / "no-such.parquet", tmp_path / "figures.json"
    if kind != "missing":
        source.write_text("" if kind == "empty" else "no trace at all", "utf-8")
    assert run(["replay", str(source), *QUICK, "--json", str(path)]) == 2
    error = capsys.readouterr().err
    assert "no-such.parquet" in error
    assert error.count("\n") == 1
    assert not path.exists()


def test_a_folder_that_isn_t_there_is_said_and_nothing_is_left(trace, tmp_path, capsys):
    path = tmp_path / "nowhere" / "figures.json"
    assert run(["replay", str(trace), *QUICK, "--policy", "static", "--json", str(path)]) == 2
    assert "choose a folder that exists" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_command_is_wrong_usage(capsys):
    assert run(["replai"]) == 2
    assert capsys.readouterr().err.startswith("tidegate: No such command 'replai'")


def test_each_vm_s_figures_can_be_had(trace, tmp_path):
    path = tmp_path / "vms.csv"
    assert run(["replay", str(trace), *QUICK, "--policy", "tidegate,static", "--per-vm", str(path)]) == 0
    lines = path.read_text("utf-8").splitlines()
    assert lines[0].startswith("policy,sla,resource,vm,samples,violation_ratio,reserved_ratio,model,skill")
    assert any(
        ",recent_peak," in line or ",network," in line for line in lines if line.startswith("tidegate")
    )


def test_an_unknown_ending_is_refused_before_any_work(trace, tmp_path, capsys):
    assert run(["replay", str(trace), *QUICK, "--per-vm", str(tmp_path / "vms.xls")]) == 2
    assert "must end in .csv or .parquet" in capsys.readouterr().err


def test_a_resource_without_capacity_is_said_to_be_left_out(trace, tmp_path, capsys):
    bare = tmp_path / "bare.parquet"
    pl.read_parquet(trace).drop("network_bytes_per_second_capacity", strict=False).write_parquet(bare)
    assert run(["replay", str(bare), *QUICK, "--policy", "static", "--resource", "cpu,network"]) == 0
    assert "left out, since the trace has no capacity for it: network" in capsys.readouterr().err


def test_an_unknown_model_is_refused(trace, capsys):
    assert run(["replay", str(trace), *QUICK, "--policy", "tidegate", "--model", "nobody"]) == 2
    assert "unknown model 'nobody'; choose from engine, engine_no_drift" in capsys.readouterr().err
