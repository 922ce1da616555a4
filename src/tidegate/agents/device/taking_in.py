"""The card that an application moves to: it keeps a standby, takes the state in, and owns it from then on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tidegate.agents.device.lifecycle import GRACE_SECONDS, end, run
from tidegate.agents.device.records import Gone
from tidegate.model.application import ApplicationState
from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Because, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidegate.agents.device.card import Card
    from tidegate.agents.device.records import Application

    State = Iterable[bytes]


@dataclass(frozen=True, slots=True)
class TakingIn:
    """What another card can ask once its application waits here."""

    card: Card

    def activate(
        self,
        name: str,
        *,
        epoch: int,
        state: State = (),
        state_bytes: int = 0,
        afresh: bool = False,
        asked_by: str | None = None,
    ) -> int:
        """Take a state in and serve; done once for each epoch. Return the nanoseconds that took.

        ``asked_by`` is the card that asks, None where nobody checks. Before its program gets the state it is
        written down that it may serve, since nobody can tell after a crash in between: from there on it can't
        be withdrawn. The line that it runs is the one with which its owner changes.

        Raises:
            Refusal: it does not wait here with that epoch, or could not take the state in.

        """
        card = self.card
        with card.alone(name):
            with card.lock:
                if card.epochs_of(name).served >= epoch:
                    return 0
                one = card.application(name)
                self._require_waiting(one, epoch, asked_by)
                settings, one = card.renewed(replace(one, taking=True))
                card.write(settings, one)
            began = card.now()
            try:
                self._serve(one, state, state_bytes, afresh=afresh)
            except TidegateError as error:
                if not self._serves_all_the_same(one):
                    raise Refusal(
                        Because.BROKEN, f"application {name} does not take its state in: {error}"
                    ) from error
            with card.lock:
                one = card.application(name)
                seen = card.epochs_of(name)
                running = replace(one, wanted=ApplicationState.RUNNING, taking=False, owner="")
                settings, running = card.renewed(running)
                card.write(settings, running, replace(seen, served=epoch))
            return max(card.now() - began, 0)

    def withdraw(self, name: str, *, epoch: int, asked_by: str | None = None) -> None:
        """Drop a standby, and take that epoch in never again.

        Raises:
            Refusal: it may serve here with that epoch.

        """
        card = self.card
        with card.alone(name):
            with card.lock:
                seen = card.epochs_of(name)
                one = card.applications.get(name)
                here = one is not None and one.epoch == epoch
                if seen.served >= epoch or (here and one is not None and one.taking):
                    raise Refusal(
                        Because.NOT_NOW,
                        f"application {name} serves on card {card.name} with epoch {epoch}, or is about to; "
                        "it can't be withdrawn",
                    )
                if here and one is not None:
                    self._require_owner(one, asked_by)
                closed = replace(
                    seen,
                    epoch=max(seen.epoch, epoch),
                    closed=max(seen.closed, epoch),
                    at_nanoseconds=card.now(),
                )
                if not here or one is None:
                    card.write(closed)
                    return
                settings, _ = card.renewed(one)
                card.write(settings, closed, Gone(application=name))
            end(card, name, 0.0, told=False)

    def _require_waiting(self, one: Application, epoch: int, asked_by: str | None) -> None:
        if one.epoch != epoch or one.wanted is not ApplicationState.STANDBY:
            raise Refusal(
                Because.NOT_NOW,
                f"application {one.name} on card {self.card.name} is {one.state.name.lower()} with epoch "
                f"{one.epoch}; nothing waits here with epoch {epoch}",
                field="header.epoch",
                limit=one.epoch,
            )
        self._require_owner(one, asked_by)

    def _require_owner(self, one: Application, asked_by: str | None) -> None:
        if asked_by is not None and asked_by != one.owner:
            raise Refusal(
                Because.NOT_ALLOWED,
                f"application {one.name} comes from card {one.owner}; only that card may hand its state "
                f"over, not {asked_by}",
            )

    def _serve(self, one: Application, state: State, state_bytes: int, *, afresh: bool) -> None:
        card = self.card
        if not one.spec.hands_off or afresh:
            # Asked again after it had begun to serve: it goes on as it is.
            running = {found.name: found for found in card.runtime.found()}.get(one.name)
            if running is not None and running.standby:
                card.runtime.stop(one.name, grace_seconds=0.0)
                running = None
            if running is None:
                spec = replace(one.spec, amounts=one.amounts)
                card.runtime.start(one.name, spec, epoch=one.epoch, standby=False)
            return
        card.runtime.import_state(one.name, state, state_bytes=state_bytes)

    def _serves_all_the_same(self, one: Application) -> bool:
        """Find out what became of a failure: it serves, or else a new program of it waits as before.

        Where neither is sure it stays written down that it may serve, and the state has to come again.
        """
        card = self.card
        try:
            running = {found.name: found for found in card.runtime.found()}.get(one.name)
            if running is not None and not running.standby:
                return True
            # It may have taken the state in all the same, and just not said so.
            card.runtime.stop(one.name, grace_seconds=GRACE_SECONDS)
        except TidegateError:
            return False
        with card.lock:
            settings, waiting = card.renewed(replace(one, taking=False))
            card.write(settings, waiting)
        if waiting.runs:
            run(card, waiting)
        return False


__all__ = ["TakingIn"]
