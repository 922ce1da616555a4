"""Cards that say no, fall ill or go; people who ask meanwhile: nobody starves, nobody is twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.unit.agents.fleet.test_cell import SECONDS, World, spec
from tidegate.agents.fleet.cell import DYING_SECONDS
from tidegate.agents.fleet.columns import columns
from tidegate.agents.fleet.patience import AGAIN_SECONDS, AGAIN_SECONDS_MAX, REMEMBERED_MAX, Patience
from tidegate.agents.fleet.records import CardSeen, Moving, Placed
from tidegate.agents.fleet.settling import settled
from tidegate.model.application import Amounts, ApplicationState
from tidegate.model.card_fleet import Strategy
from tidegate.model.errors import InputError
from tidegate.model.refusals import Because, Refusal, refusal
from tidegate.plan.cards import CardPlanner


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, a=4.0, b=4.0, c=4.0)
    yield made
    made.store.close()


def says(card, because):
    """Have a card answer so when it is to take something in."""

    async def create(name, its, *, epoch):
        raise refusal(because, f"{card.name} says {because.name}")

    card.create = create


@pytest.mark.parametrize("because", [Because.NOT_NOW, Because.NO_ROOM, Because.BROKEN])
def test_where_one_card_says_no_another_is_asked(world, because):
    world.put("a", "there", 3.0)
    world.turn()
    says(world.cards["b"], because)
    world.cell.admit("new", spec(2.0))
    world.turn(2)
    assert world.on()["new"] == "c"


@pytest.mark.parametrize("because", [Because.EXISTS, Because.TOO_LATE, Because.UNKNOWN_PEER])
def test_where_a_card_may_have_it_no_other_is_asked(world, because):
    world.put("a", "there", 3.0)
    world.turn()
    says(world.cards["b"], because)
    world.cell.admit("new", spec(2.0))
    world.turn(4)
    assert "new" not in world.on()
    assert world.store.placed()["new"].asked == "b"


def test_what_can_not_be_moved_leaves_its_turn_to_the_others(world):
    for name in ("halted", "broken", "well"):
        world.put("a", name, 1.0)
    card = world.cards["a"]
    card.apps["halted"] = replace(card.apps["halted"], state=ApplicationState.STOPPED)
    card.draining = True
    move = card.move

    async def moves(moving, *, target_address):
        if moving.application != "well":
            raise refusal(Because.NOT_NOW, "only what runs is moved")
        return await move(moving, target_address=target_address)

    card.move = moves
    world.turn(3)
    assert world.on()["well"] != "a"
    refused = [one for one in world.store.events() if "could not be moved" in one.sentence]
    assert len(refused) == 1  # not again at each turn, and never for what is stopped


def test_a_card_that_is_unwell_for_a_moment_is_not_emptied(world):
    world.put("a", "app", 1.0)
    world.turn()
    card = world.cards["a"]
    look = card.look

    async def ill():
        return replace(await look(), degraded="the store can't be written")

    card.look = ill
    world.turn()
    card.look = look
    world.turn(6)
    assert world.on() == {"app": "a"}
    card.look = ill
    world.turn(int(DYING_SECONDS / SECONDS) + 2)
    assert world.on()["app"] != "a"


def test_who_is_removed_while_it_is_taken_in_stays_removed(world):
    world.turn()
    world.cell.admit("new", spec())

    async def both():
        begun, goes_on = asyncio.Event(), asyncio.Event()
        for card in world.cards.values():
            create = card.create

            async def slow(name, its, *, epoch, create=create):
                begun.set()
                await goes_on.wait()
                await create(name, its, epoch=epoch)

            card.create = slow
        turning = asyncio.create_task(world.cell.tick())
        await begun.wait()
        removing = asyncio.create_task(world.cell.remove("new"))
        await asyncio.sleep(0)
        goes_on.set()
        await asyncio.gather(turning, removing)

    asyncio.run(both())
    assert world.store.placed() == {}
    assert world.on() == {}
    world.now += SECONDS
    world.turn(2)
    assert world.on() == {}


def test_a_budget_that_its_card_lost_is_sent_again(world):
    world.put("a", "app", 1.0)
    world.turn(2)
    card = world.cards["a"]
    sent = card.apps["app"].spec.budget
    assert sent.cpu_cores > 1.0
    card.apps["app"] = replace(card.apps["app"], spec=spec(1.0))
    world.turn()
    assert card.apps["app"].spec.budget == sent


def test_cards_that_fell_silent_have_no_room(world):
    world.turn()
    for card in world.cards.values():
        card.silent = True
    world.turn()
    with pytest.raises(Refusal, match="no card takes applications now"):
        world.cell.admit("new", spec())


def test_a_look_that_fails_for_want_of_certificates_is_silence(world):
    async def unreadable():
        raise InputError("the certificate in /certs has expired")

    world.cards["b"].look = unreadable
    assert world.turn().silent == {"b": "the certificate in /certs has expired"}


def test_a_move_ends_when_its_target_serves_though_its_source_died(world):
    world.put("a", "app", 1.0)
    world.turn(4)
    card = world.cards["a"]
    card.draining = True

    async def dies(_migration):
        raise refusal(Because.UNREACHABLE, "a does not answer")

    ended, card.ended = card.ended, dies
    world.turn()
    (moving,) = world.store.moving().values()
    asyncio.run(ended(f"app-{moving.epoch}"))
    card.silent = True
    world.turn()
    assert world.store.moving() == {}
    assert world.store.placed()["app"].card == moving.card_to


def test_a_move_that_failed_is_told_so_though_its_target_was_not_heard_since_the_start(world):
    world.put("a", "app", 1.0)
    world.turn(4)
    world.cards["a"].draining = True

    async def goes_on(_migration):
        return None

    world.cards["a"].ended = goes_on
    world.turn(2)
    (moving,) = world.store.moving().values()
    assert moving.migration
    world.cards[moving.card_to].silent = True

    async def is_forgotten(_migration):
        raise refusal(Because.NOT_FOUND, "a knows no such migration")

    world.cards["a"].ended = is_forgotten
    world.started()
    world.turn()
    assert "app" not in world.store.moving()


def test_what_its_card_was_told_of_it_is_remembered_but_not_what_it_holds(world):
    world.turn()
    world.cell.admit("new", spec(2.0))
    world.turn(2)
    card = world.cards[world.on()["new"]]
    one = card.apps["new"]
    card.apps["new"] = replace(
        one, spec=replace(one.spec, amounts=Amounts(cpu_cores=0.1), ceiling=Amounts(cpu_cores=3.0))
    )
    world.turn()
    kept = world.store.placed()["new"].spec
    assert kept.ceiling.cpu_cores == 3.0
    assert kept.amounts.cpu_cores == 2.0


def placed(name="app", card="b", **other):
    return Placed(
        name=name, card=card, epoch=1, epoch_asked=1, spec=spec(), since_seconds=50.0, wanted=True, **other
    )


def test_who_came_to_its_card_after_the_look_is_not_lost():
    seen = [CardSeen(name=name, address="", allocatable=Amounts()) for name in "ab"]
    known = {"app": placed()}
    for looked, lost in ((50.0, False), (51.0, True)):
        found = settled(seen, known, {}, whole=True, looked_seconds=looked, now_seconds=60.0)
        assert bool(found.placed) is lost


def test_who_is_on_the_way_is_charged_at_both_ends():
    moving = Moving(
        application="app",
        card_from="b",
        card_to="a",
        epoch=2,
        strategy=Strategy.HANDOFF,
        reason="",
        began_seconds=0.0,
    )
    seen = [CardSeen(name=name, address="", allocatable=Amounts(cpu_cores=4.0)) for name in "ab"]
    known = [placed(), placed("new", "")]
    known[1] = replace(known[1], spec=spec(3.5))
    fleet = columns(seen, known, heard="ab", held_back={}, now_seconds=60.0, arriving={"app": moving.card_to})
    assert fleet.allocatable[0].tolist() == [3.0, 4.0]
    assert CardPlanner().plan(fleet).card[1] == -1


def test_patience_grows_to_an_hour_and_is_bounded():
    patience = Patience()
    patience.refused("x", "a", 0.0, "no")
    assert patience.waiting(AGAIN_SECONDS - 1) == {("x", "a")}
    assert patience.waiting(AGAIN_SECONDS) == frozenset()
    for _ in range(20):
        patience.refused("x", "a", 0.0, "no")
    assert patience.waiting(AGAIN_SECONDS_MAX - 1) == {("x", "a")}
    patience.forget("x")
    assert patience.waiting(0.0) == frozenset()
    for at in range(REMEMBERED_MAX + 5):
        patience.refused(str(at), "a", 0.0, "no")
    assert len(patience.waiting(0.0)) == REMEMBERED_MAX


def test_more_applications_than_a_statement_has_room_for_are_written_down(world):
    many = [placed(f"app-{at}") for at in range(33_000)]
    world.store.write(placed=many)
    world.store.write(forgotten=[one.name for one in many[1:]])
    assert list(world.store.placed()) == ["app-0"]


def test_a_name_that_was_there_before_is_taken_in_at_the_next_turn(world):
    world.turn()
    for card in world.cards.values():
        create = card.create

        async def knows(name, its, *, epoch, create=create):
            if epoch < 40:
                raise refusal(Because.NOT_NOW, "epoch is over; from 40 on", field="epoch", limit=40)
            await create(name, its, epoch=epoch)

        card.create = knows
    world.cell.admit("web", spec())
    world.turn(2)
    assert world.store.placed()["web"].epoch == 40
    assert "web" in world.on()


def test_one_that_waits_says_what_a_card_said_last(world):
    for card in world.cards.values():
        card.refuses = True
    world.turn()
    world.cell.admit("app", spec(1.0))
    (one, *_) = [each for _ in range(15) for each in world.turn().plan.unplaced]
    assert "said no to it lately" in one.reason
    assert "said: cpu: 1 core is lacking" in one.reason
