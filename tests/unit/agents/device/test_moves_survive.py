"""Moves between cards, while everything that can happen happens: one owner at all times, and no state lost.

Cards are killed before and after each write and each call of their runtime, messages and answers are lost,
disks are full; clients go on counting on whichever program serves, also in the middle of all that.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest

from tidegate.agents.device.card import SECOND, Card
from tidegate.agents.device.lifecycle import Lifecycle
from tidegate.agents.device.moves import Moves
from tidegate.agents.device.moving import Moving
from tidegate.agents.device.peers import Standby
from tidegate.agents.device.records import MigrationPhase, Strategy
from tidegate.agents.device.room import Room, allocated
from tidegate.agents.device.store import Store
from tidegate.agents.device.taking_in import TakingIn
from tidegate.agents.device.tending import Tending
from tidegate.model.application import Amounts, ApplicationSpec, ApplicationState
from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Because, Refusal
from tidegate.testing import ManualClock
from tidegate.testing.fake_runtime import FakeRuntime

NAMES = ("card-a", "card-b", "card-c")
SPEC = ApplicationSpec(command=("kv",), hands_off=True, amounts=Amounts(cpu_cores=1.0))
ROOM = Room(capacity=Amounts(cpu_cores=2.0), reserved=Amounts(cpu_cores=0.5))
CALLS = frozenset({"start", "stop", "adjust", "found", "export_state", "import_state"})
ROUNDS_MAX = 200
"""Seconds in which everything is settled once nothing fails any more."""


LATE = {"late by 1": 1, "late by 3": 3, "late by 9": 9}
"""Seconds after which a message arrives that its sender has given up."""


class Killed(BaseException):
    """The program on a card is no more."""

    def __init__(self, card):
        super().__init__(card)
        self.card = card


class Never:
    """Nothing fails."""

    def __call__(self, kinds):
        return None


@dataclass
class Once:
    """One failure, at one event."""

    at: int
    kind: int
    events: int = 0
    happened: bool = False

    def __call__(self, kinds):
        self.events += 1
        if self.events - 1 != self.at or self.kind >= len(kinds):
            return None
        self.happened = True
        return kinds[self.kind]


@dataclass
class Often:
    """Failures by chance."""

    draw: np.random.Generator
    ratio: float

    def __call__(self, kinds):
        return kinds[self.draw.integers(len(kinds))] if self.draw.random() < self.ratio else None


class FailingStore(Store):
    def __init__(self, engine, world, card):
        self.world, self.card = world, card
        super().__init__(engine)

    def write(self, changes):
        fault = self.world.event(("killed before", "full", "killed after"))
        if fault == "full":
            raise Refusal(Because.UNREACHABLE, "the disk is full")
        if fault == "killed before":
            raise Killed(self.card)
        super().write(changes)
        self.world.look()
        if fault == "killed after":
            raise Killed(self.card)


class FailingRuntime:
    def __init__(self, runtime, world, card):
        self.runtime, self.world, self.card = runtime, world, card

    def __getattr__(self, call):
        inner = getattr(self.runtime, call)
        return inner if call not in CALLS else lambda *given, **named: self._call(inner, given, named)

    def _call(self, inner, given, named):
        fault = self.world.event(("killed before", "failed before", "failed after", "killed after"))
        if fault == "killed before":
            raise Killed(self.card)
        if fault == "failed before":
            raise TidegateError("it failed")
        answer = inner(*given, **named)
        self.world.look()
        if fault == "failed after":
            raise TidegateError("it was done, and then it failed")
        if fault == "killed after":
            raise Killed(self.card)
        return answer


class Wire:
    """The other card, behind a network that loses things."""

    def __init__(self, world, asking, asked):
        self.world, self.asking, self.asked = world, asking, asked

    def _call(self, do):
        fault = self.world.event(("request lost", "answer lost", "killed after", *LATE))
        core = self.world.cores.get(self.asked)
        if fault in LATE:
            self.world.late.append((self.world.turns + LATE[fault], self.asked, do))
        if fault in LATE or fault == "request lost" or core is None or self.world.cut:
            raise Refusal(Because.UNREACHABLE, f"{self.asked} does not answer")
        try:
            answer = do(core)
        except Killed:
            del self.world.cores[self.asked]
            raise Refusal(Because.UNREACHABLE, f"{self.asked} does not answer") from None
        if fault == "answer lost":
            raise Refusal(Because.TOO_LATE, f"{self.asked} does not answer")
        if fault == "killed after":
            raise Killed(self.asking)
        return answer

    def prepare(self, name, spec, *, epoch, move):
        def do(core):
            lifecycle = Lifecycle(core)
            standby = ApplicationState.STANDBY
            try:
                new = lifecycle.create(name, spec, epoch=epoch, start_as=standby, owner=self.asking)
            except Refusal as refusal:
                # As the request's identifier would have it: the same again.
                if refusal.because is not Because.EXISTS or core.application(name).epoch != epoch:
                    raise
                new = core.application(name)
            return core.addresses(new)

        return self._call(do)

    def activate(self, name, *, epoch, state, state_bytes, afresh):
        state = list(state)

        def do(core):
            return TakingIn(core).activate(
                name, epoch=epoch, state=state, state_bytes=state_bytes, afresh=afresh, asked_by=self.asking
            )

        self._call(do)

    def standing(self, name, *, epoch):
        def do(core):
            one = core.application(name)
            waits = one.wanted is ApplicationState.STANDBY and one.epoch == epoch
            return Standby("" if waits else f"it is {one.state.name}")

        return self._call(do)

    def withdraw(self, name, *, epoch):
        self._call(lambda core: TakingIn(core).withdraw(name, epoch=epoch, asked_by=self.asking))


@dataclass
class World:
    engines: dict
    fails: object
    strategy: Strategy = Strategy.HANDOFF
    clock: ManualClock = field(default_factory=lambda: ManualClock(1_700_000_000))
    cores: dict = field(default_factory=dict)
    movers: dict = field(default_factory=dict)
    counted: int = 0
    cut: bool = False
    turns: int = 0
    late: list = field(default_factory=list)

    def __post_init__(self):
        self.ids = map("m{}".format, itertools.count(1)).__next__
        self.runtimes = {name: FakeRuntime(self.clock) for name in NAMES}
        failing, self.fails = self.fails, Never()
        for name in NAMES:
            self.start(name)
        Lifecycle(self.cores["card-a"]).create("kv", SPEC)
        self.fails = failing

    def program(self, card):
        return self.runtimes[card]._programs.get("kv")

    def event(self, kinds):
        self.look()
        return self.fails(kinds)

    def look(self):
        """At all times: at most one serves, and no card gives more than it has. A client counts on."""
        serving = [card for card in NAMES if (one := self.program(card)) is not None and one.serving]
        assert len(serving) <= 1, f"{serving} all serve"
        if serving and self.strategy is Strategy.HANDOFF:
            one = self.program(serving[0])
            assert one.state == (str(self.counted).encode() if self.counted else b"kv"), (
                "what was counted is lost"
            )
            self.counted += 1
            one.state = str(self.counted).encode()
        for core in self.cores.values():
            assert allocated(core.applications.values())["cpu_cores"] <= ROOM.allocatable.cpu_cores

    def start(self, name):
        """Start the program on a card anew: it knows what was written down."""
        store = FailingStore(self.engines[name], self, name)
        core = Card(
            name,
            store=store,
            runtime=FailingRuntime(self.runtimes[name], self, name),
            room=ROOM,
            now=lambda: self.clock.now_seconds() * SECOND,
            new_id=self.ids,
        )
        Tending(core).reconcile()
        self.cores[name] = core
        self.movers[name] = Moving(core, lambda target, _, name=name: Wire(self, name, target))

    def turn(self):
        """Let a second pass on every card."""
        self.clock.advance(1)
        self.turns += 1
        due = [message for message in self.late if message[0] <= self.turns]
        self.late = [message for message in self.late if message[0] > self.turns]
        for _, name, do in due:
            if name in self.cores:
                self.guarded(name, lambda do=do, name=name: do(self.cores[name]))
        for name in NAMES:
            self.guarded(name, lambda name=name: self.one_turn(name))

    def one_turn(self, name):
        if name not in self.cores:
            self.start(name)
        Tending(self.cores[name]).tend()
        mover = self.movers[name]
        for identifier in mover.due():
            mover.step(identifier)

    def guarded(self, name, do):
        try:
            do()
        except Killed:
            self.cores.pop(name, None)
        except TidegateError:
            pass
        self.look()

    def begin(self, source, target):
        moves = Moves(self.cores[source])
        self.guarded(
            source, lambda: moves.begin("kv", target=target, address="there", strategy=self.strategy)
        )

    def abort(self, source):
        core = self.cores[source]
        for one in list(core.migrations.values()):
            if not one.ended:
                self.guarded(source, lambda one=one: Moves(core).abort(one.id))

    def owner(self):
        """The card whose application runs."""
        for name, core in self.cores.items():
            one = core.applications.get("kv")
            if one is not None and one.wanted is ApplicationState.RUNNING:
                return name
        return None

    def settle(self):
        """Nothing fails from now on: all ends well."""
        self.fails, self.cut = Never(), False
        for _ in range(ROUNDS_MAX):
            self.turn()
            open_moves = [
                one
                for core in self.cores.values()
                for one in core.migrations.values()
                if not one.ended or one.leftover
            ]
            if len(self.cores) == len(NAMES) and not open_moves and not self.late:
                break
        else:
            pytest.fail(f"never settled: {open_moves}")
        self.turn()
        having = [name for name in NAMES if "kv" in self.cores[name].applications]
        assert len(having) == 1
        assert self.cores[having[0]].application("kv").state is ApplicationState.RUNNING
        assert [name for name in NAMES if self.program(name) is not None] == having
        assert self.program(having[0]).serving
        assert not self.cores[having[0]].application("kv").migration
        return having[0]


@pytest.fixture(scope="module")
def engines(engine_in_memory, emptied):
    made = {name: engine_in_memory() for name in NAMES}
    return lambda: {name: emptied(engine) for name, engine in made.items()}


def moved_once(engines, fails, strategy, *, abort_after=None):
    world = World(engines(), fails, strategy)
    world.begin("card-a", "card-b")
    for turn in range(7):
        if turn == abort_after and "card-a" in world.cores:
            world.abort("card-a")
        world.turn()
    return world, world.settle()


@pytest.mark.parametrize("strategy", [Strategy.HANDOFF, Strategy.RESTART])
def test_a_move_without_trouble_changes_the_owner(engines, strategy):
    world, owner = moved_once(engines, Never(), strategy)
    assert owner == "card-b"
    (move,) = world.cores["card-a"].migrations.values()
    assert move.phase is MigrationPhase.SUCCEEDED
    assert world.cores["card-b"].application("kv").epoch == 1
    assert world.cores["card-a"].epochs_of("kv").moved_to == "card-b"


@pytest.mark.parametrize(
    ("strategy", "abort_after"),
    [(Strategy.HANDOFF, None), (Strategy.HANDOFF, 5), (Strategy.HANDOFF, 6), (Strategy.RESTART, None)],
)
def test_one_failure_at_every_point(engines, strategy, abort_after):
    count = Once(-1, 0)
    moved_once(engines, count, strategy, abort_after=abort_after)
    assert count.events > 20
    owners = set()
    for at in range(count.events):
        for kind in range(6):
            once = Once(at, kind)
            _, owner = moved_once(engines, once, strategy, abort_after=abort_after)
            owners.add(owner)
            if not once.happened:
                break
    assert owners <= {"card-a", "card-b"}


@pytest.mark.parametrize("seed", range(200))
def test_many_failures_by_chance(engines, seed):
    draw = np.random.default_rng(seed)
    strategy = Strategy.RESTART if seed % 5 == 4 else Strategy.HANDOFF
    world = World(engines(), Often(draw, draw.choice([0.02, 0.1, 0.3])), strategy)
    for _ in range(16):
        owner = world.owner()
        if owner is not None and draw.random() < 0.4:
            world.begin(owner, str(draw.choice([name for name in NAMES if name != owner])))
        for name in list(world.cores):
            if draw.random() < 0.1:
                world.abort(name)
        world.cut = draw.random() < 0.15
        world.turn()
    world.settle()
