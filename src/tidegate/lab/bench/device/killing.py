"""Killed at any moment, cut off or out of disk: do cards, server and fleet manager agree again afterwards?

Real programs: two devices in network namespaces, a fleet manager and an agent, with TLS between them, and
key-value services on the cards whose clients write all the time. At each point something is asked for, a
program is killed (SIGKILL) at a random moment meanwhile and started again, and what was asked for is asked
again until it is answered. Then stores, devices and the fleet manager must say what the kernel says, every
application must be served by exactly one card, and nothing acknowledged may be missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.lab.bench.device.killing_changes import CUTS_OFF, PLAIN, Change, ask, drawn, port_of
from tidegate.lab.bench.device.killing_looking import Expected, Sight, look
from tidegate.lab.bench.device.killing_stores import ledger_of, switches
from tidegate.lab.bench.device.killing_traffic import Client, serves
from tidegate.lab.bench.device.killing_world import AGENT, CARDS, FLEET, World, made
from tidegate.lab.bench.result import Row, row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from numpy.random import Generator

POINTS: Final = 200
APART_POINTS: Final = 4
APART_SECONDS: Final = 30.0
FULL_POINTS: Final = 6
ORDERED_POINTS: Final = 3
ORDERS_SECONDS_MAX: Final = 180.0
"""A device orders once it has seen a server for a minute, and then about once a minute."""
NAMES: Final = ("k0", "k1", "k2", "p0", "f0", "f1")
"""Of applications: given to a card, without hand-off, given to the fleet."""
FIRST: Final = (("k0", "a"), ("k1", "b"), ("p0", "a"), ("f0", FLEET))
SETTLE_SECONDS_MAX: Final = 90.0
"""How long it may take until all agree; a move that failed is tried again by the fleet after a minute."""
SETTLE_APART_SECONDS_MAX: Final = 120.0
"""The same after half a minute apart: whoever asked in vain asks less and less often."""
ANSWER_SECONDS_MAX: Final = 60.0
LOOK_AGAIN_SECONDS: Final = 0.3
MOMENTS: Final = {"migrate": 4.0, "drain": 6.0, "create": 1.0}
"""Within how many seconds after a change was asked for somebody is killed; half a second for others."""
AT_ONCE_RATIO: Final = 0.25
"""Share of the kills that come right after the request was sent."""
SOON_SECONDS: Final = 0.1
SWITCHING_RATIO: Final = 0.4
"""Share that comes right after an application that moves has stopped to serve on the one card."""
SWITCHING_STEP_SECONDS: Final = 0.005
AGAIN_RATIO: Final = 0.15
"""Share that is killed once more while it starts."""


@dataclass(slots=True, kw_only=True)
class Point:
    """What was done at one point, and what came of it."""

    number: int
    what: str
    seconds: float = 0.0
    faults: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Killing:
    """The driver of one run."""

    world: World
    seed: int
    told: Callable[[str], None]
    expected: Expected = field(default_factory=Expected)
    where: dict[str, str] = field(default_factory=dict)

    async def begin(self) -> None:
        """Have the first applications run.

        Raises:
            RuntimeError: not even that works.

        """
        for name, card in FIRST:
            await self._carried_out(
                Change(kind="create", application=name, card=card, request_id=self._request_id(name))
            )
        faults = await self._settled(np.random.default_rng(self.seed), SETTLE_SECONDS_MAX)
        if faults:
            raise RuntimeError(f"nothing was killed yet, and already: {'; '.join(faults)}")

    async def killed(self, number: int) -> Point:
        """Kill somebody while something changes, and say whether all agree after."""
        random = np.random.default_rng((self.seed, number))
        change = self._drawn(random)
        victims = _victims(random, change)
        within = MOMENTS.get(change.kind, 0.5)
        drawn_moment = random.random()
        switching = change.kind in {"migrate", "drain"} and drawn_moment >= 1 - SWITCHING_RATIO
        after = random.uniform(0, SOON_SECONDS if drawn_moment < AT_ONCE_RATIO or switching else within)
        since = " after it switched" if switching else ""
        point = Point(number=number, what=f"{change}; killed {after:.3f} s{since}: {', '.join(victims)}")
        began = perf_counter()
        asking = asyncio.create_task(self._carried_out(change))
        if switching:
            await self._until_switching(change, within)
        await asyncio.sleep(after)
        for name in victims:
            self.world.kill(name)
        await asyncio.sleep(random.uniform(0, 0.5))
        for name in victims:
            self.world.start(name)
        if random.random() < AGAIN_RATIO:
            again = random.uniform(0, 1.5)
            point.what += f", again after {again:.3f} s"
            await asyncio.sleep(again)
            self.world.kill(victims[0])
            self.world.start(victims[0])
        await self._ended(asking, change, point, random, seconds=SETTLE_SECONDS_MAX, began=began)
        return point

    def _drawn(self, random: Generator) -> Change:
        return drawn(random, self.where, self.expected.runs, NAMES, self.expected.epochs)

    async def _until_switching(self, change: Change, seconds: float) -> None:
        """Wait until an application that moves has stopped to serve on the one card."""
        for _ in range(round(seconds / SWITCHING_STEP_SECONDS)):
            if switches(self.world, change.card):
                return
            await asyncio.sleep(SWITCHING_STEP_SECONDS)

    async def ordered(self, number: int) -> Point:
        """Kill the agent while it does as it was ordered, and say whether its ledger has what it set."""
        random = np.random.default_rng((self.seed, 30_000 + number))
        ledger = self.world.programs[AGENT].state / "limits.ledger"
        before, began = ledger_of(ledger), perf_counter()
        point = Point(number=number, what="orders")
        for _ in range(round(ORDERS_SECONDS_MAX / SWITCHING_STEP_SECONDS)):
            if ledger_of(ledger) != before:
                break
            await asyncio.sleep(SWITCHING_STEP_SECONDS)
        if ledger_of(ledger) == before:
            point.faults = (f"nothing was ordered within {ORDERS_SECONDS_MAX:g} s",)
            return point
        after = random.uniform(0, SOON_SECONDS / 4)
        victims = [AGENT] if random.random() < 0.5 else [AGENT, CARDS[0]]
        point.what += f"; killed {after:.3f} s after the ledger was written: {', '.join(victims)}"
        await asyncio.sleep(after)
        for name in victims:
            self.world.kill(name)
        sight = await look(self.world, self.expected)
        limits = [fault for fault in sight.faults if "ledger" in fault]
        for name in victims:
            self.world.start(name)
        nothing = Change(kind="nothing", answered=True, request_id="")
        asking = asyncio.create_task(asyncio.sleep(0))
        await self._ended(asking, nothing, point, random, seconds=SETTLE_SECONDS_MAX, began=began)
        point.faults += tuple(limits)
        return point

    async def apart(self, number: int, seconds: float) -> Point:
        """Cut a card off while something moves, and say whether all agree once it is back."""
        random = np.random.default_rng((self.seed, 10_000 + number))
        change = self._drawn(random)
        card = str(random.choice(CARDS))
        after = random.uniform(0, MOMENTS.get(change.kind, 0.5))
        point = Point(
            number=number, what=f"{change}; card {card} cut off after {after:.3f} s for {seconds:g} s"
        )
        began = perf_counter()
        asking = asyncio.create_task(self._carried_out(change))
        await asyncio.sleep(after)
        self.world.cut(card)
        try:
            await asyncio.sleep(seconds / 2)
            if random.random() < 0.5:
                victim = str(random.choice([*CARDS, FLEET, AGENT]))
                point.what += f", {victim} killed meanwhile"
                self.world.kill(victim)
                self.world.start(victim)
            await asyncio.sleep(seconds / 2)
        finally:
            self.world.join(card)
        await self._ended(asking, change, point, random, seconds=SETTLE_APART_SECONDS_MAX, began=began)
        return point

    async def full(self, number: int) -> Point:
        """Fill somebody's disk while something changes, and say whether all agree once there is room."""
        random = np.random.default_rng((self.seed, 20_000 + number))
        change = self._drawn(random)
        victim = [*CARDS, FLEET, AGENT][number % 4]
        point = Point(number=number, what=f"{change}; disk of {victim} full")
        began = perf_counter()
        self.world.fill(victim)
        asking = asyncio.create_task(self._carried_out(change))
        await asyncio.sleep(random.uniform(1, 6))
        meanwhile = await self._standing(change)
        if random.random() < 0.5:
            point.what += ", and it was killed"
            self.world.kill(victim)
            self.world.start(victim)
            await asyncio.sleep(3)
        self.world.empty(victim)
        if not self.world.runs(victim):
            point.what += ", and had ended"
            self.world.start(victim)
        await self._ended(asking, change, point, random, seconds=SETTLE_SECONDS_MAX, began=began)
        point.faults += tuple(meanwhile)
        return point

    async def _standing(self, change: Change) -> list[str]:
        """Return who of those that nothing was asked about does not serve as it did before."""
        if change.kind == "drain":
            return []
        found = []
        for name, card in self.where.items():
            if name == change.application or not self.expected.runs.get(name):
                continue
            if not await serves(self.world.host(card), port_of(name)):
                found.append(f"{name} did not serve on {card} while a disk was full")
        return found

    # --- A change, to its end -----------------------------------------------------------------

    async def _ended(
        self,
        asking: asyncio.Task[None],
        change: Change,
        point: Point,
        random: Generator,
        *,
        seconds: float,
        began: float,
    ) -> None:
        """Wait for the answer, then until all agree; note what does not."""
        await asking
        faults = [] if change.answered else [f"'{change}' was not answered"]
        if change.refused:
            point.what += f" (refused: {change.refused})"
        faults += await self._settled(random, seconds)
        if change.kind == "drain":
            self.expected.drained = ""
            back = Change(kind="resume", card=change.card, request_id=self._request_id(change.request_id))
            await ask(self.world, back, seconds=ANSWER_SECONDS_MAX)
            faults += [] if back.answered else [f"'{back}' was not answered"]
        point.seconds, point.faults = perf_counter() - began, tuple(faults)
        verdict = f"NOT CONSISTENT: {'; '.join(faults)}" if faults else "consistent"
        self.told(f"{point.number}: {point.what}: {verdict} ({point.seconds:.1f} s)")
        if faults:
            self._adopt()

    async def _carried_out(self, change: Change) -> None:
        """Ask for a change, and expect what it makes."""
        name = change.application
        if change.kind in CUTS_OFF or (name.startswith(PLAIN) and change.kind != "adjust"):
            self.client(name).forget()
        if change.kind == "drain":
            for plain in [each for each in self.expected.clients if each.startswith(PLAIN)]:
                self.expected.clients[plain].forget()
        await ask(self.world, change, seconds=ANSWER_SECONDS_MAX)
        if change.refused or not change.answered:
            return
        if change.kind in {"create", "start"}:
            self.expected.runs[name] = True
            self.client(name)
        elif change.kind == "drain":
            self.expected.drained = change.card
        elif change.kind == "stop":
            self.expected.runs[name] = False
        elif change.kind == "delete":
            self.expected.runs.pop(name, None)

    async def _settled(self, random: Generator, seconds: float) -> list[str]:
        """Look until all agree, or for so long; return what does not."""
        deadline = perf_counter() + seconds
        never: list[str] = []
        while True:
            sight = await look(self.world, self.expected)
            never += [each for each in sight.never if each not in never]
            if not sight.faults or perf_counter() > deadline:
                break
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        self.where = sight.where
        return [*never, *sight.faults, *await self._lost(sight, random)]

    async def _lost(self, sight: Sight, random: Generator) -> list[str]:
        """Return what was acknowledged and is not there; from here on clients write again."""
        lost = []
        for name, client in self.expected.clients.items():
            if not self.expected.runs.get(name) or name not in sight.where:
                continue
            missing = await client.missing(random)
            if missing and not name.startswith(PLAIN):
                lost.append(f"{name} has lost {len(missing)} acknowledged writes, as {missing[0]}")
                client.forget()
            client.writes = True
        return lost

    def client(self, name: str) -> Client:
        """Return the client of an application; it does not write before the application is seen to serve."""
        port = port_of(name)
        self.expected.ports[name] = port
        hosts = [self.world.host(letter) for letter in CARDS]
        return self.expected.clients.setdefault(name, Client(application=name, hosts=hosts, port=port))

    def _request_id(self, what: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.seed}/{what}"))

    def _adopt(self) -> None:
        """Go on after a point that failed: expect what is there, so that it fails once and not for ever."""
        for name in [each for each in self.expected.runs if each not in self.where]:
            del self.expected.runs[name]


def _victims(random: Generator, change: Change) -> list[str]:
    """Draw who is killed: mostly who has to do with it."""
    near = change.card if change.card in CARDS else FLEET
    far = CARDS[1 - CARDS.index(near)] if near in CARDS else str(random.choice(CARDS))
    draws: Sequence[list[str]] = ([near], [far], [near, far], [FLEET], [AGENT], [*CARDS, FLEET])
    weights = [0.4, 0.2, 0.15, 0.1, 0.1, 0.05]
    return list(dict.fromkeys(draws[int(random.choice(len(draws), p=weights))]))


@contextlib.asynccontextmanager
async def driving(folder: Path, seed: int, told: Callable[[str], None]) -> AsyncIterator[Killing]:
    """Lend a driver over a new world with its first applications, whose clients write meanwhile."""
    with made(folder) as world:
        killing = Killing(world=world, seed=seed, told=told)
        clients = [killing.client(name) for name in NAMES]
        writing = [asyncio.create_task(client.run()) for client in clients]
        try:
            await killing.begin()
            yield killing
        finally:
            for task in writing:
                task.cancel()
            await asyncio.gather(*writing, return_exceptions=True)
            await asyncio.sleep(LOOK_AGAIN_SECONDS)  # connections that were closed are gone by then


def killed_points(
    points: int = POINTS,
    seed: int = 1,
    *,
    apart: int = APART_POINTS,
    apart_seconds: float = APART_SECONDS,
    full: int = FULL_POINTS,
    ordered: int = ORDERED_POINTS,
    progress: Callable[[str, int, int], None] = lambda _what, _done, _of: None,
    told: Callable[[str], None] = lambda _sentence: None,
) -> list[Row]:
    """Kill programs at so many seeded points, cut cards off, fill disks; return how many were consistent.

    ``told`` hears a sentence about each point, with what did not agree. Needs root.

    Raises:
        TidegateError: the namespaces, disks or programs can't be made.

    """

    async def run(folder: Path) -> Sequence[list[Point]]:
        found: Sequence[list[Point]] = ([], [], [], [])
        async with driving(folder, seed, told) as killing:
            for number in range(ordered):
                progress("killed while it does as ordered", number, ordered)
                found[3].append(await killing.ordered(number))
            for number in range(points):
                progress("killed and started again", number, points)
                found[0].append(await killing.killed(number))
            for number in range(apart):
                progress("cut off", number, apart)
                found[1].append(await killing.apart(number, apart_seconds))
            for number in range(full):
                progress("with a full disk", number, full)
                found[2].append(await killing.full(number))
        return found

    with tempfile.TemporaryDirectory(prefix="tk-") as made_folder:
        killed, cut, filled, led = asyncio.run(run(Path(made_folder)))
    seconds = [point.seconds for point in killed]
    return [
        row("killed_points_consistent", _consistent(killed), f"of {points}", points, "min"),
        row("partitions_consistent", _consistent(cut), f"of {apart}", apart, "min"),
        row("full_disks_consistent", _consistent(filled), f"of {full}", full, "min"),
        row("killed_while_ordered_consistent", _consistent(led), f"of {ordered}", ordered, "min"),
        row("killed_point_seconds_p50", float(np.median(seconds)) if seconds else 0.0, "s"),
    ]


def _consistent(points: Sequence[Point]) -> int:
    return sum(not point.faults for point in points)


__all__ = ["POINTS", "Killing", "Point", "driving", "killed_points"]
