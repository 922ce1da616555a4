"""This very machine as clock, telemetry source and actuator: one server, its workloads, no card.

It observes unless told by name what it may act on. What it changes it notes first and gives back: when it
is closed, when it is started again after a crash, and by `release`.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from tidegate.drivers.cgroups.hierarchy import find_hierarchy
from tidegate.drivers.local.acting import Done, LimitSetter, Untouched, Wish
from tidegate.drivers.local.clock import SystemClock
from tidegate.drivers.local.discover import matches
from tidegate.drivers.local.largest import WORKLOADS_MAX
from tidegate.drivers.local.ledger import LEDGER_PATH, Ledger, Released, boot_identifier
from tidegate.drivers.local.ledger import release as release_ledger
from tidegate.drivers.local.outside import Outside
from tidegate.drivers.local.view import View
from tidegate.model.errors import InputError, TidegateError
from tidegate.model.outcome import Outcome, Phase, all_confirmed
from tidegate.model.plan import Kind
from tidegate.model.resources import Resource
from tidegate.model.roster import HOST, NO_CARD
from tidegate.model.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    from tidegate.drivers.cgroups.hierarchy import Hierarchy
    from tidegate.drivers.local.acting import Limiter
    from tidegate.drivers.local.view import Seen
    from tidegate.model.behaviour import Behaviour
    from tidegate.model.plan import Actions
    from tidegate.ports import Actuator, Clock, TelemetrySource

VIOLATION_RATE: Final = 0.01
LIMITED: Final = frozenset({Resource.CPU, Resource.MEMORY})
"""What has a limit that may be set."""


class LocalServer:
    """This machine's cgroups, or process groups where it has none, as workloads of one server.

    `read` does not wait: pacing is the caller's. Rates are over the time that really passed between two
    reads, so the first read after the start, and the first of a newcomer, has none (NaN).
    """

    released: Released
    """What was given back at the start, of what an earlier process had left changed."""
    unreleased: str | None
    """Why an earlier process's changes could not be given back, where it only observes."""

    def __init__(
        self,
        *,
        step_seconds: int,
        clock: Clock | None = None,
        chosen: Sequence[str] = (),
        act: Sequence[str] = (),
        violation_rate: float = VIOLATION_RATE,
        workloads_max: int = WORKLOADS_MAX,
        ledger_path: Path = LEDGER_PATH,
        outside: Outside | None = None,
    ) -> None:
        """Find out what there is to read, and give back what an earlier process left changed.

        ``chosen`` are globs over cgroup paths, their last parts, or names of process groups: only these
        are workloads, at whatever level; without any, the usual ones. ``act`` are globs of workloads whose
        CPU quota and soft memory limit may be set; without any, nothing is.

        Raises:
            InputError: there is no step, the violation rate is out of range, or nothing can be acted on.
            TidegateError: the kernel refuses an owner's value that is to be put back.

        """
        if step_seconds < 1:
            raise InputError(f"a step of {step_seconds} s is too short; give at least 1")
        if not 0 < violation_rate <= 0.5:
            raise InputError(f"a violation rate of {violation_rate:g} is outside (0, 0.5]; 0.01 is usual")
        self._clock = clock or SystemClock()
        self._step_seconds = step_seconds
        self._act = tuple(act)
        outside = outside or Outside()
        hierarchy = find_hierarchy(outside.root)
        self._view = View(
            hierarchy,
            outside,
            chosen=chosen,
            violation_rate=violation_rate,
            workloads_max=workloads_max,
        )
        self._ledger: Ledger | None = None
        self._limiter: Limiter = Untouched()
        try:
            self._open(hierarchy, ledger_path, boot_identifier(outside.root))
        except BaseException:
            self._view.close()
            raise
        self._seen: Seen | None = None
        self._confirmed: list[Outcome] = []

    def _open(self, hierarchy: Hierarchy, ledger_path: Path, boot: str) -> None:
        """Give back what was left changed; get ready to act where that is wanted."""
        self.released, self.unreleased = Released(), None
        if not self._act:
            try:
                self.released = release_ledger(ledger_path, boot=boot)
            except TidegateError as error:
                self.unreleased = str(error)
            return
        _require_writable(hierarchy)
        ledger = Ledger(ledger_path, boot=boot)
        try:
            self.released = ledger.restore()
        except BaseException:
            ledger.close()
            raise
        self._ledger = ledger
        self._limiter = LimitSetter(hierarchy, ledger)

    @property
    def resources(self) -> tuple[Resource, ...]:
        """What is read: everything but GPUs, and those where their driver answers."""
        return self._view.resources

    @property
    def behaviour(self) -> Behaviour | None:
        """How everyone behaved up to the last read; None before it."""
        return None if self._seen is None else self._seen.behaviour

    @property
    def settable(self) -> NDArray[np.bool_]:
        """Whose limits `submit` would set: (resources, workloads) of the snapshot last read.

        Raises:
            RuntimeError: nothing was read yet.

        """
        if self._seen is None:
            raise RuntimeError("what can be set was asked for before the first read")
        acts = self._ledger is not None
        named = [acts and path is not None and matches(path, self._act) for path in self._seen.paths]
        limited = [resource in LIMITED for resource in self.resources]
        return np.array(limited)[:, None] & np.array(named, dtype=np.bool_)

    def now_seconds(self) -> int:
        """Return seconds since 1970 UTC."""
        return self._clock.now_seconds()

    def read(self) -> Snapshot:
        """Return the workloads as they are now, with rates over the time since the last read."""
        time_seconds = self.now_seconds()
        seen = self._view.look(time_seconds, self._limiter)
        self._seen = seen
        workloads = len(seen.roster)
        return Snapshot(
            time_seconds=time_seconds,
            step_seconds=self._step_seconds,
            resources=self.resources,
            roster=seen.roster,
            places=seen.places,
            host=np.zeros(workloads, dtype=np.int32),
            card=np.full(workloads, NO_CARD, dtype=np.int32),
            used=seen.frames.used,
            capacity=seen.frames.capacity,
            pressed=seen.frames.pressed,
            grant=seen.frames.grant,
            in_flight=np.zeros_like(seen.frames.grant),
        )

    def submit(self, actions: Actions) -> None:
        """Do the actions at once: set the limits that may be set, refuse everything else.

        Refused are all actions that have expired, all but resizes at the host of CPU and memory of the
        workloads named in ``act``, and a soft memory limit below what is in use.
        """
        if len(actions) == 0:
            return
        rows = [(row, self._wish(actions, row)) for row in range(len(actions))]
        wishes = [(row, wish) for row, wish in rows if wish is not None]
        done = dict.fromkeys(range(len(actions)), Done(phase=Phase.REFUSED, amount=math.nan))
        if wishes and self.now_seconds() <= actions.expires_seconds:
            answers = self._limiter.apply([wish for _, wish in wishes])
            done |= {row: answer for (row, _), answer in zip(wishes, answers, strict=True)}
        read_back = [self._held(actions, row, done[row]) for row in range(len(actions))]
        self._confirmed.append(
            Outcome(
                workload_id=actions.workload_id,
                resource_row=actions.resource_row,
                share=actions.share,
                phase=np.array([done[row].phase for row in range(len(actions))], dtype=np.uint8),
                amount_read_back=np.array(read_back, dtype=np.float32),
            )
        )

    def collect(self) -> Outcome:
        """Return what became of the actions submitted since the last call."""
        confirmed, self._confirmed = self._confirmed, []
        return all_confirmed(confirmed)

    def close(self) -> Released:
        """Give the owner's settings back and stop acting; observing may go on. Again: nothing to do.

        Raises:
            TidegateError: the kernel refuses an owner's value; it stays in the ledger.

        """
        self._view.close()
        self._limiter = Untouched()
        ledger, self._ledger = self._ledger, None
        if ledger is None:
            return Released()
        with contextlib.closing(ledger):
            return ledger.restore()

    @property
    def given_back(self) -> int:
        """How many settings were given back at the start."""
        return len(self.released.restored)

    def end(self) -> int:
        """Give the owner's settings back, as `close`; return how many."""
        return len(self.close().restored)

    def __enter__(self) -> Self:
        """Start."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give everything back, whatever happened."""
        self.close()

    def _wish(self, actions: Actions, row: int) -> Wish | None:
        """Return what an action asks of a cgroup; None where it is none that may be done."""
        at = self._row(actions, row)
        resource = actions.resources[int(actions.resource_row[row])]
        if self._seen is None or at is None or resource not in self.resources:
            return None
        path = self._seen.paths[at]
        is_resize = actions.kind[row] == Kind.RESIZE and actions.share[row] == HOST
        if not is_resize or path is None or not matches(path, self._act):
            return None
        return Wish(
            path=path,
            resource=resource,
            amount=float(actions.amount_to[row]),
            capacity=float(self._seen.frames.capacity[self.resources.index(resource), at]),
        )

    def _held(self, actions: Actions, row: int, done: Done) -> float:
        """Return what was read back; for what was never tried, what was held at the last read."""
        at = self._row(actions, row)
        resource = actions.resources[int(actions.resource_row[row])]
        tried = not math.isnan(done.amount)
        if tried or self._seen is None or at is None or resource not in self.resources:
            return done.amount
        return float(self._seen.frames.grant[int(actions.share[row]), self.resources.index(resource), at])

    def _row(self, actions: Actions, row: int) -> int | None:
        """Return where the action's workload stands in the roster last read; None where it is gone."""
        if self._seen is None:
            return None
        at = np.flatnonzero(self._seen.roster.ids == actions.workload_id[row])
        return int(at[0]) if at.size else None


def release(ledger_path: Path = LEDGER_PATH, *, root: Path = Path("/")) -> Released:
    """Give back what a process that is gone had changed; does nothing where nothing is left changed.

    Raises:
        InputError: that process still runs, or the file is no ledger.
        TidegateError: the kernel refuses an owner's value; it stays in the ledger.

    """
    return release_ledger(ledger_path, boot=boot_identifier(root))


def _require_writable(hierarchy: Hierarchy) -> None:
    folders = {mount.folder for mount in (hierarchy.cpu, hierarchy.memory) if mount is not None}
    if not folders:
        raise InputError(
            "this machine has no cgroups whose CPU or memory could be limited; leave out what to act on"
        )
    if not any(os.access(folder, os.W_OK) for folder in folders):
        raise InputError("limits of cgroups can't be set without root; use sudo, or leave out what to act on")


def _conforms(server: LocalServer) -> tuple[Clock, TelemetrySource, Actuator]:
    return server, server, server
