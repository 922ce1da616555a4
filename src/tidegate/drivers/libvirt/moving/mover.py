"""Carries a move out, from the check to the record; and puts right what a mover that died left."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Final

from tidegate.drivers.libvirt.moving.notes import MOVES_PATH, Note, left
from tidegate.drivers.libvirt.moving.orders import MovePhase, MoveRecord, Progress
from tidegate.drivers.libvirt.moving.port import Place
from tidegate.model.errors import TidegateError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tidegate.drivers.libvirt.moving.orders import MoveOrder
    from tidegate.drivers.libvirt.moving.port import Route, Way

POLL_SECONDS: Final = 0.1
ABORT_SECONDS_MAX: Final = 30.0
"""How long a stopped move may take to be stopped; then `settle` is tried, which waits too."""
BEGIN: Final = Progress(phase=MovePhase.PENDING)


@dataclass(slots=True, kw_only=True)
class Mover:
    """One move at a time is carried out by one of these; `stop` may be called from another thread."""

    folder: Path = MOVES_PATH
    """Where moves are noted."""
    told: Callable[[Progress], None] = lambda _progress: None
    """Called with each look at the progress."""
    monotonic_seconds: Callable[[], float] = monotonic
    stopped: threading.Event
    """Set it to have the move under way aborted."""

    def move(self, way: Way, order: MoveOrder) -> MoveRecord:
        """Move a VM, and return what became of it; a move that failed is no error but a record.

        Raises:
            Refusal: it can't be moved so, or is being moved; nothing was changed.
            TidegateError: it is not known where the VM runs; the move stays noted, for `reconciled`.

        """
        started = self.monotonic_seconds()
        note = Note.taken(self.folder, way.route.uuid)
        try:
            way.check(order)
        except BaseException:
            if note.read() is None:
                note.drop()
            note.close()
            raise
        try:
            note.write(way.route)
            try:
                last, switched = self._carry_out(way, order)
            except TidegateError as error:
                last, switched = replace(BEGIN, phase=MovePhase.FAILED, reason=str(error)), False
            place = way.settle()
            note.drop()
        finally:
            note.close()
        return _record(way.route, last, place, self.monotonic_seconds() - started, switched=switched)

    def _carry_out(self, way: Way, order: MoveOrder) -> tuple[Progress, bool]:
        """Begin, and watch until the end; says whether post-copy was begun too."""
        began = self.monotonic_seconds()
        way.start(order)
        switched, asked_to_stop, throttle = False, -float("inf"), 0.0
        while True:
            now = self.monotonic_seconds()
            seen = way.progress()
            throttle = max(throttle, seen.throttle_ratio)
            seen = replace(seen, throttle_ratio=throttle)
            self.told(seen)
            if seen.phase.is_over:
                return seen, switched
            wants_out = self.stopped.is_set() or (now - began > order.seconds_max and not order.post_copy)
            if wants_out and asked_to_stop < 0:
                way.abort()
                asked_to_stop = now
            elif asked_to_stop >= 0 and now - asked_to_stop > ABORT_SECONDS_MAX:
                return replace(seen, phase=MovePhase.ABORTED), switched
            elif order.post_copy and not switched and asked_to_stop < 0:
                switched = self._switched(way, seen, now - began, order)
            if not self.stopped.is_set():
                self.stopped.wait(POLL_SECONDS)
            else:
                threading.Event().wait(POLL_SECONDS)

    def _switched(self, way: Way, seen: Progress, seconds: float, order: MoveOrder) -> bool:
        """Begin post-copy once pre-copy had its time; says whether it was begun."""
        if seen.phase is not MovePhase.PREPARING or seconds < order.post_copy_after_seconds:
            return False
        if seen.rounds < 1 or not seen.can_switch:
            return False
        way.switch()
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What was found of a move whose mover had died."""

    route: Route
    place: Place | None
    """Where the VM runs; None where it could not be told, and the move stays noted."""
    reason: str = ""


def reconciled(way_of: Callable[[Route], Way], folder: Path = MOVES_PATH) -> list[Reconciled]:
    """Put right what movers that died left, and return what was found; moves under way are left alone."""
    found = []
    for note in left(folder):
        route = note.read()
        if route is None:  # nothing had begun
            note.drop()
            continue
        try:
            way = way_of(route)
            try:
                place = way.settle()
            finally:
                way.close()
        except TidegateError as error:
            note.close()
            found.append(Reconciled(route=route, place=None, reason=str(error)))
            continue
        note.drop()
        found.append(Reconciled(route=route, place=place))
    return found


def _record(route: Route, last: Progress, place: Place, seconds: float, *, switched: bool) -> MoveRecord:
    """Return what became of it: where the VM runs counts, whatever was told on the way."""
    phase = MovePhase.SUCCEEDED if place is Place.TARGET else last.phase
    reason = last.reason
    if place is not Place.TARGET and phase is not MovePhase.ABORTED:
        phase = MovePhase.FAILED
    if place is Place.NOWHERE:
        phase, reason = MovePhase.FAILED, f"the VM runs nowhere any more; {reason}".rstrip("; ")
    return MoveRecord(
        name=route.name,
        uuid=route.uuid,
        source=route.source,
        target=route.target,
        phase=phase,
        seconds=seconds,
        memory_seconds=last.seconds,
        downtime_seconds=last.downtime_seconds,
        bytes_sent=last.bytes_sent,
        rounds=last.rounds,
        throttle_ratio=last.throttle_ratio,
        was_post_copied=switched,
        reason="" if phase is MovePhase.SUCCEEDED else reason,
    )


__all__ = ["Mover", "Reconciled", "reconciled"]
