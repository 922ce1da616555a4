"""The generated pages of docs/reference say what the commands and policies are today."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tidegate.app.registry import POLICIES
from tidegate.lab.report.meaning import POLICIES as SENTENCES

ROOT = Path(__file__).resolve().parents[2]
WRITER = runpy.run_path(str(ROOT / "docs" / "write_reference.py"), run_name="write_reference")


def test_no_generated_page_is_stale() -> None:
    stale = WRITER["stale"]()
    assert not stale, f"run `make docs`: {', '.join(stale)} in docs/reference are not what the code says"


def test_a_stale_page_is_noticed(tmp_path: Path) -> None:
    for name, text in WRITER["pages"]().items():
        (tmp_path / name).write_text(text, "utf-8")
    assert WRITER["stale"](tmp_path) == []
    (tmp_path / "cli.md").write_text(WRITER["pages"]()["cli.md"].replace("--seed", "--sead"), "utf-8")
    assert WRITER["stale"](tmp_path) == ["cli.md"]


@pytest.mark.parametrize(("columns", "term"), [("20", "dumb"), ("300", "xterm-256color")])
def test_no_terminal_changes_a_page(columns: str, term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "COLUMNS": columns,
        "TERMINAL_WIDTH": columns,
        "TERM": term,
        "FORCE_COLOR": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert WRITER["stale"]() == []
    assert not any("\x1b" in text for text in WRITER["pages"]().values())


def test_every_policy_has_its_sentence() -> None:
    assert list(SENTENCES) == list(POLICIES)


def test_every_command_is_on_the_page() -> None:
    page = WRITER["pages"]()["cli.md"]
    commands = ("up", "replay", "score", "bench", "trace import", "trace describe", "trace generate")
    assert all(f"\n## tidegate {command}\n" in page for command in commands)
