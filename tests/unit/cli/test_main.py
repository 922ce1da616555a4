"""The entry point: one sentence on one line, whatever goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tidegate.cli.main import run
from tidegate.sim.traces import generate_trace, write_trace

WITHOUT_EXTRA = (
    "import sys; [sys.modules.__setitem__(name, None) for name in ('polars', 'plotly')];"
    "from tidegate.cli.main import main; main()"
)


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "x.parquet"
    write_trace(generate_trace(vms=3, days=0.5, step_seconds=900, seed=1), path)
    return path


def program(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "tidegate.cli.main", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        **options,
    )


def test_a_full_output_is_one_sentence(trace):
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = program("trace", "describe", trace, stdout=full)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_a_reader_that_leaves_is_no_traceback(trace):
    reader, writer = os.pipe()
    os.close(reader)
    done = program("trace", "describe", trace, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_missing_extra_is_named():
    command = [sys.executable, "-c", WITHOUT_EXTRA]
    done = subprocess.run([*command, "replay", "x.parquet"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "tidegate: this needs the replay extra: pip install 'tidegate[replay]'\n"
    assert subprocess.run([*command, "--help"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("seconds", [0.5, 1.5])
def test_ctrl_c_is_one_sentence_and_leaves_nothing(seconds, tmp_path):
    path = tmp_path / "long.parquet"
    write_trace(generate_trace(vms=150, days=6, step_seconds=300, seed=1), path)
    command = ["replay", path, "--warmup", "1d", "--processes", "2", "--json", tmp_path / "x.json"]
    with subprocess.Popen(
        [sys.executable, "-m", "tidegate.cli.main", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as started:
        time.sleep(seconds)
        os.killpg(started.pid, signal.SIGINT)
        _, said = started.communicate(timeout=30)
    assert started.returncode == 130
    assert said == "tidegate: interrupted; nothing was left half-written\n"
    assert [file.name for file in tmp_path.iterdir()] == ["long.parquet"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--policy", ""], "names no policy"),
        (["--policy", ",,"], "names no policy"),
        (["--seed", "-1"], "--seed"),
        (["--seed", "99999999999999999999"], "--seed"),
        (["--processes", "0"], "--processes"),
        (["--lead", "100001"], "--lead"),
        (["--step", "99999w"], "hundred years"),
    ],
)
def test_numbers_and_names_out_of_range_are_refused(words, said, trace, capsys):
    assert run(["replay", str(trace), *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_fleet_can_be_fed_cpu_alone_and_not_memory_alone(trace, tmp_path, capsys):
    import polars as pl

    rows = pl.read_parquet(trace)
    for kept in ("cpu", "memory"):
        path = tmp_path / f"{kept}.parquet"
        rows.select("time", "vm", pl.col(f"^{kept}_.*$")).write_parquet(path)
        code = run(["up", "--trace", str(path), "--speed", "0", "--ticks", "2"])
        assert code == (0 if kept == "cpu" else 2)
    assert "needs CPU" in capsys.readouterr().err


def test_a_fleet_that_cannot_be_built_names_the_scenario(tmp_path, capsys):
    path = tmp_path / "small.toml"
    path.write_text(
        '[[servers]]\nname = "s"\ncores = 1\nmemory_bytes = "1GiB"\n'
        '[[workloads]]\nname = "w"\ncores = 9\nmemory_bytes = "1GiB"\n'
    )
    assert run(["up", "--scenario", str(path), "--ticks", "1"]) == 2
    assert str(path) in capsys.readouterr().err
