"""Commands: each loads what it needs, and no other's."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.main import get_command

from tidegate.cli.commands import COMMANDS, app

HEAVY = ("jax", "polars", "plotly", "statsforecast", "lightgbm", "prophet", "sqlalchemy", "tidegate.lab")
LOADED = (
    "import sys\n"
    "from tidegate.cli.main import run\n"
    "code = run(sys.argv[1:])\n"
    "sys.stderr.write(' '.join(sys.modules))\n"
    "sys.exit(code)\n"
)


def loaded(*words):
    """The modules that a command has imported at its end."""
    done = subprocess.run([sys.executable, "-c", LOADED, *words], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("name", ["agent", "card", "device", "release"])
def test_a_command_loads_no_other_command_nor_what_only_those_need(name):
    modules = loaded(name, "--help")
    assert modules.isdisjoint(HEAVY)
    assert modules.isdisjoint({"tidegate.cli.train", "tidegate.cli.replay", "tidegate.sim.scenario"})


def test_the_help_lists_every_command_with_its_sentence():
    done = subprocess.run(
        [sys.executable, "-m", "tidegate.cli.main", "--help"], capture_output=True, text=True, check=True
    )
    for name in COMMANDS:
        line = next(line for line in done.stdout.splitlines() if line.startswith(f"│ {name} "))
        assert len(line.strip(" │").split()) > 3, line


def test_every_command_in_the_table_is_there():
    group = get_command(app)
    for name in COMMANDS:
        assert group.commands[name].name == name
    assert group.commands.get("nobody") is None
