"""A cell of cards in memory: loads move, cards are emptied or say no; the manager is killed anywhere."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from tidegate.agents.fleet.cell import HELD_BACK_SECONDS, Cell
from tidegate.agents.fleet.records import ApplicationSeen, CardSeen, Ended, Link
from tidegate.agents.fleet.store import Store
from tidegate.model.application import Amounts, ApplicationSpec, ApplicationState, Sla
from tidegate.model.card_fleet import Strategy
from tidegate.model.errors import InputError, TidegateError
from tidegate.model.refusals import Because, refusal
from tidegate.plan.cards import CardPlanner

SECONDS = 10.0


def spec(cores=1.0, **other):
    return ApplicationSpec(command=("serve",), amounts=Amounts(cpu_cores=cores), hands_off=True, **other)


class Killed(BaseException):
    """The manager is gone at this very point."""


class MemoryCard:
    """A card that keeps to the protocol: an epoch is served once, and a request done once."""

    def __init__(self, world, name, cores):
        self.world, self.name, self.cores = world, name, cores
        self.apps, self.closed, self.moves, self.budgets = {}, {}, {}, {}
        self.silent, self.refuses, self.draining, self.links, self.scores = False, False, False, {}, {}

    def reachable(self):
        if self.silent:
            raise refusal(Because.UNREACHABLE, f"{self.name} does not answer")

    async def look(self):
        self.reachable()
        return CardSeen(
            name=self.name,
            address=f"unix:{self.name}",
            allocatable=Amounts(cpu_cores=self.cores),
            draining=self.draining,
            scores=self.scores,
            links=self.links,
            applications=tuple(self.apps.values()),
        )

    async def create(self, name, spec, *, epoch):
        self.reachable()
        if self.refuses:
            raise refusal(Because.NO_ROOM, "cpu: 1 core is lacking")
        if epoch <= self.closed.get(name, -1):
            least = self.closed[name] + 1
            raise refusal(Because.NOT_NOW, f"epoch {epoch} is past", field="epoch", limit=least)
        self.apps[name] = ApplicationSeen(
            name=name,
            epoch=epoch,
            state=ApplicationState.RUNNING,
            spec=spec,
            used=Amounts(cpu_cores=self.world.used.get(name, spec.amounts.cpu_cores)),
        )

    async def delete(self, name):
        self.reachable()
        self.apps.pop(name, None)

    async def move(self, moving, *, target_address):
        self.reachable()
        if self.refuses:
            raise refusal(Because.NO_ROOM, "cpu: 1 core is lacking")
        key = f"{moving.application}-{moving.epoch}"
        self.moves.setdefault(key, moving)
        self.world.after_move()
        return key

    async def ended(self, migration):
        self.reachable()
        moving = self.moves[migration]
        target = self.world.cards[moving.card_to]
        if target.silent:
            return None
        if moving.application in self.apps:
            one = self.apps.pop(moving.application)
            self.closed[moving.application] = moving.epoch
            target.apps[one.name] = replace(one, epoch=moving.epoch)
        return Ended(succeeded=True, pause_seconds=0.05)

    async def limit(self, name, budget):
        self.reachable()
        one = self.apps[name]
        if any(one.epoch < moving.epoch for moving in self.moves.values() if moving.application == name):
            raise refusal(Because.NOT_NOW, f"{name} is being moved")
        self.budgets[name] = budget
        self.apps[name] = replace(one, spec=replace(one.spec, budget=budget))


class World:
    """Cards, a clock, and a manager that can be started again on the same store."""

    def __init__(self, folder, **cores):
        self.folder, self.now, self.used = folder, 1_000.0, {}
        self.cards = {name: MemoryCard(self, name, amount) for name, amount in cores.items()}
        self.after_move = lambda: None
        self.store = None
        self.cell = self.started()

    def started(self):
        if self.store is not None:
            self.store.close()
        self.store = Store(self.folder)
        planner = CardPlanner(dwell_seconds=30)
        self.cell = Cell(cards=self.cards, store=self.store, now_seconds=lambda: self.now, planner=planner)
        return self.cell

    def put(self, card, name, cores, used=None, **other):
        self.used[name] = cores if used is None else used
        asyncio.run(self.cards[card].create(name, spec(cores, **other), epoch=0))

    def turn(self, times=1):
        tick = None
        for _ in range(times):
            tick = asyncio.run(self.cell.tick())
            self.now += SECONDS
            owners = [name for card in self.cards.values() for name in card.apps]
            assert len(owners) == len(set(owners)), "an application is on two cards"
        return tick

    def hold(self, card, cores):
        """Have each application of a card hold so much."""
        apps = self.cards[card].apps
        apps |= {name: replace(one, held=Amounts(cpu_cores=cores)) for name, one in apps.items()}

    def on(self):
        return {name: card.name for card in self.cards.values() for name in card.apps}


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, a=4.0, b=4.0, c=4.0)
    yield made
    made.store.close()


def crowd(world):
    for at in range(3):
        world.put("a", f"app-{at}", 2.0)


def test_a_saturated_card_sheds_until_all_is_calm(world):
    crowd(world)
    assert world.turn().moving == {}  # just taken over: they stay for the dwell time
    world.turn(8)
    loads = [len(card.apps) for card in world.cards.values()]
    assert sorted(loads) == [1, 1, 1]
    assert any("moves from a to" in event.sentence for event in world.store.events())
    assert any("in 50 ms" in event.sentence for event in world.store.events())


def test_without_a_plan_to_move_it_stays_saturated(world):
    crowd(world)
    world.cell.planner = CardPlanner(moves_max=0)
    world.turn(9)
    assert set(world.on().values()) == {"a"}


def test_budgets_follow_class_and_are_sent_once(world):
    world.put("a", "low", 3.0)
    world.put("a", "high", 3.0, sla=Sla(priority=5))
    world.cell.planner = CardPlanner(moves_max=0)
    world.turn()
    sent = world.cards["a"].budgets
    assert sent["high"].cpu_cores == pytest.approx(3.6)  # what it used and a fifth
    assert sent["low"].cpu_cores == pytest.approx(0.4)
    sent.clear()
    world.turn()
    assert sent == {}


def test_a_budget_is_told_again_before_its_card_would_let_it_lapse(world):
    world.put("a", "app", 1.0)
    world.turn()
    sent = world.cards["a"].budgets
    assert sent
    told = []
    for _ in range(30):
        sent.clear()
        world.turn()
        told.append(bool(sent))
    assert 4 <= sum(told) <= 6  # each minute of five


def test_a_drained_card_is_emptied_and_then_left_alone(world):
    for at in range(3):
        world.put("a", f"app-{at}", 1.5)
    world.cards["a"].draining = True
    world.turn(6)
    assert "a" not in world.on().values()
    assert len(world.on()) == 3


def test_an_application_is_taken_in_where_there_is_room(world):
    world.put("a", "there", 3.5)
    world.turn()
    world.cell.admit("new", spec(3.0))
    world.turn()
    assert world.on()["new"] in {"b", "c"}


def test_what_fits_nowhere_is_refused_and_nothing_is_written_down(world):
    world.turn()
    with pytest.raises(TidegateError, match="lacks 5 cores of cpu"):
        world.cell.admit("huge", spec(9.0))
    assert world.store.placed() == {}


def test_a_name_is_given_once(world):
    world.turn()
    world.cell.admit("one", spec())
    with pytest.raises(InputError, match="already"):
        world.cell.admit("one", spec())


def test_a_card_that_says_no_is_asked_again_under_a_new_epoch(world):
    world.turn()
    world.cell.admit("new", spec())
    for card in world.cards.values():
        card.refuses = True
    world.turn()
    assert world.store.placed()["new"].epoch == 1
    for card in world.cards.values():
        card.refuses = False
    world.turn()
    assert "new" in world.on()


def test_what_its_card_lost_is_placed_again_if_it_was_given_to_the_fleet(world):
    world.turn()
    world.cell.admit("given", spec())
    world.put("a", "by-hand", 1.0)
    world.turn(2)
    before = world.store.placed()["given"]
    for card in world.cards.values():
        card.apps.clear()
    world.turn(2)
    assert world.store.placed()["given"].epoch > before.epoch
    assert "given" in world.on()
    assert "by-hand" not in world.store.placed()


def test_nothing_is_given_up_while_its_card_is_silent(world):
    world.put("a", "app", 1.0)
    world.turn()
    world.cards["a"].silent = True
    tick = world.turn(20)
    assert tick.silent == {"a": "a does not answer"}
    assert tick.placed["app"].card == "a"
    assert tick.moving == {}


def test_a_refused_move_holds_the_application_back(world):
    crowd(world)
    world.turn(3)
    world.cards["a"].refuses = True
    world.turn(2)
    refused = [event for event in world.store.events() if "could not be moved" in event.sentence]
    assert 1 <= len(refused) <= 3
    world.turn(2)
    assert len([event for event in world.store.events() if "could not be moved" in event.sentence]) <= 3
    world.cards["a"].refuses = False
    world.now += HELD_BACK_SECONDS
    world.turn(6)
    assert len(set(world.on().values())) == 3


def test_a_move_that_got_no_answer_is_asked_again_and_done_once(world):
    crowd(world)
    world.turn(3)
    moves = world.cards["a"].moves

    def lose():
        world.after_move = lambda: None
        raise refusal(Because.TOO_LATE, "no answer in time")

    world.after_move = lose
    world.turn(8)
    epochs = [moving.epoch for moving in moves.values()]
    assert len(set(world.on().values())) == 3
    assert epochs == [1] * len(epochs)


@pytest.mark.parametrize("seed", range(15))
def test_killed_anywhere_it_goes_on_and_nobody_is_lost_or_twice(tmp_path, seed):
    random = np.random.default_rng(seed)
    world = World(tmp_path, a=4.0, b=4.0, c=4.0)
    crowd(world)
    real = world.store.write

    def writes(**what):
        if random.random() < 0.15:
            if random.random() < 0.5:
                real(**what)
            raise Killed
        real(**what)

    for _ in range(30):
        real = world.store.write
        world.store.write = writes
        for card in world.cards.values():
            card.silent = random.random() < 0.15
        try:
            world.turn()
        except Killed:
            world.now += SECONDS
            world.started()
        else:
            world.store.write = real
    for card in world.cards.values():
        card.silent = False
    world.started()
    world.turn(12)
    assert len(world.on()) == 3, f"seed {seed}"
    assert sorted(len(card.apps) for card in world.cards.values()) == [1, 1, 1], f"seed {seed}"
    assert world.store.moving() == {}
    assert {name: one.card for name, one in world.store.placed().items()} == world.on()
    world.store.close()


def test_a_bad_link_moves_an_application_away_and_back_after_its_dwell(world):
    world.put("a", "app", 1.0, server="s", sla=Sla(latency_p99_max_seconds=0.05))
    for name, card in world.cards.items():
        card.links = {"s": Link(latency_seconds=0.001 if name == "a" else 0.004)}
    world.turn(5)
    assert world.on() == {"app": "a"}
    world.cards["a"].links = {"s": Link(latency_seconds=0.02, loss_ratio=0.05)}
    world.turn(3)
    assert world.on()["app"] != "a"
    world.cards["a"].links = {"s": Link(latency_seconds=0.001)}
    world.turn(8)
    assert world.on() == {"app": "a"}


def test_only_one_manager_has_a_store(world):
    with pytest.raises(InputError, match="in use"):
        Store(world.folder)


def test_moves_are_handed_over_where_that_is_possible(world):
    crowd(world)
    world.turn(4)
    assert {moving.strategy for moving in world.cards["a"].moves.values()} == {Strategy.HANDOFF}
    assert not any("did not take its budget" in event.sentence for event in world.store.events())


def test_a_move_waits_until_budgets_have_made_room(world):
    crowd(world)
    world.put("b", "greedy", 0.5)
    world.put("c", "greedy-too", 0.5)
    for card in "abc":
        world.hold(card, 3.9 if card != "a" else 1.2)
    world.turn(10)
    assert [name for name, card in world.on().items() if card == "a"] == ["app-0", "app-1", "app-2"]
    assert world.cards["b"].budgets["greedy"].cpu_cores < 2.0
    assert world.cards["a"].budgets.keys() == {"app-0", "app-1", "app-2"}  # also who waits to move
    assert not any("moves from" in event.sentence for event in world.store.events())
    for card in "bc":
        world.hold(card, 0.6)
    world.turn(2)
    assert "app-0" not in world.cards["a"].apps or "app-1" not in world.cards["a"].apps
