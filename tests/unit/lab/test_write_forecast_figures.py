"""The page's table of how right forecasts are comes from a benchmark's file, and from nothing else."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "reference" / "forecasting.md"
SCRIPT = runpy.run_path(str(ROOT / "docs" / "write_forecast_figures.py"))
MACHINE = {
    "cores": "2",
    "processor": "x86_64",
    "python": "3.11.9",
    "data": "little",
    "data_vms": "5",
    "data_days": "9",
    "data_step_seconds": "300",
}


def benchmark(**values):
    figures = dict.fromkeys(SCRIPT["SHOWN"], 0.5) | values
    rows = [
        {"name": name, "value": value, "limit": 1.0, "direction": "max"} for name, value in figures.items()
    ]
    notes = ["best member at cpu.1h: lstm", "left out: model 'mstl' needs more"]
    return {"rows": rows, "machine": MACHINE, "seed": 3, "notes": notes}


def test_every_figure_stands_in_the_table_beside_its_limit():
    made = SCRIPT["table"](benchmark(coverage_error_p95=0.0123))
    assert "| the same of 95 % | 1.23 % |  | at most 100.00 % |" in made
    assert "| WQL of `engine` over that of the best member | 0.500 |  | at most 1.000 |" in made
    assert made.count("\n|") == len(SCRIPT["SHOWN"]) + 2


def test_each_place_has_its_interval_and_who_was_best():
    name = "engine_wql_over_best_member"
    places = {
        f"{name}.cpu.1h": 0.97,
        f"{name}_low.cpu.1h": 0.95,
        f"{name}_high.cpu.1h": 0.99,
        f"{name}.memory.24h": 0.98,
    }
    made = SCRIPT["table"](benchmark(**places))
    assert "| - CPU, 1h ahead; best was `lstm` | 0.970 | 0.950-0.990 |  |" in made
    assert "| - memory, 24h ahead | 0.980 |  |  |" in made


def test_machine_data_seed_and_what_was_left_out_stand_below():
    made = SCRIPT["table"](benchmark())
    assert "2 cores (x86_64), Python 3.11.9, seed 3; little: 5 VMs, 9 days at 300 s." in made
    assert "Left out: model 'mstl' needs more." in made


def test_only_its_own_table_is_replaced():
    page = PAGE.read_text("utf-8")
    made = SCRIPT["rewritten"](page, benchmark())
    assert made.replace(SCRIPT["table"](benchmark()), "") != made
    outside = re.compile(r"<!-- table: forecast -->.*?<!-- end table -->", re.DOTALL)
    assert outside.sub("", made) == outside.sub("", page)
    assert SCRIPT["rewritten"](made, benchmark()) == made


def test_a_benchmark_of_some_parts_is_refused_by_what_it_lacks(tmp_path, capsys):
    made = benchmark()
    made["rows"] = [row for row in made["rows"] if row["name"] != "tick_seconds_1m"]
    with pytest.raises(SCRIPT["FiguresError"], match="tick_seconds_1m"):
        SCRIPT["table"](made)
    made = benchmark()
    made["rows"] = [row for row in made["rows"] if row["name"] != "engine_wql_over_fracast"]
    assert "fracast" not in SCRIPT["table"](made)
    (tmp_path / "forecast.json").write_text("{}")
    assert SCRIPT["main"]([str(tmp_path / "forecast.json")]) == 2
    assert "name one file of tidegate bench forecast --json" in capsys.readouterr().err


def test_the_page_s_command_makes_the_file_its_table_is_written_from():
    text = PAGE.read_text("utf-8")
    table = text[text.index("<!-- table: forecast -->") :]
    beside = table[table.index("<!-- end table -->") :].split("```console")[1].split("```")[0]
    (made,) = re.findall(r"tidegate bench forecast --json (\S+)", beside)
    assert re.findall(r"python docs/write_forecast_figures\.py (\S+)", beside) == [made]
