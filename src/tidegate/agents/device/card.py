"""The card itself: the only writer of what is wanted here, in memory as in its store.

An operation holds its application alone from beginning to end, and the lock of the whole card only while it
looks and writes, never while a program is started, stopped or sized. What is wanted is written first, then
done, then what came of it is written; room is counted on what is wanted, so that two who come together
can't both have the last of it.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakValueDictionary

from tidegate.agents.device import tables
from tidegate.agents.device.records import (
    Adjustment,
    Answer,
    Application,
    Gone,
    Migration,
    Profile,
    Request,
    Seen,
    Settings,
    Unwatched,
)
from tidegate.agents.device.room import require_room
from tidegate.model.application import ApplicationState, checked_name
from tidegate.model.refusals import Because, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tidegate.agents.device.records import Change
    from tidegate.agents.device.room import Room
    from tidegate.agents.device.store import Store
    from tidegate.ports import CardRuntime

APPLICATIONS_MAX: Final = 1000
"""On one card."""
OWED_MAX: Final = 10_000
"""Changes made that could not be written down yet; beyond, the oldest are found in the kernel at a start."""
SECOND: Final = 10**9

Said = TypeVar("Said", Adjustment, Application, Migration, Profile, Settings)


class _Alone:
    """A lock that is forgotten when nobody holds it."""

    __slots__ = ("__weakref__", "lock")

    def __init__(self) -> None:
        self.lock = threading.RLock()


class Card:
    """What a card has, knows and is to do."""

    def __init__(
        self,
        name: str,
        *,
        store: Store,
        runtime: CardRuntime,
        room: Room,
        now: Callable[[], int],
        new_id: Callable[[], str],
        host: str = "localhost",
    ) -> None:
        """Read what was written; ``now`` tells nanoseconds since 1970 UTC, ``host`` is where ports serve.

        Raises:
            InputError: the name can't be one.
            TidegateError: the store is damaged, or another card's.

        """
        self.name = checked_name("a card", name)
        self.store = store
        self.runtime = runtime
        self.room = room
        self.now = now
        self.new_id = new_id
        self.host = host
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        """Told after every change."""
        self._alone: WeakValueDictionary[str, _Alone] = WeakValueDictionary()
        self._owed: list[Change] = []
        self.applications = {one.name: one for one in store.read(tables.applications, Application)}
        self.seen = {one.name: one for one in store.read(tables.seen, Seen)}
        self.migrations = {one.id: one for one in store.read(tables.migrations, Migration)}
        self.profiles = {one.application: one for one in store.read(tables.profiles, Profile)}
        self.settings = self._own_settings()

    def _own_settings(self) -> Settings:
        """Count a start, which is the epoch of this device's orders."""
        known = self.store.read(tables.settings, Settings)
        if known and known[0].card != self.name:
            raise Refusal(
                Because.NOT_NOW,
                f"this is the store of card {known[0].card}, not of {self.name}; name another with --state",
            )
        before = known[0] if known else Settings(card=self.name)
        settings = replace(before, starts=before.starts + 1)
        self.store.write([settings])
        return settings

    # --- Looking ------------------------------------------------------------------------------

    def application(self, name: str) -> Application:
        """Return an application.

        Raises:
            Refusal: there is none of that name.

        """
        with self.lock:
            found = self.applications.get(name)
            if found is None:
                seen = self.seen.get(name)
                moved = f"; it moved to card {seen.moved_to}" if seen is not None and seen.moved_to else ""
                raise Refusal(Because.NOT_FOUND, f"card {self.name} has no application {name}{moved}")
            return found

    def migration(self, identifier: str) -> Migration:
        """Return a migration.

        Raises:
            Refusal: it is not known.

        """
        with self.lock:
            found = self.migrations.get(identifier)
            if found is None:
                raise Refusal(Because.NOT_FOUND, f"card {self.name} knows no migration {identifier}")
            return found

    def epochs_of(self, name: str) -> Seen:
        """Return what is known of a name's epochs."""
        with self.lock:
            return self.seen.get(name) or Seen(name=name)

    def addresses(self, application: Application) -> tuple[str, ...]:
        """Return where an application serves."""
        return tuple(f"{self.host}:{port}" for port in application.spec.ports)

    # --- Writing ------------------------------------------------------------------------------

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Hold an application from the beginning of an operation to its end."""
        with self.lock:
            mine = self._alone.setdefault(name, _Alone())
        with mine.lock:
            yield

    @contextmanager
    def alone_if_free(self, name: str) -> Iterator[bool]:
        """Hold an application unless somebody does; the context says which."""
        with self.lock:
            mine = self._alone.setdefault(name, _Alone())
        got = mine.lock.acquire(blocking=False)
        try:
            yield got
        finally:
            if got:
                mine.lock.release()

    def write(self, *changes: Change) -> None:
        """Write changes down, then know them: all, or none where they can't be written.

        Raises:
            Refusal: they can't be written; nothing was changed.

        """
        with self.lock:
            self.store.write([*self._owed, *changes])
            self._owed.clear()
            self._know(changes)

    def write_found(self, *changes: Change) -> None:
        """Know what was done; it is written now, or as soon as there is room again.

        After a crash before that, it is found in the kernel.
        """
        with self.lock:
            try:
                self.write(*changes)
            except Refusal:
                self._owed = [*self._owed, *changes][-OWED_MAX:]
                self._know(changes)

    def write_owed(self) -> bool:
        """Write what could not be written before; return whether all is written."""
        with self.lock:
            if self._owed:
                try:
                    self.write()
                except Refusal:
                    return False
            return True

    def renewed(self, application: Application, *, holds: bool = True) -> tuple[Settings, Application]:
        """Return the card and an application with new revisions; ``holds``: what it holds changed."""
        revision = self.settings.revision + 1
        version = self.settings.state_version + holds
        settings = replace(self.settings, revision=revision, state_version=version)
        before = self.applications.get(application.name)
        turned = before is None or before.state is not application.state
        since = self.now() if turned else application.changed_nanoseconds
        return settings, replace(application, revision=revision, changed_nanoseconds=since)

    def _know(self, changes: Sequence[Change]) -> None:
        for change in changes:
            match change:
                case Settings():
                    self.settings = change
                case Application():
                    self.applications[change.name] = change
                case Gone(application=name):
                    self.applications.pop(name, None)
                    self.profiles.pop(name, None)
                case Seen():
                    self.seen[change.name] = change
                case Migration():
                    self.migrations[change.id] = change
                case Profile():
                    self.profiles[change.application] = change
                case Unwatched(application=name):
                    self.profiles.pop(name, None)
                case _:
                    pass
        self.changed.notify_all()

    # --- Requests that come twice -------------------------------------------------------------

    def answered(self, request: Request | None, kind: type[Said]) -> Said | None:
        """Return what a request was answered, None where it comes for the first time.

        Raises:
            Refusal: its identifier was used for something else.

        """
        if request is None:
            return None
        with self.lock:
            answer = self.store.answer(request)
        if answer is None:
            return None
        if answer.request.asked != request.asked or not isinstance(answer.said, kind):
            raise Refusal(
                Because.INVALID,
                f"request_id {request.id} was used for another request; draw a new one for each",
            )
        if isinstance(answer.said, Adjustment):
            # It was answered before it was done where this program was killed in between.
            now = self.store.adjustment(answer.said.id)
            return answer.said if now is None or not isinstance(now, kind) else now
        return answer.said

    def answer(self, request: Request | None, said: Said) -> tuple[Answer, ...]:
        """Return the change that keeps an answer; none where the request has no identifier."""
        if request is None:
            return ()
        return (Answer(request=request, said=said, at_nanoseconds=self.now()),)

    # --- What is refused everywhere -----------------------------------------------------------

    def require_fresh(self, application: Application, etag: str) -> None:
        """Refuse an etag that is stale.

        Raises:
            Refusal: the application has changed since it was read.

        """
        if etag and etag != application.etag:
            raise Refusal(
                Because.STALE,
                f"etag {etag!r} of application {application.name} is stale, it is {application.etag!r} now; "
                "read it again",
            )

    def require_settled(self, application: Application) -> None:
        """Refuse to touch who is on the move.

        Raises:
            Refusal: it is being moved from here, or waits here for its state.

        """
        if application.migration:
            raise Refusal(
                Because.NOT_NOW,
                f"application {application.name} is being moved by migration {application.migration}; "
                "wait for its end, or abort it",
            )
        if application.wanted is ApplicationState.STANDBY:
            raise Refusal(
                Because.NOT_NOW,
                f"application {application.name} waits here for its state from card {application.owner}; "
                "abort its migration there",
            )

    def require_room(self, wanted: Application) -> None:
        """Refuse who would hold more than is left.

        Raises:
            Refusal: there is too little, with how much of what.

        """
        require_room(self.room, self.applications, wanted)


__all__ = ["APPLICATIONS_MAX", "SECOND", "Card"]
