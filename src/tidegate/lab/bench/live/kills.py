"""Killed at any point, does it go on as if nothing had happened?

A child process runs a loop with a journal over a world that outlives it, as a hypervisor would: its time
and its grants live in a mapped file. It is killed (SIGKILL) at seeded moments, and each next child checks,
before it goes on, what it finds: no tick half-written, the memory of every stage as it was after the last
journalled tick, and after its first own tick the grants of the journal equal to the world's.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import traceback
from dataclasses import dataclass, replace
from enum import IntEnum
from time import perf_counter
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.app.registry import Settings, policy
from tidegate.app.resume import memory_of
from tidegate.app.service import Service
from tidegate.app.stopwatch import StageTimer
from tidegate.app.threads import one_blas_thread
from tidegate.app.wiring import guards, in_company
from tidegate.journal.changes import Change
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import Reader
from tidegate.journal.sql.writer import opened
from tidegate.lab.bench.made_up import RESOURCES, STEP_SECONDS, MadeUpFleet
from tidegate.lab.bench.result import Row, row
from tidegate.learn.nothing import NothingLearner
from tidegate.loop import Loop
from tidegate.model.roster import CARD, HOST
from tidegate.plan.difference import difference
from tidegate.score.nothing import NothingScorer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tidegate.journal.sql.opening import Location
    from tidegate.journal.sql.writer import SqlJournal
    from tidegate.model.outcome import Outcome
    from tidegate.model.plan import Actions
    from tidegate.model.snapshot import Snapshot
    from tidegate.model.tick import Tick

POINTS: Final = 100
"""Restarts whose checks were made, each after a kill; who dies before its checks leaves them to the next."""
LIVES_MAX: Final = 200
WORKLOADS: Final = 12
LIFE_SECONDS_MAX: Final = 0.4
"""Longest life between going on and being killed: a few dozen ticks."""
EARLY_RATIO: Final = 0.2
"""Share of the kills that don't wait until the child has gone on."""
PATIENCE_SECONDS: Final = 60.0
TICKS_MAX: Final = 200_000
DIGEST_BYTES: Final = 16


class _Word(IntEnum):
    """What the mapped file's first words say."""

    STEP = 0
    """Steps of the world that were read."""
    VERDICTS = 1
    """Restarts whose checks were made."""
    FAULTS = 2
    LIFE = 3
    """Which child last went on."""


class _World:
    """A fleet whose time and grants outlive the process: clock, telemetry, actuator."""

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir(exist_ok=True)
        self._fleet = MadeUpFleet(WORKLOADS, seed)
        self._unit = self._fleet.read()
        shape = self._unit.grant.shape
        is_new = not (folder / "grants").exists()
        self.words = np.memmap(folder / "words", np.int64, "w+" if is_new else "r+", shape=(len(_Word),))
        self.grant = np.memmap(folder / "grants", np.float32, "w+" if is_new else "r+", shape=shape)
        self.digests = np.memmap(
            folder / "digests", np.uint8, "w+" if is_new else "r+", shape=(TICKS_MAX, DIGEST_BYTES)
        )
        if is_new:
            self.grant[...] = self._unit.grant
        self._random_seed = seed

    def now_seconds(self) -> int:
        return self._unit.time_seconds + int(self.words[_Word.STEP]) * STEP_SECONDS

    def read(self) -> Snapshot:
        self.words[_Word.STEP] += 1
        random = np.random.default_rng((self._random_seed, int(self.words[_Word.STEP])))
        share = random.beta(1, 4, self._unit.used.shape).astype(np.float32)
        grant = np.array(self.grant)
        wanted = share * self._unit.capacity
        return replace(
            self._unit,
            time_seconds=self.now_seconds(),
            used=np.minimum(wanted, grant[HOST] + grant[CARD]),
            pressed=wanted > grant[HOST] + grant[CARD],
            grant=grant,
        )

    def submit(self, actions: Actions) -> None:
        self.grant[actions.share, actions.resource_row, actions.workload] = actions.amount_to

    def collect(self) -> Outcome:
        return self._fleet.collect()


def kill_rows(folder: Path, *, seed: int, progress: Callable[[str, int, int], None]) -> list[Row]:
    """Kill it until `POINTS` restarts were checked, and return how many found everything in order."""
    folder.mkdir()
    world = _World(folder, seed)
    random = np.random.default_rng(seed)
    lives = 0
    while (checked := int(world.words[_Word.VERDICTS])) < POINTS and lives < LIVES_MAX:
        progress("killed and started again", checked, POINTS)
        lives += 1
        _live_and_die(folder, world, random, seed, life=lives)
    verdicts, faults = int(world.words[_Word.VERDICTS]), int(world.words[_Word.FAULTS])
    span = _span(folder)
    return [
        row("killed_points_consistent", verdicts - faults, f"of {POINTS}", POINTS, "min"),
        row("killed_lives", lives, "kills"),
        row("killed_ticks_journalled", span, "ticks"),
    ]


def _live_and_die(folder: Path, world: _World, random: np.random.Generator, seed: int, *, life: int) -> None:
    """Start a child, and kill it at a random moment: in its start-up, or some ticks later."""
    child = _fork(folder, seed, life=life)
    pause, deadline = threading.Event(), perf_counter() + PATIENCE_SECONDS
    if random.random() >= EARLY_RATIO:
        while world.words[_Word.LIFE] < life and not _ended(child) and perf_counter() < deadline:
            pause.wait(0.001)
    pause.wait(random.random() * LIFE_SECONDS_MAX)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _fork(folder: Path, seed: int, *, life: int) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with one_blas_thread():
            _live(folder, seed, life=life)
        code = 0
    except BaseException:  # noqa: BLE001 - the child says what went wrong, and ends
        traceback.print_exc()
        _World(folder, seed).words[_Word.FAULTS] += 1
    finally:
        os._exit(code)


def _live(folder: Path, seed: int, *, life: int) -> None:
    """Go on from the journal, check what was found, and tick until killed."""
    world, where = _World(folder, seed), location(str(folder / "journal.db"))
    with opened(where, {"loop": "kills"}) as journal:
        loop = _loop(world, seed, journal)
        loop.journal = _Noting(journal, loop, world)
        service = Service(loop=loop, journal=journal)
        resumed = service.go_on(where)
        last = service.loop.number - 1
        sound = resumed is None or _remembers(service.loop, world, last)
        sound &= _whole(where, last)
        for done in range(TICKS_MAX):
            before = np.array(world.grant)
            tick = service.tick()
            if done == 0:
                sound &= _grants_agree(where, tick.number, before, world)
                world.words[_Word.FAULTS] += not sound
                world.words[_Word.VERDICTS] += resumed is not None
                world.words[_Word.LIFE] = life


def _loop(world: _World, seed: int, journal: SqlJournal) -> Loop:
    settings = Settings(resources=RESOURCES, step_seconds=STEP_SECONDS, seed=seed)
    forecaster, planner = policy("tidegate")(settings)
    watch = StageTimer()
    return Loop(
        telemetry=world,
        forecaster=forecaster,
        scorer=NothingScorer(),
        planner=in_company(planner, "tidegate", settings, watch),
        guards=guards(world),
        difference=difference,
        actuator=world,
        journal=journal,
        learner=NothingLearner(),
        stopwatch=watch,
    )


@dataclass(frozen=True, slots=True)
class _Noting:
    """Notes in the world what every stage remembers after a tick, before the tick is journalled."""

    journal: SqlJournal
    loop: Loop
    world: _World

    def append(self, tick: Tick) -> None:
        self.world.digests[tick.number] = np.frombuffer(_digest(self.loop), dtype=np.uint8)
        self.journal.append(tick)


def _digest(loop: Loop) -> bytes:
    """Return the digest of what forecaster and policy remember."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name, array in sorted(memory_of(loop).items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()


def _remembers(loop: Loop, world: _World, last: int) -> bool:
    """Return whether every stage is as it was after the last journalled tick."""
    return bool((world.digests[last] == np.frombuffer(_digest(loop), dtype=np.uint8)).all())


def _whole(where: Location, last: int) -> bool:
    """Return whether the last ticks are there, one after the other, and can be read."""
    if last < 0:
        return True
    reader = Reader.of(where)
    first = max(0, last - 200)
    numbers = [changes.number for changes in reader.changes(first, last)]
    seen = [number for number, _ in reader.snapshots(first, last)]
    reader.close()
    return numbers == seen == list(range(first, last + 1))


def _grants_agree(where: Location, number: int, before: NDArray[np.float32], world: _World) -> bool:
    """Return whether the journal's grants were the world's, and with what was asked since still are."""
    reader = Reader.of(where)
    held = reader.frames(number, ("grant",))["grant"]
    (changes,) = reader.changes(number, number)
    reader.close()
    asked = (changes.rows["what"] & Change.ASKED) > 0
    rows = {name: values[..., asked] for name, values in changes.rows.items()}
    after = held.copy()
    after[HOST, rows["resource"], rows["workload"]] = rows["host"]
    after[CARD, rows["resource"], rows["workload"]] = rows["card"]
    return bool((held == before).all() and (after == world.grant).all())


def _span(folder: Path) -> int:
    reader = Reader.of(location(str(folder / "journal.db")))
    span = reader.span()
    reader.close()
    return 0 if span is None else span.last + 1


__all__ = ["kill_rows"]
