"""The README's table of what living costs comes from a benchmark's file, and from nothing else."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = runpy.run_path(str(ROOT / "docs" / "write_live_figures.py"))


def benchmark(**values):
    rows = [
        {"name": name, "value": values.get(name, 0.5), "limit": 1.0, "direction": "max"}
        for name in SCRIPT["SHOWN"]
    ]
    return {"rows": rows}


def test_every_figure_stands_in_the_table_beside_its_limit():
    made = SCRIPT["table"](benchmark(explain_seconds_p99=0.0731))
    assert "| `explain` on that day, p99, ms | 73 | at most 1000 |" in made
    assert "| journal's share of a tick, 100 000 VMs x 3 resources | 50.0 % | at most 100.0 % |" in made
    assert made.count("\n|") == len(SCRIPT["SHOWN"]) + 2


def test_only_its_own_table_is_replaced():
    readme = (ROOT / "README.md").read_text("utf-8")
    made = SCRIPT["rewritten"](readme, benchmark())
    assert made.replace(SCRIPT["table"](benchmark()), "") != made
    bitbrains = re.compile(r"<!-- table: bitbrains -->.*?<!-- end table -->", re.DOTALL)
    assert bitbrains.findall(made) == bitbrains.findall(readme)


def test_a_benchmark_without_a_real_load_is_refused_by_name(tmp_path, capsys):
    made = benchmark()
    made["rows"] = [row for row in made["rows"] if row["name"] != "throttled_time_saved_ratio"]
    with pytest.raises(SCRIPT["FiguresError"], match="throttled_time_saved_ratio"):
        SCRIPT["table"](made)
    (tmp_path / "live.json").write_text("{}")
    assert SCRIPT["main"]([str(tmp_path / "live.json")]) == 2
    assert "name one file of tidegate bench live --json" in capsys.readouterr().err


def test_the_readme_s_command_makes_the_file_its_table_is_written_from():
    text = (ROOT / "README.md").read_text("utf-8")
    table = text[text.index("<!-- table: live -->") :]
    beside = table[table.index("<!-- end table -->") :].split("```console")[1].split("```")[0]
    (made,) = re.findall(r"tidegate bench live --json (\S+)", beside)
    assert re.findall(r"python docs/write_live_figures\.py (\S+)", beside) == [made]
