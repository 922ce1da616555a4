"""Carries a move out, from the check to the record; and puts right what a mover that died left."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING, Final

from tidegate.drivers.libvirt.moving.notes import MOVES_PATH, Note, left
from tidegate.drivers.libvirt.moving.orders import MovePhase, MoveRecord, Progress
from tidegate.drivers.libvirt.moving.port import Place
from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Because, refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tidegate.drivers.libvirt.moving.orders import MoveOrder
    from tidegate.drivers.libvirt.moving.port import Route, Way

POLL_SECONDS: Final = 0.1
ABORT_SECONDS_MAX: Final = 30.0
"""How long a stopped move may take to be stopped; then `settle` is tried, which waits too."""
STOPPED: Final = "it was stopped on request"
BEGIN: Final = Progress(phase=MovePhase.PENDING)


@dataclass(slots=True, kw_only=True)
class Mover:
    """Carries moves out, one at a time; blocks."""

    folder: Path = MOVES_PATH
    """Where moves are noted."""
    told: Callable[[Progress], None] = lambda _progress: None
    """Called with each look at the progress."""
    monotonic_seconds: Callable[[], float] = monotonic
    is_stopped: Callable[[], bool] = lambda: False
    """Asked with each look: once it says yes, the move is aborted."""
    _pause: threading.Event = field(default_factory=threading.Event)

    def move(self, way: Way, order: MoveOrder) -> MoveRecord:
        """Move a VM, and return what became of it; a move that failed is no error but a record.

        Raises:
            Refusal: it can't be moved so, or is being moved; nothing was changed.
            TidegateError: it is not known where the VM runs; the move stays noted, for `reconciled`.

        """
        started = self.monotonic_seconds()
        note = Note.taken(self.folder, way.route.uuid)
        try:
            _require_unnoted(note, way.route.name)
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
        watch = _Watch(began)
        while True:
            now = self.monotonic_seconds()
            seen = watch.look(way.progress(), now)
            self.told(seen)
            if seen.phase.is_over:
                return watch.end(seen), watch.switched
            wrong = watch.wrong(now, order, is_stopped=self.is_stopped())
            if wrong and watch.asked_seconds is None:
                way.abort()
                watch.asked_seconds, watch.why = now, wrong
            elif watch.asked_seconds is not None and now - watch.asked_seconds > ABORT_SECONDS_MAX:
                return watch.end(replace(seen, phase=MovePhase.ABORTED)), watch.switched
            elif order.post_copy and not watch.switched and not wrong:
                watch.switched = self._switched(way, seen, now - began, order)
            self._pause.wait(POLL_SECONDS)

    def _switched(self, way: Way, seen: Progress, seconds: float, order: MoveOrder) -> bool:
        """Begin post-copy once pre-copy had its time; says whether it was begun."""
        if seen.phase is not MovePhase.PREPARING or seconds < order.post_copy_after_seconds:
            return False
        if seen.rounds < 1 or not seen.can_switch:
            return False
        way.switch()
        return True


class _Watch:
    """What is remembered of a move while it is watched."""

    def __init__(self, began_seconds: float) -> None:
        self.began_seconds, self.grew_seconds = began_seconds, began_seconds
        self.bytes_sent, self.throttle_ratio = 0, 0.0
        self.switched = False
        self.asked_seconds: float | None = None
        """When it was asked to stop."""
        self.why = ""

    def look(self, seen: Progress, now: float) -> Progress:
        """Take in how far it is; the throttle is the highest there was."""
        if seen.bytes_sent > self.bytes_sent:
            self.bytes_sent, self.grew_seconds = seen.bytes_sent, now
        self.throttle_ratio = max(self.throttle_ratio, seen.throttle_ratio)
        return replace(seen, throttle_ratio=self.throttle_ratio)

    def wrong(self, now: float, order: MoveOrder, *, is_stopped: bool) -> str:
        """Say why it is to be stopped; nothing where it is not."""
        if is_stopped:
            return STOPPED
        if now - self.grew_seconds > order.stall_seconds_max:
            return f"nothing went over for {order.stall_seconds_max:g} s"
        if now - self.began_seconds > order.seconds_max:
            return f"it was not over after {order.seconds_max:g} s"
        return ""

    def end(self, seen: Progress) -> Progress:
        """Return how it ended: what we stopped ourselves, other than on request, failed."""
        if seen.phase is MovePhase.SUCCEEDED or not self.why:
            return seen
        phase = MovePhase.ABORTED if self.why == STOPPED else MovePhase.FAILED
        return replace(seen, phase=phase, reason=self.why)


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


def _require_unnoted(note: Note, name: str) -> None:
    """Refuse to move a VM of which a mover that died left something.

    Raises:
        Refusal: it did.

    """
    if note.read() is not None:
        raise refusal(
            Because.NOT_NOW,
            f"a move of VM {name} was never finished; 'tidegate migrate --reconcile' puts that right first",
        )


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
