"""A cell of cards in memory, whose manager can be started again."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tidegate.agents.fleet.cell import Cell
from tidegate.agents.fleet.records import ApplicationSeen, CardSeen, Ended
from tidegate.agents.fleet.store import Store
from tidegate.model.application import Amounts, ApplicationSpec, ApplicationState
from tidegate.model.refusals import Because, refusal
from tidegate.plan.cards import CardPlanner

SECONDS = 10.0


def spec_of(cores=1.0, **other):
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
        self.budgets[name] = budget


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
        asyncio.run(self.cards[card].create(name, spec_of(cores, **other), epoch=0))

    def turn(self, times=1):
        tick = None
        for _ in range(times):
            tick = asyncio.run(self.cell.tick())
            self.now += SECONDS
            owners = [name for card in self.cards.values() for name in card.apps]
            assert len(owners) == len(set(owners)), "an application is on two cards"
        return tick

    def on(self):
        return {name: card.name for card in self.cards.values() for name in card.apps}


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path, a=4.0, b=4.0, c=4.0)
    yield made
    made.store.close()


@pytest.fixture
def spec():
    return spec_of


@pytest.fixture
def world_of():
    return World


@pytest.fixture
def card_kind():
    return MemoryCard


@pytest.fixture
def killed():
    return Killed
