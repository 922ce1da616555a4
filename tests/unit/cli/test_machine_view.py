"""The view of this machine fits its space, whatever there is to see."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from tidegate.app.machine import MachineOptions, running
from tidegate.cli.machine_view import machine_line, machine_screen, machine_summary
from tidegate.journal.sql.opening import location


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """This very machine after two looks at it, watched only."""
    folder = tmp_path_factory.mktemp("machine")
    options = MachineOptions(policy="calibrated_reactive", ledger=folder / "limits.json")
    with running(location(str(folder / "machine.db")), options) as made:
        assert "no tick was made" in "\n".join(drawn(machine_summary(made), (80, 10)))
        for _ in range(2):
            made.tick()
        yield made


def drawn(what, size):
    console = Console(file=StringIO(), width=size[0], height=size[1], record=True)
    console.print(what)
    return console.export_text().splitlines()


@pytest.mark.parametrize("columns", [60, 72, 80, 100, 124, 160, 200])
@pytest.mark.parametrize("rows", [12, 24, 50])
def test_a_screen_fits_its_space_and_says_what_it_is_of(machine, columns, rows):
    lines = drawn(
        machine_screen(machine, machine.last, {"forecast": 0.001}, (columns, rows)), (columns, rows)
    )
    assert max(len(line.rstrip()) for line in lines) <= columns
    assert len(lines) <= rows
    text = "\n".join(lines)
    assert text.startswith("This machine")
    assert "tick 2" in text
    assert "because" in text or columns < 80
    assert "ms per tick" in text


def test_a_pause_is_seen_at_once(machine):
    size = (120, 20)
    controls = machine._controls
    assert "PAUSED" not in "\n".join(drawn(machine_screen(machine, machine.last, {}, size), size))
    controls.pause(now_seconds=1)
    assert "PAUSED" in "\n".join(drawn(machine_screen(machine, machine.last, {}, size), size))
    controls.resume(now_seconds=2)


def test_a_line_and_a_summary_say_what_was_seen(machine):
    said = machine_line(machine.last)
    assert "this machine, tick 2, " in said
    assert said.endswith("0 actions")
    assert "This machine: 2 ticks of 1 s" in "\n".join(drawn(machine_summary(machine), (120, 10)))
