"""The generated messages are those of the protocol as it stands."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_generated_code_is_what_the_protocol_says_today(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    generate = runpy.run_path(str(ROOT / "proto/generate.py"), run_name="generate")
    assert generate["main"](tmp_path) == 0
    made = {path.relative_to(tmp_path): path.read_text("utf-8") for path in tmp_path.rglob("*.py*")}
    assert len(made) == 4 * len(list((ROOT / "proto").rglob("*.proto")))
    held = ROOT / "src/tidegate/wire"
    stale = [str(path) for path, text in made.items() if (held / path).read_text("utf-8") != text]
    assert not stale, f"run `make proto`: {', '.join(stale)} are not what proto/ says"
