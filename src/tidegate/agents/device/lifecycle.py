"""Takes applications in, starts, stops, changes and removes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tidegate.agents.device.card import APPLICATIONS_MAX
from tidegate.agents.device.records import Answer, Application, Gone, Settings, Unanswered
from tidegate.model.application import (
    Amounts,
    ApplicationSpec,
    ApplicationState,
    checked_name,
)
from tidegate.model.errors import InputError, TidegateError
from tidegate.model.refusals import Because, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.agents.device.card import Card
    from tidegate.agents.device.records import Request

GRACE_SECONDS: Final = 10.0
"""How long a program may take to end by itself, where nobody said."""


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What can be asked of applications, but for their amounts and their card."""

    card: Card

    def create(
        self,
        name: str,
        spec: ApplicationSpec,
        *,
        epoch: int = 0,
        start_as: ApplicationState = ApplicationState.RUNNING,
        owner: str = "",
        validate_only: bool = False,
        request: Request | None = None,
    ) -> Application:
        """Take an application in, and start it unless told otherwise; ``owner`` is the card it comes from.

        Raises:
            Refusal: it can't be taken in, or does not start; it is not here then.

        """
        card = self.card
        with card.alone(name):
            before = card.answered(request, Application)
            if before is not None:
                return before
            with card.lock:
                new = self._new(name, spec, epoch, start_as, owner)
                if validate_only:
                    return new
                settings, new = card.renewed(new)
                seen = card.epochs_of(name)
                seen = replace(seen, epoch=max(seen.epoch, epoch), moved_to="", at_nanoseconds=card.now())
                if start_as is not ApplicationState.STANDBY:
                    seen = replace(seen, served=max(seen.served, epoch))
                card.write(settings, new, seen, *card.answer(request, new))
            if not new.runs:
                return new
            try:
                return run(card, new, *_kept(card, request))
            except Refusal:
                card.write_found(Gone(application=name), *_unanswered(request))
                raise

    def _new(
        self, name: str, spec: ApplicationSpec, epoch: int, start_as: ApplicationState, owner: str
    ) -> Application:
        """Return the application as it would be, or refuse it."""
        card = self.card
        try:
            checked_name("an application", name)
        except InputError as error:
            raise Refusal(Because.INVALID, f"application_id: {error}") from error
        if start_as not in {ApplicationState.RUNNING, ApplicationState.STANDBY, ApplicationState.STOPPED}:
            raise Refusal(
                Because.INVALID,
                f"start_as: nothing is started as {start_as.name}; say running or stopped",
            )
        if name in card.applications:
            raise Refusal(Because.EXISTS, f"card {card.name} has an application {name} already")
        self._require_epoch(name, epoch)
        if card.settings.draining:
            raise Refusal(
                Because.NOT_NOW,
                f"card {card.name} is draining and takes nothing new; resume it first",
            )
        if len(card.applications) >= APPLICATIONS_MAX:
            raise Refusal(
                Because.NO_ROOM,
                f"card {card.name} has {APPLICATIONS_MAX} applications, which is the most",
            )
        for one in card.applications.values():
            shared = set(one.spec.ports) & set(spec.ports)
            if shared:
                raise Refusal(
                    Because.NOT_NOW,
                    f"port {min(shared)} is application {one.name}'s on card {card.name}",
                )
        amounts = Amounts(**spec.floor.known() | spec.amounts.known())  # type: ignore[arg-type] # fields' own
        new = Application(
            name=name,
            spec=spec,
            epoch=epoch,
            wanted=start_as,
            amounts=amounts,
            safe=amounts,
            owner=owner if start_as is ApplicationState.STANDBY else "",
            budget_told_nanoseconds=card.now(),
        )
        card.require_room(new)
        return new

    def _require_epoch(self, name: str, epoch: int) -> None:
        if epoch < 0:
            raise Refusal(Because.INVALID, f"epoch: {epoch} is below 0")
        seen = self.card.epochs_of(name)
        least = max(seen.epoch, seen.closed + 1)
        if epoch < least:
            where = f"; it moved to card {seen.moved_to}" if seen.moved_to else ""
            raise Refusal(
                Because.NOT_NOW,
                f"epoch {epoch} of application {name} is over on card {self.card.name}, "
                f"which takes it in from epoch {least} on{where}",
                field="epoch",
                limit=least,
            )

    def start(self, name: str, *, request: Request | None = None) -> Application:
        """Start a stopped application, or one that failed.

        Raises:
            Refusal: it is on the move, or does not start; it has failed then.

        """
        card = self.card
        with card.alone(name):
            before = card.answered(request, Application)
            if before is not None:
                return before
            with card.lock:
                now = card.application(name)
                card.require_settled(now)
                if now.state is ApplicationState.RUNNING:
                    return now
                seen = card.epochs_of(name)
                wanted = replace(
                    now, wanted=ApplicationState.RUNNING, failure="", restarts=0, restarted_nanoseconds=()
                )
                settings, wanted = card.renewed(wanted)
                served = replace(seen, served=max(seen.served, now.epoch))
                card.write(settings, wanted, served, *card.answer(request, wanted))
            try:
                return run(card, wanted, *_kept(card, request))
            except Refusal as refusal:
                fail(card, wanted, str(refusal))
                card.write_found(*_unanswered(request))
                raise

    def stop(
        self, name: str, *, grace_seconds: float = GRACE_SECONDS, request: Request | None = None
    ) -> Application:
        """Stop an application; what it holds stays its own.

        Raises:
            Refusal: it is on the move, or does not end; it is tried again then.

        """
        card = self.card
        with card.alone(name):
            before = card.answered(request, Application)
            if before is not None:
                return before
            with card.lock:
                now = card.application(name)
                card.require_settled(now)
                if now.wanted is ApplicationState.STOPPED:
                    return now
                wanted = replace(now, wanted=ApplicationState.STOPPED, failure="", held=Amounts())
                settings, wanted = card.renewed(wanted)
                card.write(settings, wanted, *card.answer(request, wanted))
            end(card, name, grace_seconds)
            return wanted

    def delete(
        self,
        name: str,
        *,
        etag: str = "",
        epoch: int = 0,
        allow_missing: bool = False,
        request: Request | None = None,
    ) -> None:
        """Stop an application and forget it, but for its epoch.

        Raises:
            Refusal: there is none, it is another one than meant, or it is on the move.

        """
        card = self.card
        with card.alone(name):
            if card.answered(request, Settings) is not None:
                return
            with card.lock:
                if name not in card.applications and allow_missing:
                    return
                now = card.application(name)
                card.require_fresh(now, etag)
                if epoch and epoch != now.epoch:
                    raise Refusal(
                        Because.NOT_NOW,
                        f"application {name} has epoch {now.epoch}, not {epoch}; nothing was deleted",
                    )
                card.require_settled(now)
                settings, _ = card.renewed(now)
                card.write(settings, Gone(application=name), *card.answer(request, settings))
            end(card, name, GRACE_SECONDS)

    def update(
        self,
        name: str,
        change: Callable[[ApplicationSpec], ApplicationSpec],
        *,
        etag: str = "",
        validate_only: bool = False,
        tells_budget: bool = False,
        request: Request | None = None,
    ) -> Application:
        """Change what is wanted of an application, but for its amounts.

        ``change`` returns the new spec; the old one's amounts are what it holds now. Where it only
        ``tells_budget`` again, its etag stays.

        Raises:
            InputError: what it holds lies outside its new floor or ceiling.
            Refusal: the etag is stale, or it is on the move.

        """
        card = self.card
        with card.alone(name):
            before = card.answered(request, Application)
            if before is not None:
                return before
            with card.lock:
                now = card.application(name)
                card.require_fresh(now, etag)
                card.require_settled(now)
                new = replace(now, spec=change(replace(now.spec, amounts=now.amounts)))
                if tells_budget:
                    new = replace(new, budget_told_nanoseconds=card.now())
                card.require_room(new)
                if validate_only:
                    return new
                if tells_budget and replace(new.spec, amounts=now.spec.amounts) == now.spec:
                    new = replace(new, spec=now.spec)
                    card.write(new, *card.answer(request, new))
                    return new
                settings, new = card.renewed(new)
                card.write(settings, new, *card.answer(request, new))
                return new


def set_draining(
    card: Card,
    *,
    draining: bool,
    etag: str = "",
    validate_only: bool = False,
    request: Request | None = None,
) -> Settings:
    """Take a card out of service or into it.

    Raises:
        Refusal: the etag is stale.

    """
    with card.lock:
        before = card.answered(request, Settings)
        if before is not None:
            return before
        now = card.settings
        if etag and etag != str(now.draining_revision):
            raise Refusal(
                Because.STALE,
                f"etag {etag!r} of card {card.name} is stale, it is '{now.draining_revision}' now; "
                "read it again",
            )
        revision = now.revision + 1
        new = replace(now, draining=draining, draining_revision=revision, revision=revision)
        if draining == now.draining:
            new = now
        if not validate_only:
            card.write(new, *card.answer(request, new))
        return new


def run(card: Card, application: Application, *answers: Answer) -> Application:
    """Start the program of an application that is wanted to run, and note what it holds.

    Raises:
        Refusal: it does not start; a program half started was ended.

    """
    standby = application.wanted is ApplicationState.STANDBY
    spec = replace(application.spec, amounts=application.amounts)
    try:
        running = card.runtime.start(application.name, spec, epoch=application.epoch, standby=standby)
    except TidegateError as error:
        end(card, application.name, 0.0, told=False)
        kind = Because.NOT_NOW if isinstance(error, InputError) else Because.BROKEN
        raise Refusal(kind, f"application {application.name} does not start: {error}") from error
    with card.lock:
        settings, started = card.renewed(replace(application, held=running.held))
        told = [replace(answer, said=started) for answer in answers]
        card.write_found(settings, started, *told)
        return started


def fail(card: Card, application: Application, why: str) -> None:
    """Note that an application is not started again."""
    with card.lock:
        settings, failed = card.renewed(replace(application, failure=why, held=Amounts()))
        card.write_found(settings, failed)


def end(card: Card, name: str, grace_seconds: float, *, told: bool = True) -> None:
    """End a program.

    Raises:
        Refusal: it does not end, unless ``told`` is false; whoever tends the card tries again.

    """
    try:
        card.runtime.stop(name, grace_seconds=grace_seconds)
    except TidegateError as error:
        if told:
            raise Refusal(
                Because.BROKEN, f"application {name} does not end: {error}; it will be tried again"
            ) from error


def _kept(card: Card, request: Request | None) -> tuple[Answer, ...]:
    """Return the place of an answer, to be filled when it is known."""
    return () if request is None else (Answer(request=request, said=None, at_nanoseconds=card.now()),)


def _unanswered(request: Request | None) -> tuple[Unanswered, ...]:
    return () if request is None else (Unanswered(request=request),)


__all__ = ["GRACE_SECONDS", "Lifecycle", "end", "fail", "run", "set_draining"]
