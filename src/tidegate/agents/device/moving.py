"""Drives migrations, a step at a time, on the card that an application leaves.

Each step begins at a phase that is written down and ends at the next, so it does not matter where this
program was killed: it looks at the phase and does the step again, and the other card does each thing once
for each epoch.

    PENDING -> PREPARING -> SWITCHING -> SUCCEEDED
                   |            |
                   +------------+--(stop)--> ABORTED, FAILED: it serves here
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from tidegate.agents.device.card import SECOND
from tidegate.agents.device.handouts import Handout, Handouts
from tidegate.agents.device.lifecycle import GRACE_SECONDS, end
from tidegate.agents.device.records import Gone, MigrationPhase, Strategy
from tidegate.agents.device.sizing import most
from tidegate.model.application import ApplicationState
from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Because, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.agents.device.card import Card
    from tidegate.agents.device.peers import Peer
    from tidegate.agents.device.records import Application, Migration

UNKNOWN: Final = frozenset({Because.UNREACHABLE, Because.TOO_LATE})
"""Refusals after which nobody knows whether it was done."""
SETTLED: Final = frozenset(
    {Because.NOT_NOW, Because.NOT_FOUND, Because.NOT_ALLOWED, Because.INVALID, Because.UNSUPPORTED}
)
"""Refusals that would come again: what they are about is no more this card's to clean up."""
PREPARE_TRIES_MAX: Final = 5
"""A target that doesn't answer so often takes nothing in; the application serves here all the while."""
ACTIVATE_TRIES_MAX: Final = 3
"""Times a target may say that it can't take the state in before it is taken back."""
EXPORT_TRIES_MAX: Final = 3
SETTLE_NANOSECONDS: Final = 2 * SECOND
"""How long a standby runs before anything relies on it: what can't have its port has ended by then."""
SWITCHED: Final = (MigrationPhase.PREPARING, MigrationPhase.SWITCHING)
RETRY_FIRST_NANOSECONDS: Final = SECOND // 2
RETRY_MAX_NANOSECONDS: Final = 60 * SECOND


@dataclass(slots=True)
class _Tries:
    """How often a step was tried since this program started; nothing depends on more."""

    count: int = 0
    refused: int = 0
    due_nanoseconds: int = 0


@dataclass(slots=True)
class Moving:
    """Drives all migrations of a card."""

    card: Card
    peer: Callable[[str, str], Peer]
    """Makes the other card of a name and an address."""
    handouts: Handouts = field(default_factory=Handouts)
    carried: Callable[[str, str, int], None] = lambda _card, _application, _sent: None
    """Told the bytes of each piece of a state that goes to another card."""
    _tries: dict[str, _Tries] = field(default_factory=dict)

    def recover(self) -> None:
        """Forget the states of moves that have ended."""
        with self.card.lock:
            going = [one.id for one in self.card.migrations.values() if not one.ended]
        self.handouts.drop_all_but(going)

    def due(self) -> list[str]:
        """Return the migrations whose next step may be taken now."""
        now = self.card.now()
        with self.card.lock:
            return [
                one.id
                for one in self.card.migrations.values()
                if (not one.ended or one.leftover)
                and (one.id not in self._tries or self._tries[one.id].due_nanoseconds <= now)
            ]

    def hurry(self, identifier: str) -> None:
        """Let a migration's next step be due at once, as when it is to be stopped."""
        with self.card.lock:
            if identifier in self._tries:
                self._tries[identifier].due_nanoseconds = 0

    def step(self, identifier: str) -> None:
        """Take a migration's next step; one that fails is tried again later, less and less often."""
        with self.card.alone_if_free(f"migration {identifier}") as free:
            if not free:
                return
            with self.card.lock:
                one = self.card.migrations.get(identifier)
            if one is None:
                return
            try:
                self._step(one)
            except TidegateError as error:
                self._again(identifier, str(error))

    def _step(self, one: Migration) -> None:
        if one.ended:
            self._clean(one)
        elif one.phase is MigrationPhase.PENDING:
            self._write(one.id, phase=MigrationPhase.PREPARING)
        elif one.phase is MigrationPhase.PREPARING:
            self._prepare(one)
        else:
            with self.card.alone(one.application):
                self._switch(one)
        with self.card.lock:
            after = self.card.migrations.get(one.id)
        if after is None or after.phase is not one.phase or after.leftover != one.leftover:
            self._tries.pop(one.id, None)
        if after is not None and (one.phase, after.phase) == SWITCHED:
            self._step(after)  # it serves no more: nothing waits for another turn

    # --- It serves here still -----------------------------------------------------------------

    def _prepare(self, one: Migration) -> None:
        card = self.card
        if one.stop:
            phase = MigrationPhase.ABORTED if one.by_request else MigrationPhase.FAILED
            self._ended_here(one, phase, one.stop)
            return
        with card.lock:
            application = card.application(one.application)
        # Who was held down on a full card begins where it goes with what it asked for at first, at least.
        spec = replace(application.spec, amounts=most(application.spec.amounts, application.amounts))
        peer = self._peer(one)
        try:
            if not one.prepared_nanoseconds:
                addresses = peer.prepare(one.application, spec, epoch=one.epoch, move=one.id)
                self._write(one.id, prepared_nanoseconds=card.now(), addresses=addresses)
                return
            if one.strategy is Strategy.HANDOFF:
                settled = one.prepared_nanoseconds + SETTLE_NANOSECONDS
                if card.now() < settled:
                    self._tries_of(one).due_nanoseconds = settled
                    return
                standby = peer.standing(one.application, epoch=one.epoch)
                now = card.now()
                trouble = standby.trouble_after((now - one.prepared_nanoseconds) / SECOND, one.target)
                if trouble:
                    self._ended_here(one, MigrationPhase.FAILED, trouble)
                    return
                if not standby.listens:  # who let go now would leave its clients with nobody
                    self._tries_of(one).due_nanoseconds = now + RETRY_FIRST_NANOSECONDS
                    return
        except Refusal as refusal:
            if refusal.because in UNKNOWN and self._tries_of(one).count + 1 < PREPARE_TRIES_MAX:
                raise
            self._ended_here(one, MigrationPhase.FAILED, str(refusal))
            return
        self._release(one)

    def _release(self, one: Migration) -> None:
        """Write down that it is about to serve no more here."""
        card = self.card
        with card.alone(one.application), card.lock:
            now, application = card.migration(one.id), card.application(one.application)
            if not now.stop and application.state is not ApplicationState.RUNNING:
                now = replace(now, stop=f"the application is {application.state.name.lower()}")
            if now.stop:
                card.write(now)
                return
            settings, releasing = card.renewed(
                replace(application, wanted=ApplicationState.RELEASING), holds=False
            )
            now = replace(now, phase=MigrationPhase.SWITCHING, why="", switched_nanoseconds=card.now())
            card.write(settings, releasing, now)

    def _ended_here(self, one: Migration, phase: MigrationPhase, why: str) -> None:
        """End a migration whose application serves here; what the target may have is cleaned up later."""
        card = self.card
        with card.alone(one.application), card.lock:
            application = card.application(one.application)
            settings, kept = card.renewed(replace(application, migration=""), holds=False)
            ended = replace(
                card.migration(one.id),
                phase=phase,
                stop=why,
                why=why,
                leftover=True,
                ended_nanoseconds=card.now(),
            )
            card.write(settings, kept, ended)

    def _clean(self, one: Migration) -> None:
        """Have the target drop a standby that nobody will wake."""
        try:
            self._peer(one).withdraw(one.application, epoch=one.epoch)
        except Refusal as refusal:
            if refusal.because not in SETTLED:
                raise
        self._write(one.id, leftover=False)

    # --- It serves nowhere --------------------------------------------------------------------

    def _switch(self, one: Migration) -> None:
        with self.card.lock:
            one = self.card.migration(one.id)
        if one.stop:
            self._take_back(one)
            return
        handout = None
        try:
            if one.strategy is Strategy.HANDOFF:
                handout = self._handout(one)
            else:
                self.card.runtime.stop(one.application, grace_seconds=GRACE_SECONDS)
        except TidegateError as error:
            tries = self._tries_of(one)
            tries.refused += 1
            if tries.refused >= EXPORT_TRIES_MAX:
                self._write(one.id, stop=f"it does not hand its state out: {error}")
                return
            raise Refusal(Because.BROKEN, f"it does not hand its state out: {error}") from error
        if handout is not None and handout.size_bytes != one.bytes_total:
            one = self._write(one.id, bytes_total=handout.size_bytes)
        self._send(one, handout)

    def _handout(self, one: Migration) -> Handout:
        found = self.handouts.find(one.id)
        if found is not None:
            return found
        runtime = self.card.runtime
        return self.handouts.keep(one.id, lambda: runtime.export_state(one.application, one.addresses))

    def _send(self, one: Migration, handout: Handout | None) -> None:
        state = () if handout is None else handout.chunks(self._counting(one))
        try:
            self._peer(one).activate(
                one.application,
                epoch=one.epoch,
                state=state,
                state_bytes=0 if handout is None else handout.size_bytes,
                afresh=handout is None,
            )
        except Refusal as refusal:
            if refusal.because not in UNKNOWN:
                tries = self._tries_of(one)
                tries.refused += 1
                if refusal.because is Because.NOT_FOUND or tries.refused >= ACTIVATE_TRIES_MAX:
                    self._write(one.id, stop=str(refusal))
                    return
            raise
        self._gone(one)

    def _gone(self, one: Migration) -> None:
        """Write down that it serves elsewhere, and end its program here."""
        card = self.card
        with card.lock:
            application = card.application(one.application)
            settings, _ = card.renewed(application)
            now = card.now()
            seen = replace(
                card.epochs_of(one.application),
                epoch=one.epoch,
                closed=one.epoch,
                moved_to=one.target,
                at_nanoseconds=now,
            )
            done = replace(
                card.migration(one.id),
                phase=MigrationPhase.SUCCEEDED,
                stop="",
                why="",
                bytes_moved=one.bytes_total,
                pause_nanoseconds=max(now - one.switched_nanoseconds, 0),
                ended_nanoseconds=now,
            )
            card.write(settings, Gone(application=one.application), seen, done)
        self.handouts.drop(one.id)
        end(card, one.application, GRACE_SECONDS, told=False)

    # --- Back again ---------------------------------------------------------------------------

    def _take_back(self, one: Migration) -> None:
        """Have the target drop its standby first; only then let the application serve here again."""
        try:
            self._peer(one).withdraw(one.application, epoch=one.epoch)
        except Refusal as refusal:
            if refusal.because is not Because.NOT_NOW:
                raise
            # Too late: it serves there, or may. Send again; that ends it one way or the other.
            self._write(one.id, stop="", by_request=False, why=f"it can't be taken back: {refusal}")
            return
        lost = self._serve_again(one)
        card = self.card
        with card.lock:
            application = card.application(one.application)
            settings, back = card.renewed(
                replace(application, wanted=ApplicationState.RUNNING, migration=""), holds=False
            )
            now = card.now()
            ended = replace(
                card.migration(one.id),
                phase=MigrationPhase.ABORTED if one.by_request else MigrationPhase.FAILED,
                why=one.stop + lost,
                pause_nanoseconds=max(now - one.switched_nanoseconds, 0),
                ended_nanoseconds=now,
            )
            card.write(settings, back, ended)
        self.handouts.drop(one.id)

    def _serve_again(self, one: Migration) -> str:
        """Have the application serve here; return what is to be said of a state that is lost."""
        card = self.card
        application = card.application(one.application)
        try:
            runs = {running.name: running for running in card.runtime.found()}.get(one.application)
            if one.strategy is not Strategy.HANDOFF:
                if runs is None:
                    self._start(application, standby=False)
                return ""
            handout = self.handouts.find(one.id)
            if handout is None and runs is not None and not runs.standby:
                handout = self._handout(one)
            if handout is None:
                if runs is not None:
                    card.runtime.stop(one.application, grace_seconds=GRACE_SECONDS)
                self._start(application, standby=False)
                return "; its program had ended, and its state with it"
            if runs is None:
                self._start(application, standby=True)
            card.runtime.import_state(one.application, handout.chunks(), state_bytes=handout.size_bytes)
        except TidegateError as error:
            raise Refusal(
                Because.BROKEN, f"application {one.application} does not take its state back: {error}"
            ) from error
        return ""

    def _start(self, application: Application, *, standby: bool) -> None:
        spec = replace(application.spec, amounts=application.amounts)
        self.card.runtime.start(application.name, spec, epoch=application.epoch, standby=standby)

    # --- Small things -------------------------------------------------------------------------

    def _tries_of(self, one: Migration) -> _Tries:
        return self._tries.setdefault(one.id, _Tries())

    def _peer(self, one: Migration) -> Peer:
        return self.peer(one.target, one.target_address)

    def _write(self, identifier: str, **changes: object) -> Migration:
        """Write down what changes in a migration; what was asked of it meanwhile stays."""
        with self.card.lock:
            one = replace(self.card.migration(identifier), **changes)  # type: ignore[arg-type] # its own fields
            self.card.write(one)
            return one

    def _counting(self, one: Migration) -> Callable[[int], None]:
        """Return what is told how much went over so far, each time anew."""
        before = 0

        def moved(total: int) -> None:
            nonlocal before
            self.carried(one.target, one.application, total - before)
            before = total
            self._moved(one.id, total)

        return moved

    def _moved(self, identifier: str, moved: int) -> None:
        """Note how much went over, for those who watch; it is not worth a write."""
        with self.card.lock:
            one = self.card.migrations.get(identifier)
            if one is not None:
                self.card.migrations[identifier] = replace(one, bytes_moved=moved)
                self.card.changed.notify_all()

    def _again(self, identifier: str, why: str) -> None:
        """Say what a migration waits for, and when it is tried again."""
        with self.card.lock:
            tries = self._tries.setdefault(identifier, _Tries())
            waits = RETRY_FIRST_NANOSECONDS << min(tries.count, 10)
            tries.count += 1
            tries.due_nanoseconds = self.card.now() + min(waits, RETRY_MAX_NANOSECONDS)
            one = self.card.migrations.get(identifier)
            if one is not None and not one.ended:
                self.card.migrations[identifier] = replace(one, why=why)
                self.card.changed.notify_all()


__all__ = ["Moving"]
