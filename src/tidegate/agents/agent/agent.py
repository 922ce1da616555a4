"""An agent without its connection: samples its server, carries orders out, and decides alone when it must.

A loop of its own runs all the time with the safe baseline as its policy. While a device leads, what it wants
is dropped; once the agent is alone, it is done: the baseline then has seen what it needs to have seen.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import numpy as np

from tidegate.agents.agent.standing import Standing, standing
from tidegate.model.errors import TidegateError
from tidegate.model.outcome import Outcome, Phase, nothing_confirmed
from tidegate.model.refusals import Because, Refusal
from tidegate.model.roster import HOST, source_rows
from tidegate.ports import Actuator, Clock, TelemetrySource
from tidegate.wire.frames import Greeting, ServerRoster
from tidegate.wire.orders import ServerOutcomes, actions_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tidegate.loop import Loop
    from tidegate.model.behaviour import Behaviour
    from tidegate.model.plan import Actions
    from tidegate.model.resources import Resource
    from tidegate.model.snapshot import Snapshot
    from tidegate.wire.orders import ServerOrders

NANOSECONDS: Final = 10**9
MOVED_RATIO: Final = 0.01
"""A grant that differs by more than this from what was held when its order was decided has moved since."""
TAKEN_MAX: Final = 64
"""Samples of which is known when they were taken: orders on older ones have long expired."""
MEMORY_FILE: Final = "agent.json"
MEMORY_BYTES_MAX: Final = 4096


class Server(TelemetrySource, Actuator, Clock, Protocol):
    """A driver of one server."""

    @property
    def resources(self) -> tuple[Resource, ...]:
        """What it measures."""
        ...

    @property
    def settable(self) -> NDArray[np.bool_]:
        """Where limits can be set: (resources, workloads) of the snapshot last read."""
        ...


class WhenAlone:
    """A server as the baseline's loop has it: what that wants is dropped, but while the agent is alone.

    It sees the samples that the agent takes.
    """

    def __init__(self, server: Server) -> None:
        """Drop everything until ``acts`` is set; show ``sampled``."""
        self._server = server
        self.acts = False
        self.sampled: Snapshot | None = None

    @property
    def resources(self) -> tuple[Resource, ...]:
        """What it measures."""
        return self._server.resources

    @property
    def settable(self) -> NDArray[np.bool_]:
        """Where limits can be set."""
        return self._server.settable

    def now_seconds(self) -> int:
        """Return seconds since 1970 UTC."""
        return self._server.now_seconds()

    def read(self) -> Snapshot:
        """Return the server as it was sampled last.

        Raises:
            RuntimeError: it never was.

        """
        if self.sampled is None:
            raise RuntimeError("the baseline was asked before the first sample")
        return self.sampled

    def submit(self, actions: Actions) -> None:
        """Do the actions if the agent is alone."""
        if self.acts:
            self._server.submit(actions)

    def collect(self) -> Outcome:
        """Return what became of them."""
        return self._server.collect() if self.acts else nothing_confirmed()


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent must know after a restart."""

    epoch: int = 0
    """Highest epoch of orders it has carried out."""


class Agent:
    """One server's agent; times are nanoseconds since 1970 UTC by its own clock."""

    def __init__(
        self,
        *,
        name: str,
        server: Server,
        loop_over: Callable[[Server], Loop],
        folder: Path,
        step_seconds: int,
        incarnation: str,
        now_nanoseconds: Callable[[], int],
        probe_address: str = "",
        pci_bytes_per_second: float = 0.0,
        forwards_seconds: Callable[[], float] | None = None,
        behaviour: Callable[[], Behaviour | None] = lambda: None,
        settings_given_back: int = 0,
        decides_alone: bool = True,
    ) -> None:
        """Go on from what ``folder`` remembers; ``loop_over`` makes the loop of the safe baseline.

        ``forwards_seconds`` is a clock that only runs forwards, by which orders expire; without one it is
        that of the day. ``behaviour`` is that of the last sample. Where it does not decide alone, the last
        grants stand for as long as the device is silent. ``settings_given_back`` is told: what an earlier
        agent had left changed.

        Raises:
            TidegateError: what the folder remembers can't be read.

        """
        self._name, self._server, self._folder = name, server, folder
        self._step_seconds, self._incarnation, self._now = step_seconds, incarnation, now_nanoseconds
        self._probe_address, self._pci_bytes_per_second = probe_address, pci_bytes_per_second
        self._behaviour, self._settings_given_back = behaviour, settings_given_back
        self._decides_alone = decides_alone
        self._baseline_acts = WhenAlone(server)
        self._baseline = loop_over(self._baseline_acts)
        self._memory = _remembered(folder)
        self._heard_nanoseconds: int | None = None
        self._began_nanoseconds = now_nanoseconds()
        self._who: ServerRoster | None = None
        self._snapshot: Snapshot | None = None
        self._number = 0
        self._forwards = forwards_seconds or (lambda: now_nanoseconds() / NANOSECONDS)
        self._taken: dict[int, float] = {}
        """When the latest samples were taken, by number."""
        self._done: dict[int, ServerOutcomes] = {}

    @property
    def standing(self) -> Standing:
        """How it stands to its device; a device never heard counts from the agent's start."""
        now = self._now()
        self._began_nanoseconds = min(self._began_nanoseconds, now)  # where the clock was put back
        if self._heard_nanoseconds is None:
            since = self._began_nanoseconds
        else:
            since = self._heard_nanoseconds = min(self._heard_nanoseconds, now)
        found = standing((now - since) / NANOSECONDS)
        return Standing.HOLDING if self._heard_nanoseconds is None and found is Standing.LED else found

    def heard(self) -> None:
        """Note a sign of life of the device."""
        self._heard_nanoseconds = self._now()

    def greeting(self) -> Greeting:
        """Return who it is, as of the last step.

        Raises:
            RuntimeError: there was none yet.

        """
        if self._snapshot is None:
            raise RuntimeError("the greeting was asked for before the first step")
        return Greeting(
            server=self._name,
            incarnation=self._incarnation,
            resources=self._server.resources,
            step_seconds=self._step_seconds,
            allocatable=self._snapshot.places.allocatable[:, 0],
            epoch=self._memory.epoch,
            probe_address=self._probe_address,
            settings_given_back=self._settings_given_back,
            pci_bytes_per_second=self._pci_bytes_per_second,
        )

    def step(self) -> Snapshot:
        """Take a sample, and show it to the baseline."""
        snapshot = self.sample()
        self.think()
        return snapshot

    def think(self) -> None:
        """Show the last sample to the safe baseline; where the agent is alone, do what that wants."""
        self._baseline_acts.acts = self._decides_alone and self.standing is Standing.ALONE
        self._baseline.tick()

    def sample(self) -> Snapshot:
        """Take a sample."""
        taken = self._forwards()
        snapshot = self._server.read()
        self._snapshot = self._baseline_acts.sampled = snapshot
        self._number += 1
        self._taken[self._number] = taken
        self._taken.pop(self._number - TAKEN_MAX, None)
        settable = self._server.settable
        who = self._who
        if who is None or who.roster is not snapshot.roster or not np.array_equal(who.settable, settable):
            version = 1 if who is None else who.version + 1
            self._who = ServerRoster(version=version, roster=snapshot.roster, settable=settable)
        return snapshot

    @property
    def who(self) -> ServerRoster:
        """Who there is, as of the last step.

        Raises:
            RuntimeError: there was none yet.

        """
        if self._who is None:
            raise RuntimeError("the roster was asked for before the first step")
        return self._who

    @property
    def behaviour(self) -> Behaviour | None:
        """How its workloads behaved, as of the last sample; None where nobody measures it."""
        return self._behaviour()

    @property
    def number(self) -> int:
        """Of the last sample."""
        return self._number

    def carry_out(self, orders: ServerOrders) -> ServerOutcomes:
        """Do as ordered, row by row, and say what became of it; the same orders again are answered again.

        All are refused where they come from a device that was replaced, are about workloads that are no more,
        or come too late; single ones where what is held has moved since they were decided.
        """
        before = self._done.get(orders.number)
        if before is not None and orders.epoch == self._memory.epoch:
            return before
        try:
            self._obey(orders)
            expires = self._server.now_seconds() + math.ceil(self._left_seconds(orders))
            actions = actions_of(orders, self._current(), expires_seconds=expires)
        except Refusal as refused:
            return ServerOutcomes(number=orders.number, outcome=nothing_confirmed(), refused=str(refused))
        moved = self._moved(orders)
        outcome = self._applied(actions, np.flatnonzero(~moved), np.flatnonzero(moved))
        said = ServerOutcomes(number=orders.number, outcome=outcome)
        self._done = {orders.number: said}
        return said

    def _obey(self, orders: ServerOrders) -> None:
        """Refuse orders that must not be carried out; note the epoch of those that may.

        Raises:
            Refusal: they are of a device that was replaced, too late, or about another roster.

        """
        if orders.epoch < self._memory.epoch:
            raise Refusal(
                Because.STALE,
                f"orders of epoch {orders.epoch}, but a device of epoch {self._memory.epoch} leads",
                field="orders.epoch",
                limit=self._memory.epoch,
            )
        if self._left_seconds(orders) < 0:
            raise Refusal(Because.TOO_LATE, "the orders have expired", field="orders.ttl_nanoseconds")
        if orders.roster_version != self.who.version:
            raise Refusal(
                Because.STALE,
                f"orders about roster {orders.roster_version}, it is {self.who.version} now",
                field="orders.roster_version",
                limit=self.who.version,
            )
        if orders.epoch > self._memory.epoch:
            self._remember(Memory(epoch=orders.epoch))
            self._done = {}

    def _left_seconds(self, orders: ServerOrders) -> float:
        """Return how long orders may still be done; below 0 where they are late, or on a batch long past."""
        taken = self._taken.get(orders.batch_number)
        if taken is None:
            return -math.inf
        return taken + orders.ttl_nanoseconds / NANOSECONDS - self._forwards()

    def _remember(self, memory: Memory) -> None:
        try:
            _write(self._folder, memory)
        except OSError as error:
            raise Refusal(
                Because.NOT_NOW,
                f"the agent can't write to {self._folder} ({error.strerror}); free some space",
            ) from error
        self._memory = memory

    def _current(self) -> Snapshot:
        if self._snapshot is None:
            raise Refusal(Because.NOT_NOW, "the agent has taken no sample yet")
        return self._snapshot

    def _moved(self, orders: ServerOrders) -> NDArray[np.bool_]:
        """Return whose grant is not what it was when the order was decided: (orders,)."""
        snapshot = self._current()
        rows = source_rows(snapshot.roster.ids, orders.workload_id)
        held = snapshot.grant[HOST][orders.resource_row, rows]
        far = np.abs(held - orders.amount_from) > MOVED_RATIO * np.abs(orders.amount_from)
        return far & np.isfinite(held) & np.isfinite(orders.amount_from)

    def _applied(self, actions: Actions, rows: NDArray[np.intp], moved: NDArray[np.intp]) -> Outcome:
        """Submit some rows of actions and wait for none: a server's limits are set at once."""
        if rows.size:
            self._server.submit(_some(actions, rows))
        done = self._server.collect()
        held = self._current().grant[HOST][actions.resource_row[moved], actions.workload[moved]]
        return Outcome(
            workload_id=np.concatenate([done.workload_id, actions.workload_id[moved]]),
            resource_row=np.concatenate([done.resource_row, actions.resource_row[moved]]),
            share=np.full(len(done) + moved.size, HOST, dtype=np.uint8),
            phase=np.concatenate([done.phase, np.full(moved.size, Phase.REFUSED, dtype=np.uint8)]),
            amount_read_back=np.concatenate([done.amount_read_back, held]),
        )


def _some(actions: Actions, rows: NDArray[np.intp]) -> Actions:
    """Return some rows of actions."""
    return replace(actions, **{name: getattr(actions, name)[rows] for name in _COLUMNS})


_COLUMNS: Final = (
    "kind",
    "workload",
    "workload_id",
    "resource_row",
    "share",
    "place_from",
    "place_to",
    "amount_from",
    "amount_to",
)


def _remembered(folder: Path) -> Memory:
    path = folder / MEMORY_FILE
    try:
        data = path.read_bytes()[:MEMORY_BYTES_MAX]
        return msgspec.json.decode(data, type=Memory)
    except FileNotFoundError:
        return Memory()
    except (OSError, msgspec.DecodeError) as error:
        raise TidegateError(
            f"{path} can't be read ({error}); remove it if no older device is left that might give orders"
        ) from error


def _write(folder: Path, memory: Memory) -> None:
    """Replace what is remembered, whole or not at all, and on the disk when it returns."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{MEMORY_FILE}.part"
    with beside.open("wb") as file:
        file.write(msgspec.json.encode(memory))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / MEMORY_FILE)
