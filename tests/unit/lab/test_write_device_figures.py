"""The page of what cards are worth comes from the benchmarks' files, and from nothing else."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = runpy.run_path(str(ROOT / "docs" / "write_device_figures.py"))


def benchmark(area, **values):
    rows = [
        {"name": name, "value": values.get(name, 0.5), "limit": 1.0, "direction": "max", "holds": True}
        for name in SCRIPT["AREAS"][area][1]
    ]
    return {"area": area, "seed": 3, "machine": {"cores": "2"}, "rows": rows}


def test_every_figure_stands_in_its_table_beside_its_limit():
    made = SCRIPT["page"]([benchmark("migration"), benchmark("device", device_resident_bytes=123e6)])
    assert "| memory of a device with 1 000 workloads on five servers, MB | 123 | at most 0 | yes |" in made
    assert "`device`, seed 3; cores 2." in made
    assert made.count("\n|") == len(SCRIPT["DEVICE"]) + len(SCRIPT["MIGRATION"]) + 4
    assert "tidegate bench migration --json migration.json" in made


def test_what_is_missing_is_named(tmp_path, capsys):
    short = benchmark("device")
    short["rows"] = short["rows"][1:]
    with pytest.raises(SCRIPT["FiguresError"], match="enforce_ms_p99"):
        SCRIPT["page"]([short, benchmark("migration")])
    (tmp_path / "device.json").write_text(json.dumps(benchmark("device")))
    assert SCRIPT["main"]([str(tmp_path / "device.json")]) == 2
    assert "no figures of migration" in capsys.readouterr().err
