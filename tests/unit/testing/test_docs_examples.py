"""The examples of docs/extend/add-a-... run as they stand, and are found under the names they declare."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tidegate.app import registry
from tidegate.app.registry import Settings
from tidegate.app.wiring import simulated
from tidegate.drivers.simulated.build import build_world, read_scenario
from tidegate.model.resources import Resource

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted((ROOT / "docs" / "extend").glob("add-a-*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHECKS = {
    "add-a-forecaster": "check_forecaster(",
    "add-a-policy": "check_planner(",
    "add-a-driver": "check_driver(",
}


def blocks(text, language):
    """The blocks of a language, each with the number of lines before it."""
    found = ((block, text[: block.start(2)].count("\n")) for block in BLOCK.finditer(text))
    return [(block[2], before) for block, before in found if block[1] == language]


def python_of(page):
    """The page's Python, on the lines where it stands, so that a traceback points into the page."""
    lines = [""] * (page.read_text("utf-8").count("\n") + 1)
    for code, before in blocks(page.read_text("utf-8"), "python"):
        lines[before : before + code.count("\n")] = code.splitlines()
    return "\n".join(lines)


def executed(page):
    names = {"__name__": page.stem}
    exec(compile(python_of(page), str(page), "exec"), names)
    return names


def entry_points_of(page):
    """Group, name and object of every entry point the page declares."""
    stanza = "".join(code for code, _ in blocks(page.read_text("utf-8"), "toml"))
    groups = tomllib.loads(stanza)["project"]["entry-points"]
    return [(group, name, value) for group, of in groups.items() for name, value in of.items()]


def test_there_is_a_page_for_each_kind():
    assert {page.stem for page in PAGES} == set(CHECKS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_eight_steps_and_its_check(page):
    text = page.read_text("utf-8")
    assert re.findall(r"^## (\d+)\. ", text, re.MULTILINE) == [str(number) for number in range(1, 9)]
    assert CHECKS[page.stem] in python_of(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_an_example_runs_and_declares_what_it_defines(page):
    names = executed(page)
    ((_, _, value),) = entry_points_of(page)
    assert callable(names[value.partition(":")[2]])


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.stem != "add-a-driver"], ids=lambda p: p.stem
)
def test_a_policy_is_found_by_its_entry_point_and_turns_the_loop(page, monkeypatch):
    names = executed(page)
    ((kind, name, value),) = entry_points_of(page)
    declared = SimpleNamespace(name=name, load=lambda: names[value.partition(":")[2]])
    monkeypatch.setattr(registry, "entry_points", lambda *, group: [declared] if group == kind else [])
    settings = Settings(resources=(Resource.CPU, Resource.MEMORY), step_seconds=300)
    assert len(registry.policy(name)(settings)) == 2
    world = build_world(read_scenario(ROOT / "examples" / "scenarios" / "two_servers_one_card.toml"))
    loop = simulated(world, world.start(), policy_name=name)
    tick = [loop.tick() for _ in range(12)][-1]
    assert tick.snapshot.held.sum() < np.nansum(tick.snapshot.capacity)


def test_the_forecaster_can_be_saved():
    assert {"state", "restore"} <= vars(
        executed(ROOT / "docs" / "extend" / "add-a-forecaster.md")["FadingPeak"]
    ).keys()


def test_the_driver_s_loop_saves_something():
    names = executed(ROOT / "docs" / "extend" / "add-a-driver.md")
    snapshot = names["tick"].snapshot
    assert names["tick"].number == 119
    assert (snapshot.held <= snapshot.capacity).all()
    assert snapshot.held.sum() < 0.9 * snapshot.capacity.sum()


def test_a_broken_example_fails(tmp_path):
    page = tmp_path / "broken.md"
    page.write_text("# A\n\n```python\nx = 1\n```\n\ntext\n\n```python\nassert x == 2\n```\n", "utf-8")
    with pytest.raises(AssertionError) as caught:
        executed(page)
    assert caught.traceback[-1].lineno + 1 == 10
