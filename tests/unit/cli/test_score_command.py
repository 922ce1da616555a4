"""`tidegate score`: 0-100 per server with parts and a reason, for people and for machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tidegate.cli.main import run
from tidegate.sim.traces import generate_trace, write_trace

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "scenarios"
TWO_SERVERS = ("--scenario", str(EXAMPLES / "two_servers_one_card.toml"))
QUICK = ("--policy", "calibrated_reactive", "--ticks", "12")


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "tiny.parquet"
    write_trace(generate_trace(vms=6, days=0.25, step_seconds=900, seed=1), path)
    return path


def scored(path, *arguments):
    assert run(["score", *arguments, "--json", str(path)]) == 0
    return json.loads(path.read_text("utf-8"))


def test_the_scores_are_those_of_the_contract(tmp_path):
    scores = scored(tmp_path / "a.json", *TWO_SERVERS, *QUICK)
    assert scores["time"] == "2024-01-01T01:00:00Z"
    assert (scores["ticks"], scores["vms"], scores["policy"], scores["seed"], scores["sla"]) == (
        12, 16, "calibrated_reactive", 1, None,
    )  # fmt: skip
    servers = scores["servers"]
    assert {row["server"] for row in servers} == {"server-1", "server-2"}
    assert [row["score"] for row in servers] == sorted((row["score"] for row in servers), reverse=True)
    for row in servers:
        assert list(row) == ["server", "score", "parts", "because", "horizon_seconds", "level"]
        assert list(row["parts"]) == ["cpu", "memory"]
        assert row["score"] == min(100, max(row["parts"].values())) > 0
        assert row["because"].startswith("cpu: with probability 0.99 offloadable demand peaks at ")
        assert (row["horizon_seconds"], row["level"]) == (3600, 0.99)


def test_people_read_score_parts_and_reason_highest_first(capsys):
    assert run(["score", *TWO_SERVERS, *QUICK]) == 0
    captured = capsys.readouterr()
    assert "2024-01-01 01:00 UTC, after 1h" in captured.out
    heading = next(line for line in captured.out.splitlines() if "score" in line)
    assert heading.split() == ["server", "score", "cpu", "memory"]
    rows = [line.split() for line in captured.out.splitlines() if line.strip().startswith("server-")]
    table, reasons = rows[:2], rows[2:]
    assert int(table[0][1]) >= int(table[1][1])
    assert [f"{row[0]}:" for row in table] == [row[0] for row in reasons]
    assert captured.err == ""


def test_the_same_seed_gives_the_same_scores(tmp_path):
    first, again, other = (
        scored(tmp_path / "a.json", *TWO_SERVERS, *QUICK, "--seed", seed) for seed in ("4", "4", "5")
    )
    assert first == again
    assert first["servers"] != other["servers"]


def test_a_stricter_sla_reads_a_higher_quantile(tmp_path):
    strict, lax = (
        scored(tmp_path / "a.json", *TWO_SERVERS, *QUICK, "--sla", sla) for sla in ("0.001", "0.2")
    )
    assert {row["level"] for row in strict["servers"]} == {0.999}
    assert {row["level"] for row in lax["servers"]} == {0.8}
    highest = {row["server"]: row["score"] for row in strict["servers"]}
    assert all(highest[row["server"]] >= row["score"] for row in lax["servers"])


def test_a_trace_is_scored_to_its_end_on_the_default_scenario(trace, tmp_path):
    scores = scored(tmp_path / "a.json", str(trace), "--policy", "static")
    assert (scores["trace"], scores["vms"], scores["ticks"], scores["step_seconds"]) == ("tiny", 6, 24, 900)
    assert {row["server"] for row in scores["servers"]} == {f"server-{n}" for n in range(1, 5)}


def test_a_longer_step_is_taken_by_name(trace, tmp_path):
    scores = scored(tmp_path / "a.json", str(trace), "--policy", "static", "--step", "30m")
    assert (scores["ticks"], scores["step_seconds"]) == (12, 1800)


def test_a_part_that_no_card_has_is_null_and_scores_100(tmp_path):
    text = Path(TWO_SERVERS[1]).read_text("utf-8").replace("offloadable_cpu_ratio", "far_memory_ratio")
    scenario = tmp_path / "no_memory.toml"
    scenario.write_text(text.replace('memory_bytes = "16GiB"\nlink', "memory_bytes = 0\nlink"), "utf-8")
    scores = scored(tmp_path / "a.json", "--scenario", str(scenario), *QUICK)
    asking = [row for row in scores["servers"] if row["parts"]["memory"] is None]
    assert asking
    assert all(row["score"] == 100 for row in asking)


def without_cards(folder):
    text = Path(TWO_SERVERS[1]).read_text("utf-8")
    start = text.index("[[cards]]")
    path = folder / "no_cards.toml"
    path.write_text(text[:start] + text[text.index("[[workloads]]") :], "utf-8")
    return ["--scenario", str(path)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (without_cards, "add a [[cards]] table whose 'serves' names servers"),
        ([*TWO_SERVERS, "--policy", "crystal_ball"], "unknown policy 'crystal_ball'"),
        ([*TWO_SERVERS, "--sla", "0.7"], "outside (0, 0.5]"),
        ([*TWO_SERVERS, "--step", "5m"], "leave --step out"),
        (["nowhere.parquet"], "nowhere.parquet"),
        ([*TWO_SERVERS, "--ticks", "0"], "--ticks"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(arguments, says, tmp_path, capsys):
    given = arguments(tmp_path) if callable(arguments) else arguments
    assert run(["score", *given]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert len(err.splitlines()) == 1
