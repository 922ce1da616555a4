"""The README's table is made from replays, and of nothing else."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = runpy.run_path(str(ROOT / "docs" / "write_figures.py"), run_name="write_figures")
README = "# A\n\nbefore\n\n<!-- table: bitbrains -->\nold\n<!-- end table -->\n\nafter\n"
ABOUT = {"trace": "t", "vms": 2, "ticks": 9, "step_seconds": 300, "warmup_seconds": 0, "seed": 0}


def row(name, *, resource="cpu", sla=0.01, reserved=0.25):
    return {
        "name": name, "resource": resource, "sla": sla, "violation_ratio": 0.0091,
        "vms_within_sla_ratio": 0.9959, "unmet_ratio": 0.006, "reserved_ratio": reserved,
        "changes_per_vm_day_p99": 20.6, "seconds": 1.0,
    }  # fmt: skip


@pytest.fixture
def replayed(tmp_path):
    def write(name, *rows, **about):
        path = tmp_path / name
        path.write_text(json.dumps({**ABOUT, **about, "policies": rows}), "utf-8")
        return path

    return write


def written(*paths):
    return SCRIPT["rewritten"](README, SCRIPT["read_figures"](paths))


def test_one_table_per_resource_with_rows_in_order_and_the_saving(replayed):
    first = replayed(
        "a.json", row("oracle", reserved=0.1), row("tidegate", reserved=0.2275), row("calibrated_reactive"),
        row("vpa", resource="memory"), row("static"),
    )  # fmt: skip
    second = replayed(
        "b.json", row("tidegate", sla=0.001, reserved=0.3), row("calibrated_reactive", sla=0.001)
    )
    text = written(first, second)
    assert text.startswith("# A\n\nbefore\n\n<!-- table: bitbrains -->\n")
    assert text.endswith("\n<!-- end table -->\n\nafter\n")
    assert "old" not in text
    assert [line for line in text.splitlines() if line.startswith("**")] == ["**CPU**", "**Memory**"]
    rows = [line for line in text.splitlines() if line.startswith(("| `", "| **`"))]
    assert rows == [
        "| `calibrated_reactive` | 1 % | 25.0 % | 0.91 % | 99.6 % | 0.60 % | 21 |",
        "| **`tidegate`** | **1 %** | **22.8 % (-9.0 %)** | **0.91 %** | **99.6 %** | **0.60 %** | **21** |",
        "| `oracle` | 1 % | 10.0 % | 0.91 % | 99.6 % | 0.60 % | 21 |",
        "| `calibrated_reactive` | 0.1 % | 25.0 % | 0.91 % | 99.6 % | 0.60 % | 21 |",
        (
            "| **`tidegate`** | **0.1 %** | **30.0 % (+20.0 %)** "
            "| **0.91 %** | **99.6 %** | **0.60 %** | **21** |"
        ),
        "| `vpa` | 1 % | 25.0 % | 0.91 % | 99.6 % | 0.60 % | 21 |",
    ]


def test_writing_it_twice_changes_nothing(replayed):
    path = replayed("a.json", row("vpa"))
    once = written(path)
    assert SCRIPT["rewritten"](once, SCRIPT["read_figures"]([path])) == once


def test_figures_that_do_not_belong_together_are_refused(replayed, tmp_path):
    error = SCRIPT["FiguresError"]
    first = replayed("a.json", row("vpa"))
    with pytest.raises(error, match=r"another replay than .*: its vms, seed differ"):
        written(first, replayed("b.json", row("oracle"), vms=3, seed=1))
    with pytest.raises(error, match=r"two figures of vpa on cpu at 0\.01"):
        written(first, replayed("b.json", row("vpa")))
    (tmp_path / "c.json").write_text("[]", "utf-8")
    with pytest.raises(error, match=r"c\.json is no file of tidegate replay --json"):
        written(tmp_path / "c.json")
    with pytest.raises(error, match="put it back"):
        SCRIPT["rewritten"]("# A\n", SCRIPT["read_figures"]([first]))


def test_the_readme_s_commands_make_the_files_that_its_table_is_written_from():
    text = (ROOT / "README.md").read_text("utf-8")
    SCRIPT["rewritten"](text, [])
    table = text[text.index("<!-- table: bitbrains -->") :]
    beside = table[table.index("<!-- end table -->") :].split("```console")[1].split("```")[0]
    made = re.findall(r"tidegate replay .*--json (\S+)", beside)
    (call,) = re.findall(r"python docs/write_figures\.py (.*)", beside)
    assert call.split() == made
    assert f"--policy {','.join(SCRIPT['ORDER'])}" in beside
