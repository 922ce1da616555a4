"""Keeps what is found on a card like what is wanted: at the start of a device, and every second after."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from tidegate.agents.device.card import SECOND
from tidegate.agents.device.lifecycle import GRACE_SECONDS, end, fail, run
from tidegate.agents.device.sizing import Sizing, differing, missing
from tidegate.model.application import ApplicationState, Restart
from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.agents.device.card import Card
    from tidegate.agents.device.records import Application
    from tidegate.model.application import Running

RESTARTS_PER_HOUR_MAX: Final = 10
BACK_OFF_FIRST_NANOSECONDS: Final = SECOND
BACK_OFF_MAX_NANOSECONDS: Final = 300 * SECOND
HOUR: Final = 3600 * SECOND
EXPIRED: Final = "its time to live is over: back to the last safe amounts"


@dataclass(slots=True)
class Tending:
    """Looks after a card."""

    card: Card
    sizing: Sizing = field(init=False)
    trouble: str = ""
    """Why the card could not be looked at the last time; empty where it could."""
    unwell: str = ""
    """What is wrong with one of its applications; the card itself may be well."""
    found: Mapping[str, Running] = field(default_factory=dict)
    """What ran when it was looked at last."""

    def __post_init__(self) -> None:
        """Size through the same card."""
        self.sizing = Sizing(self.card)

    def reconcile(self) -> None:
        """Take over what runs and is wanted, start what is missing, end what nobody wants.

        Raises:
            TidegateError: what runs can't be found out; nothing was touched.

        """
        found = {running.name: running for running in self.card.runtime.found()}
        for name in sorted({*self.card.applications, *found}):
            with self.card.alone(name):
                self._settle(name, found.get(name), first=True)
                self.sizing.recover(name)
        self.expire()

    def tend(self) -> None:
        """Do so again, within the limits for restarts; who is busy is left alone."""
        card = self.card
        written = card.write_owed()
        self.trouble, self.unwell = "" if written else "the store can't be written", ""
        try:
            found = {running.name: running for running in card.runtime.found()}
        except TidegateError as error:
            self.trouble = f"what runs can't be found out: {error}"
            return
        self.found = found
        with card.lock:
            names = sorted({*card.applications, *found})
        for name in names:
            with card.alone_if_free(name) as free:
                if free and not self._is_settled(name, found.get(name)):
                    # Somebody may have started or stopped it after the look: look again while nobody can.
                    self._look_again(name)
        self.expire()

    def expire(self) -> None:
        """Give back amounts whose time to live is over."""
        now = self.card.now()
        with self.card.lock:
            due = {
                one.name: frozenset(
                    res for res, until in one.temporary.items() if until.until_nanoseconds <= now
                )
                for one in self.card.applications.values()
                if one.temporary
            }
        for name, over in due.items():
            if over:
                self.sizing.fall_back(name, EXPIRED, only=over)

    def _is_settled(self, name: str, running: Running | None) -> bool:
        one = self.card.applications.get(name)
        if running is None:
            return one is None or not one.runs or one.wanted is ApplicationState.RELEASING
        return (
            one is not None
            and one.runs
            and running.epoch == one.epoch
            and running.held == one.held
            and not differing(one.amounts, running.held).known()
            and running.standby == (one.wanted is ApplicationState.STANDBY)
        )

    def _look_again(self, name: str) -> None:
        try:
            found = {running.name: running for running in self.card.runtime.found()}
        except TidegateError as error:
            self.trouble = f"what runs can't be found out: {error}"
            return
        self._settle(name, found.get(name), first=False)

    def _settle(self, name: str, running: Running | None, *, first: bool) -> None:
        """Make one application what it should be, as far as that goes now."""
        one = self.card.applications.get(name)
        if running is not None and (one is None or not self._may_run(one, running)):
            end(self.card, name, GRACE_SECONDS, told=False)
            running = None
        if one is None:
            return
        try:
            if running is not None:
                self._take_over(one, running, first=first)
            elif one.taking:
                # Its program is gone, and with it what it may have taken in: it waits again.
                settings, one = self.card.renewed(replace(one, taking=False))
                self.card.write(settings, one)
            if running is None and one.runs and one.wanted is not ApplicationState.RELEASING:
                self._start_again(one, first=first)
        except Refusal as refusal:
            self.trouble = str(refusal)

    @staticmethod
    def _may_run(one: Application, running: Running) -> bool:
        """Whether what runs is what is wanted, or can still become it."""
        if running.epoch != one.epoch:
            return False
        if one.wanted is ApplicationState.STANDBY:
            return one.taking or (one.runs and running.standby)
        return one.runs and not running.standby

    def _take_over(self, one: Application, running: Running, *, first: bool) -> None:
        card = self.card
        if one.taking and not running.standby:
            # It serves: only the line that says so is missing.
            with card.lock:
                seen = card.epochs_of(one.name)
                settings, one = card.renewed(
                    replace(one, wanted=ApplicationState.RUNNING, taking=False, owner="")
                )
                card.write(settings, one, replace(seen, served=max(seen.served, one.epoch)))
        held = running.held
        wrong = differing(one.amounts, held)
        if first:
            # Limits of a change that was written down, and never set.
            wrong = wrong.over(missing(one.amounts, held))
        if wrong.known():
            try:
                held = card.runtime.adjust(one.name, wrong).over(held)
            except TidegateError as error:
                self.unwell = f"application {one.name} can't be sized: {error}"
        if held != one.held:
            with card.lock:
                settings, one = card.renewed(replace(one, held=held))
                card.write_found(settings, one)

    def _start_again(self, one: Application, *, first: bool) -> None:
        card = self.card
        if first:
            self._run(one)
            return
        now = card.now()
        lately = tuple(at for at in one.restarted_nanoseconds if now - at < HOUR)
        if one.spec.restart is Restart.NEVER:
            fail(card, one, "its program ended by itself, and is not to be started again")
            return
        if len(lately) >= RESTARTS_PER_HOUR_MAX:
            fail(card, one, f"its program ended {RESTARTS_PER_HOUR_MAX + 1} times within an hour")
            return
        if lately and now < lately[-1] + back_off_nanoseconds(len(lately)):
            return
        with card.lock:
            settings, again = card.renewed(
                replace(one, restarts=one.restarts + 1, restarted_nanoseconds=(*lately, now))
            )
            card.write_found(settings, again)
        self._run(again)

    def _run(self, one: Application) -> None:
        try:
            run(self.card, one)
        except Refusal as refusal:
            if one.spec.restart is Restart.NEVER:
                fail(self.card, one, str(refusal))
            else:
                self.unwell = str(refusal)


def back_off_nanoseconds(restarts: int) -> int:
    """Return how long to wait after so many restarts within an hour."""
    return min(BACK_OFF_FIRST_NANOSECONDS << (restarts - 1), BACK_OFF_MAX_NANOSECONDS)


__all__ = ["Tending", "back_off_nanoseconds"]
