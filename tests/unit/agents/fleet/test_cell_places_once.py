"""What a fleet manager was asked for is done once, whoever is silent and whenever it is started again."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.unit.agents.fleet.test_cell import MemoryCard, World, spec
from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Because, refusal


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, a=4.0, b=4.0, c=4.0)
    yield made
    made.store.close()


def test_asked_again_after_an_answer_that_was_lost_it_is_the_same_application(world):
    world.turn()
    world.cell.admit("app", spec(), "first")
    world.started()
    assert world.cell.admit("app", spec(), "first").name == "app"
    with pytest.raises(TidegateError, match="already"):
        world.cell.admit("app", spec(), "second")


def test_a_card_that_knows_a_later_epoch_is_asked_with_one_above_it(world):
    world.turn()
    for card in world.cards.values():
        card.closed["new"] = 30
    world.cell.admit("new", spec())
    world.turn(2)
    assert "new" in world.on()
    assert world.store.placed()["new"].epoch == 31


def test_started_while_a_card_is_silent_it_does_not_place_that_cards_applications_again(world):
    world.turn()
    world.cell.admit("app", spec())
    world.turn()
    (before,) = world.on().items()
    world.cards[before[1]].silent = True
    world.started()
    world.turn(3)
    with pytest.raises(TidegateError):
        world.cell.admit("app", spec())
    world.cards[before[1]].silent = False
    world.turn(2)
    assert world.on() == dict([before])


def test_a_card_that_did_not_answer_is_asked_again_and_no_other(world, monkeypatch):
    world.turn()
    world.cell.admit("app", spec())
    asked = []
    whole = MemoryCard.create

    async def mute(card, name, spec, *, epoch):
        """Do it, and be gone before the answer."""
        asked.append(card.name)
        await whole(card, name, spec, epoch=epoch)
        card.silent = True
        raise refusal(Because.UNREACHABLE, f"{card.name} does not answer")

    monkeypatch.setattr(MemoryCard, "create", mute)
    world.turn()
    world.started()
    world.turn(3)
    monkeypatch.undo()
    assert len(asked) == 1
    with pytest.raises(TidegateError, match="does not answer"):
        asyncio.run(world.cell.remove("app"))
    world.cards[asked[0]].silent = False
    world.turn(2)
    assert world.on() == {"app": asked[0]}
    assert world.store.placed()["app"].card == asked[0]


def test_what_a_person_moved_to_a_silent_card_is_not_placed_again(world):
    world.turn()
    world.cell.admit("app", spec())
    world.turn()
    ((name, source),) = world.on().items()
    target = next(card for card in world.cards.values() if card.name != source)
    one = world.cards[source].apps.pop(name)
    world.cards[source].closed[name] = 1
    target.apps[name] = replace(one, epoch=1)
    target.silent = True
    world.turn(3)
    assert world.on() == {name: target.name}
    target.silent = False
    world.turn()
    assert world.store.placed()[name].card == target.name
