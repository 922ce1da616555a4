"""A card leaves the fleet: who was on it waits and says so, and is placed anew once a person fences it."""

from __future__ import annotations

import pytest

from tests.unit.agents.fleet.test_cell import World, spec
from tidegate.agents.fleet.cell import Cell
from tidegate.agents.fleet.departed import waits_for
from tidegate.model.application import ApplicationState
from tidegate.model.errors import InputError
from tidegate.plan.cards import CardPlanner


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, a=4.0, b=4.0)
    yield made
    made.store.close()


def left(world, name, *, fenced=()):
    """Start the manager again without a card."""
    cards = {each: card for each, card in world.cards.items() if each != name}
    world.cell = Cell(
        cards=cards,
        store=world.store,
        now_seconds=lambda: world.now,
        planner=CardPlanner(dwell_seconds=30),
        fenced=frozenset(fenced),
    )


def why_not(world, name):
    last = world.cell.last
    return waits_for(world.store.placed()[name], world.cell.cards, last and last.plan)


def asked_and_not_answered(world):
    """An application that one card was asked to take in, and took in without anybody hearing so."""
    world.turn()
    world.cell.admit("app", spec(1.0))
    create, card = world.cards["a"].create, world.cards["a"]

    async def lost(name, wanted, *, epoch):
        await create(name, wanted, epoch=epoch)
        card.silent = True
        card.reachable()

    for each in world.cards.values():
        each.create = lost if each is card else each.create
    world.cards["b"].draining = True  # so that card a is the one that is asked
    world.turn()
    world.cards["b"].draining = False
    return world.store.placed()["app"]


def test_one_that_was_asked_of_a_card_that_left_says_what_it_waits_for(world):
    one = asked_and_not_answered(world)
    assert (one.asked, one.card) == ("a", "")
    left(world, "a")
    world.turn(5)
    assert world.cards["b"].apps == {}
    why = why_not(world, "app")
    assert "card 'a' was asked to take it in and is no more among the fleet's" in why
    assert "--fenced a" in why


def test_it_is_placed_anew_under_a_new_epoch_once_that_card_is_fenced(world):
    before = asked_and_not_answered(world)
    left(world, "a", fenced=["a"])
    world.cards["a"].apps.clear()  # as a person says
    tick = world.turn()
    world.turn()
    assert world.cards["b"].apps["app"].state is ApplicationState.RUNNING
    assert world.cards["b"].apps["app"].epoch > before.epoch
    assert any("a is fenced: placed anew" in event.sentence for event in tick.events)


def test_what_ran_on_a_card_that_left_waits_likewise_and_what_nobody_gave_is_forgotten(world):
    world.put("a", "by-hand", 1.0)
    world.turn()
    world.cell.admit("given", spec(1.0))
    world.cards["b"].draining = True
    world.turn(2)
    world.cards["b"].draining = False
    assert set(world.cards["a"].apps) == {"by-hand", "given"}
    left(world, "a")
    world.turn(3)
    assert "has it and is no more" in why_not(world, "given")
    assert world.cards["b"].apps == {}
    left(world, "a", fenced=["a"])
    world.cards["a"].apps.clear()
    world.turn(2)
    assert list(world.store.placed()) == ["given"]
    assert list(world.cards["b"].apps) == ["given"]


def test_who_waits_for_other_things_says_so_too(world):
    world.turn()
    world.cell.admit("app", spec(3.9))
    assert why_not(world, "app") == "it is placed at the next turn"
    for card in world.cards.values():
        card.cores = 1.0
    world.turn()
    assert "lacks 2.9 cores of cpu" in why_not(world, "app")


def test_a_card_can_t_be_fenced_and_asked_at_once(world):
    with pytest.raises(InputError, match="--fenced"):
        left(world, "b", fenced=["a"])
