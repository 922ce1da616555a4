"""`tidegate bench soak`: a soak of one's own traces, each figure beside its limit."""

from __future__ import annotations

import json

from tidegate.cli.main import run
from tidegate.lab.trace_files import make_trace


def test_a_soak_of_traces_says_what_happened_and_that_it_held(tmp_path, capsys):
    month = tmp_path / "month.parquet"
    make_trace(month, vms=4, days=4, step_seconds=3600, seed=2)
    figures = tmp_path / "soak.json"
    arguments = ["--trace", str(month), "--trace", str(month), "--seed", "3", "--json", str(figures)]
    assert run(["bench", "soak", *arguments]) == 0
    made = json.loads(figures.read_text("utf-8"))
    rows = {row["name"]: row for row in made["rows"]}
    assert (made["area"], made["notes"]) == ("soak", [])
    assert rows["problems"]["holds"]
    assert rows["state_bytes_per_series_end"]["holds"]
    assert rows["clock_jumps"]["value"] == 8
    assert rows["samples"]["value"] > 2 * 3 * 96
    assert "violation_ratio" in capsys.readouterr().out


def test_an_area_nobody_knows_names_the_soak_among_the_known(capsys):
    assert run(["bench", "bath"]) == 2
    said = capsys.readouterr().err
    assert "choose from device, " in said
    assert " soak, " in said
