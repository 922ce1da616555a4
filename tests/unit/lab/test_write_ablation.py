"""The page of what each part earns is made from replays, and names what they are of."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from tidegate.app.registry import FORECASTERS

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = runpy.run_path(str(ROOT / "docs" / "write_ablation.py"), run_name="write_ablation")
ABOUT = {"trace": "t", "vms": 2, "ticks": 576, "step_seconds": 300, "warmup_seconds": 0, "seed": 0}


def row(name, reserved, resource="cpu", sla=0.01):
    return {
        "name": name, "resource": resource, "sla": sla, "violation_ratio": 0.0091,
        "vms_within_sla_ratio": 0.9959, "reserved_ratio": reserved, "changes_per_vm_day_p99": 20.6,
    }  # fmt: skip


@pytest.fixture
def replayed(tmp_path):
    def write(name, model, *rows, **about):
        path = tmp_path / name
        path.write_text(json.dumps({**ABOUT, "model": model, **about, "policies": rows}), "utf-8")
        return path

    return write


def test_each_part_has_a_row_beside_the_rule(replayed):
    paths = [
        replayed("b.json", "engine_plain", row("calibrated_reactive", 0.25), row("tidegate", 0.24)),
        replayed("a.json", "engine", row("calibrated_reactive", 0.25), row("tidegate", 0.2)),
    ]
    page = SCRIPT["page"](*SCRIPT["read_rows"](paths))
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows[0] == "| `engine` | all of it | 20.0 % (-20.0 %) | 0.910 % | 99.6 % | 21 |"
    assert rows[1].startswith("| `engine_plain` | no network")
    assert "24.0 % (-4.0 %)" in rows[1]
    assert "on t (2 VMs, 2 days, seed 0)" in page
    assert "tidegate replay TRACE" in page


def test_a_replay_of_something_else_or_without_the_rule_is_refused(replayed, capsys):
    good = replayed("a.json", "engine", row("calibrated_reactive", 0.25), row("tidegate", 0.2))
    other = replayed("b.json", "engine", row("calibrated_reactive", 0.25), row("tidegate", 0.2), seed=1)
    alone = replayed("c.json", "engine", row("tidegate", 0.2))
    assert SCRIPT["main"]([str(good), str(other)]) == 2
    assert "is another replay" in capsys.readouterr().err
    assert SCRIPT["main"]([str(alone)]) == 2
    assert "make it again" in capsys.readouterr().err


def test_every_part_is_a_forecaster_one_can_name():
    assert set(SCRIPT["PARTS"]) <= set(FORECASTERS)
