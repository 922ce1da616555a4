"""People say whom the fleet manager may move: a pause stops moves and budgets, and the wish is told once."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.unit.agents.fleet.test_cell import World, spec
from tidegate.agents.fleet.program import FleetOptions, run_fleet
from tidegate.cli.main import run
from tidegate.model.autonomy import Autonomy, Level
from tidegate.plan.consent import Consent


class Told:
    """What people said; it may be changed."""

    def __init__(self):
        self.now = Autonomy(default=Level.AUTO)

    def __call__(self):
        return self.now


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def world(tmp_path, told):
    made = World(tmp_path, a=4.0, b=4.0)
    made.cell.consent = Consent(told)
    yield made
    made.store.close()


def crowded(world):
    for name in ("one", "two", "three"):
        world.put("a", name, 1.9)
    world.turn()
    world.now += 100


def test_a_pause_stops_moves_and_budgets_and_what_is_wished_is_told_once(world, told):
    crowded(world)
    told.now = Autonomy(default=Level.AUTO, paused=True)
    before = dict(world.cards["a"].budgets)
    world.used["one"] = 3.9
    ticks = [world.turn() for _ in range(4)]
    assert world.cards["b"].apps == {}
    assert world.cards["a"].budgets == before
    assert all(tick.plan.moves == () and tick.wished for tick in ticks)
    said = [event.sentence for tick in ticks for event in tick.events if "not done" in event.sentence]
    assert len(said) == len({move.application for move in ticks[0].wished})
    assert "would move from a to b, not done: paused" in said[0]
    told.now = Autonomy(default=Level.AUTO)
    world.turn(3)
    assert world.cards["b"].apps


def test_a_rule_holds_one_and_another_goes_in_its_place(world, told):
    crowded(world)
    told.now = Autonomy(default=Level.AUTO, rules=(("*", Level.RECOMMEND), ("two", Level.AUTO)))
    world.turn(3)
    assert list(world.cards["b"].apps) == ["two"]


def test_a_drained_card_is_not_emptied_while_paused(world, told):
    world.put("a", "one", 1.0)
    world.turn()
    told.now = Autonomy(default=Level.AUTO, paused=True)
    world.cards["a"].draining = True
    tick = world.turn(3)
    assert list(world.cards["a"].apps) == ["one"]
    assert [move.card_to for move in tick.wished] == ["b"]


def test_who_is_given_to_the_fleet_is_placed_also_while_paused(world, told):
    world.turn()
    told.now = Autonomy(default=Level.OBSERVE, paused=True)
    world.cell.admit("new", spec(1.0))
    world.turn(2)
    assert "new" in {*world.cards["a"].apps, *world.cards["b"].apps}


def test_the_commands_reach_a_fleet_manager_s_own_journal(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = tmp_path / "tidegate" / "fleet"
    options = FleetOptions(cards={}, folder=folder, listen=f"unix:{tmp_path}/fleet.sock", every_seconds=0)
    paused = []

    def during(_tick):
        assert run(["pause"]) == 0
        paused.append(json.loads(shown(tmp_path))["journals"][0]["paused"])

    async def scenario():
        await run_fleet(options, listening=lambda _: None, seen=lambda _: None, ticks=1)

    asyncio.run(scenario())
    during(None)
    assert run(["autonomy", "set", "db*", "observe"]) == 0
    assert "The fleet" in capsys.readouterr().out
    assert paused == [True]
    asyncio.run(scenario())  # and it opens again what was written beside it


def shown(tmp_path):
    path = tmp_path / "now.json"
    assert run(["autonomy", "--json", str(path)]) == 0
    return path.read_text("utf-8")
