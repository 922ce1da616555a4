"""`tidegate up` from outside: it ends by itself or when asked to, cleanly, and says what came of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tidegate.cli.main import run

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "scenarios" / "two_servers_one_card.toml"
COMMAND = [sys.executable, "-m", "tidegate.cli.main", "up", "--scenario", str(EXAMPLE)]
FAST = ["--policy", "calibrated_reactive"]
PATIENCE_SECONDS = 30
"""Far more than any of this takes on an idle machine."""


def environment() -> dict[str, str]:
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path), "COLUMNS": "100"}


def up(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_thirty_ticks_end_by_themselves_with_a_summary_and_figures(tmp_path):
    out, view = tmp_path / "up.json", tmp_path / "up.svg"
    done = up(*FAST, "--ticks", "30", "--speed", "0", "--json", str(out), "--svg", str(view))
    assert done.returncode == 0, done.stderr
    assert "Done after 30 ticks (2.5 simulated hours)" in done.stdout
    assert "Mon 2024-01-01 00:05 tick 1/8064" in done.stdout
    assert "\x1b" not in done.stdout
    figures = json.loads(out.read_text())
    assert figures["ticks"] == 30
    assert [row["prediction"] for row in figures["policies"]] == [True, True, False, False]
    assert {row["resource"] for row in figures["policies"]} == {"cpu", "memory"}
    assert view.read_text().startswith("<svg")


def test_the_same_seed_gives_the_same_lines():
    asked = [*FAST, "--only", "simulated", "--fresh", "--ticks", "30", "--speed", "0", "--seed", "5"]
    first, again = (up(*asked).stdout for _ in range(2))
    assert re.sub(r"in [\d.]+ s", "", first) == re.sub(r"in [\d.]+ s", "", again)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_ends_it_cleanly(number):
    process = started(*FAST, "--speed", "5")
    assert process.stdout is not None
    assert "tick 1/" in process.stdout.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, err
    assert f"Stopped by {number.name}" in out
    assert "Traceback" not in err


def test_stage_times_are_served_to_prometheus():
    process = started(*FAST, "--speed", "5", "--metrics", "0")
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stderr.readline().split()[-1]
        process.stdout.readline()
        with urllib.request.urlopen(address, timeout=PATIENCE_SECONDS) as page:
            assert 'tidegate_stage_seconds_count{stage="forecast"}' in page.read().decode()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--policy", "crystal_ball"], "unknown policy 'crystal_ball'"),
        (["--scenario", "gone.toml"], "cannot read scenario gone.toml"),
        (["--sla", "0.9"], "--sla 0.9 is outside"),
        (["--trace", "gone.parquet"], "gone.parquet"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(arguments, says, capsys):
    assert run(["up", "--scenario", str(EXAMPLE), *arguments]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--only", "machine", "--trace", "gone.parquet"],
        ["--only", "simulated", "--workload", "web*"],
        ["--only", "simulated", "--act"],
        ["--journal", "mine.db"],
    ],
)
def test_an_option_that_says_nothing_to_what_runs_is_refused(arguments, capsys):
    assert run(["up", *arguments]) == 2
    said = capsys.readouterr().err
    assert any(argument in said for argument in arguments if argument != "--only")
    assert said.count("\n") == 1
