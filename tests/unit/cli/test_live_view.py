"""The live view fits the terminal it is given, however wide, high or large the fleet."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tidegate.app.side_by_side import SideBySide
from tidegate.cli.live_view import Header, line, screen, summary
from tidegate.drivers.simulated.build import build_world, read_scenario
from tidegate.score.card_pressure import CardPressure

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "scenarios"
HEADER = Header(scenario="default scenario", policy="calibrated_reactive", sla="1 to 5 %", speed="10 ticks/s")


@pytest.fixture(scope="module", params=["two_servers_one_card", "shared_gpu_cards"])
def run(request):
    world = build_world(read_scenario(EXAMPLES / f"{request.param}.toml"))
    run = SideBySide(world, policy_name="calibrated_reactive", seed=1, scorer=CardPressure())
    for _ in range(15):
        run.tick()
    return run


def drawn(what, width, height=40):
    console = Console(file=StringIO(), width=width, height=height, record=True)
    console.print(what)
    return console.export_text().splitlines()


@pytest.mark.parametrize("size", [(140, 40), (100, 30), (80, 30)])
def test_a_screen_fits_and_shows_every_place(run, size):
    lines = drawn(screen(run, run.last, HEADER, {"forecast": 0.001, "plan": 0.002}, size), *size)
    assert len(lines) <= size[1]
    assert max(len(text.rstrip()) for text in lines) <= size[0]
    text = "\n".join(lines)
    assert all(name in text for name in run.world.fleet.places.names)
    assert "tick 15 of 8064" in text
    assert "reserved with" in text
    assert "ms per tick 3.0: forecast 1.0  plan 2.0" in text
    assert any(mover.reason.sentence[:20] in text for mover in run.movers)


def test_a_low_terminal_says_how_many_places_it_leaves_out(run):
    lines = drawn(screen(run, run.last, HEADER, {}, (80, 18)), 80, 18)
    left_out = len(run.world.fleet.places.names) - 3
    assert (f"and {left_out} more" in "\n".join(lines)) == (left_out > 0)


def test_a_plain_line_and_a_summary_say_both_figures(run):
    said = line(run, run.last)
    assert said.startswith("Mon 2024-01-01 01:15 tick 15/8064, cpu short ")
    assert said.count("without") == 2 * len(run.world.trace.resources)
    text = "\n".join(drawn(summary(run, why="Done", seconds=1.5), 80))
    assert "Done after 15 ticks (1.25 simulated hours) in 1.5 s." in text


def test_stages_are_told_in_the_order_of_the_loop_with_the_shadow_of_the_plan(run):
    stages = {"journal": 0.004, "shadow": 0.002, "plan": 0.001}
    text = "\n".join(drawn(screen(run, run.last, HEADER, stages, (140, 40)), 140))
    assert "ms per tick 7.0: plan 1.0  shadow 2.0  journal 4.0" in text
