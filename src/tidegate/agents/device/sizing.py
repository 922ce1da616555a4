"""Changes what applications hold: asked for, taken on, and read back from the kernel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tidegate.agents.device.card import SECOND
from tidegate.agents.device.records import Adjustment, Answer, Application, Temporary
from tidegate.agents.device.room import amounts
from tidegate.model.application import Amounts, ApplicationState
from tidegate.model.errors import TidegateError
from tidegate.model.outcome import Phase
from tidegate.model.refusals import Because, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.agents.device.card import Card
    from tidegate.agents.device.records import Request

TTL_MAX_NANOSECONDS: Final = 30 * 86_400 * SECOND
"""Longer is not for a time."""
STEP: Final = {"cpu_cores": 0.01, "memory_bytes": 65_536.0, "gpu_fraction": 0.01}
"""Limits are set in steps: 1 ms of a period of 100 ms, a page, which has 64 KiB on some ARM."""
STEP_RATIO: Final = 0.01
"""Of every resource, where that is more."""
IN_FLIGHT: Final = "it is not known yet whether it is in force"

RECOVERED: Final = "the device was started again meanwhile; this is what it held then"


@dataclass(frozen=True, slots=True)
class Sizing:
    """What can be asked of applications' amounts."""

    card: Card

    def adjust(
        self,
        name: str,
        wanted: Amounts,
        *,
        ttl_nanoseconds: int = 0,
        etag: str = "",
        state_version: int = 0,
        validate_only: bool = False,
        reason: str = "",
        request: Request | None = None,
    ) -> Adjustment:
        """Set amounts and say what came of it, read back; several are all set, or none.

        ``reason`` is why, for the record, where nothing else is to be said of it.

        Raises:
            Refusal: nothing was changed, and why.

        """
        card = self.card
        with card.alone(name):
            before = card.answered(request, Adjustment)
            if before is not None:
                return before
            with card.lock:
                now = card.application(name)
                card.require_fresh(now, etag)
                self._require_version(state_version)
                accepted, raised = self._accepted(now, wanted)
                why = raised or reason
                asked = Adjustment(
                    id=card.new_id(),
                    application=name,
                    requested=wanted,
                    accepted=accepted,
                    applied=_of(now.held, accepted),
                    phase=Phase.TIMED_OUT,
                    reason=IN_FLIGHT,
                    requested_nanoseconds=card.now(),
                    expires_nanoseconds=self._until(ttl_nanoseconds),
                )
                planned = self._planned(now, asked)
                card.require_room(planned)
                if validate_only:
                    return replace(
                        asked,
                        phase=Phase.APPLIED,
                        reason=why or "it would fit; nothing was changed",
                        state_version=card.settings.state_version,
                    )
                settings, planned = card.renewed(planned)
                asked = replace(asked, state_version=settings.state_version)
                card.write(settings, planned, asked, *card.answer(request, asked))
            return self._done(now, planned, asked, why, request)

    def fall_back(self, name: str, why: str, *, only: frozenset[str] | None = None) -> Application | None:
        """Give temporary amounts back, all or only some; None where there were none of those."""
        card = self.card
        with card.alone(name):
            with card.lock:
                now = card.applications.get(name)
                if now is None:
                    return None
                over = {res: one for res, one in now.temporary.items() if only is None or res in only}
                if not over or now.wanted is ApplicationState.RELEASING:
                    return None
                safe = now.safe.known()
                back = amounts({res: safe[res] for res in over})
                left = {res: one for res, one in now.temporary.items() if res not in over}
                planned = replace(now, amounts=back.over(now.amounts), temporary=left)
                settings, planned = card.renewed(planned)
                # Not refused on a full disk: who holds too little is not to wait for that.
                card.write_found(settings, planned)
            held = self.held(planned, back)
            with card.lock:
                settings, planned = card.renewed(replace(planned, held=held.over(planned.held)))
                told = [
                    replace(
                        found,
                        phase=Phase.ROLLED_BACK,
                        reason=why,
                        applied=_of(planned.held, found.accepted),
                        state_version=settings.state_version,
                    )
                    for identifier in sorted({one.adjustment for one in over.values()})
                    if (found := card.store.adjustment(identifier)) is not None
                ]
                card.write_found(settings, planned, *told)
                return planned

    def recover(self, name: str) -> None:
        """Say what became of a change that this program was killed in, as it is now in the kernel.

        What the kernel did not take on is not wanted any more, as where it gives a part.
        """
        card = self.card
        with card.alone(name), card.lock:
            one = card.applications.get(name)
            begun = [each for each in card.store.adjustments(name) if each.reason == IN_FLIGHT]
            if one is None or not begun:
                return
            told = []
            for each in begun:
                found = _of(one.held, each.accepted) if one.runs else each.accepted
                missed = differing(each.accepted, found) if one.runs else Amounts()
                kept = {res: amount for res, amount in found.known().items() if res in missed.known()}
                safe = {res: amount for res, amount in kept.items() if res not in one.temporary}
                one = replace(one, amounts=amounts(kept).over(one.amounts), safe=amounts(safe).over(one.safe))
                whole = not kept and found.known().keys() == each.accepted.known().keys()
                phase = Phase.APPLIED if whole else Phase.PARTIAL
                told.append(
                    replace(each, phase=phase, reason=RECOVERED, applied=_of(one.held, each.accepted))
                )
            settings, one = card.renewed(one)
            told = [replace(each, state_version=settings.state_version) for each in told]
            card.write_found(settings, one, *told)

    def held(self, application: Application, wanted: Amounts) -> Amounts:
        """Set amounts in the kernel and return what it says; what is known already where it does not run."""
        if not application.runs:
            return Amounts()
        try:
            return self.card.runtime.adjust(application.name, wanted)
        except TidegateError:
            # Nobody knows: as much as it may be is kept for it, until it can be read back.
            return most(application.held, wanted)

    def _require_version(self, version: int) -> None:
        current = self.card.settings.state_version
        if version and version != current:
            raise Refusal(
                Because.STALE,
                f"state_version: {version} of card {self.card.name} is stale, it is {current}; decide again",
                field="state_version",
                limit=current,
            )

    def _accepted(self, now: Application, wanted: Amounts) -> tuple[Amounts, str]:
        """Return what is taken on of what is wanted, and why that is not all."""
        known = wanted.known()
        if not known:
            raise Refusal(Because.INVALID, "wanted: no amount is given; give at least one", field="wanted")
        if now.wanted in {ApplicationState.STANDBY, ApplicationState.RELEASING}:
            raise Refusal(
                Because.NOT_NOW, f"application {now.name} is changing cards; it can be sized where it serves"
            )
        ceiling, floor = now.spec.ceiling.known(), now.spec.floor.known()
        for resource, amount in known.items():
            if amount > ceiling.get(resource, amount):
                raise Refusal(
                    Because.INVALID,
                    f"wanted.{resource}: {amount:g} is above the ceiling of {ceiling[resource]:g} "
                    f"of application {now.name}",
                    field=f"wanted.{resource}",
                    limit=ceiling[resource],
                )
        raised = [resource for resource, amount in known.items() if amount < floor.get(resource, 0)]
        why = "; ".join(f"{resource} is raised to the floor of {floor[resource]:g}" for resource in raised)
        return amounts({res: max(amount, floor.get(res, 0)) for res, amount in known.items()}), why

    def _until(self, ttl_nanoseconds: int) -> int:
        if not 0 <= ttl_nanoseconds <= TTL_MAX_NANOSECONDS:
            raise Refusal(
                Because.INVALID,
                f"ttl_nanoseconds: {ttl_nanoseconds} is outside 0 to {TTL_MAX_NANOSECONDS} (30 days)",
                field="ttl_nanoseconds",
                limit=TTL_MAX_NANOSECONDS,
            )
        return self.card.now() + ttl_nanoseconds if ttl_nanoseconds else 0

    @staticmethod
    def _planned(now: Application, asked: Adjustment) -> Application:
        """Return the application as it will be if all goes well."""
        accepted = asked.accepted.known()
        safe, temporary = now.safe.known(), dict(now.temporary)
        for resource, amount in accepted.items():
            if not asked.expires_nanoseconds:
                safe[resource] = amount
                temporary.pop(resource, None)
                continue
            if resource not in safe:
                raise Refusal(
                    Because.NOT_NOW,
                    f"wanted.{resource}: application {now.name} has no limit of it to fall back to; "
                    "set one without ttl_nanoseconds first",
                    field="ttl_nanoseconds",
                )
            temporary[resource] = Temporary(until_nanoseconds=asked.expires_nanoseconds, adjustment=asked.id)
        return replace(now, amounts=asked.accepted.over(now.amounts), safe=amounts(safe), temporary=temporary)

    def _done(
        self, now: Application, planned: Application, asked: Adjustment, why: str, request: Request | None
    ) -> Adjustment:
        """Do what was written down, and write what came of it."""
        card = self.card
        if not planned.runs:
            why = why or "it does not run; it holds this from its next start"
            return self._told(planned, replace(asked, phase=Phase.APPLIED, reason=why), request)
        failed = ""
        try:
            held = card.runtime.adjust(now.name, asked.accepted)
        except TidegateError as error:
            failed = str(error)
            held = most(planned.held, asked.accepted)
        phase = Phase.ROLLED_BACK if failed else arrived(asked.accepted, now.held, held)
        if phase is Phase.PARTIAL:
            known = _of(held, asked.accepted)
            planned = replace(planned, amounts=known.over(planned.amounts), held=held.over(planned.held))
            if not asked.expires_nanoseconds:
                planned = replace(planned, safe=known.over(planned.safe))
            why = "the kernel gave a part of it"
        elif phase is Phase.APPLIED:
            planned = replace(planned, held=held.over(planned.held))
        else:
            planned, phase, why = self._rolled_back(now, asked, failed, phase)
        done = replace(asked, phase=phase, reason=why, applied=_of(planned.held, asked.accepted))
        return self._told(planned, done, request)

    def _rolled_back(
        self, now: Application, asked: Adjustment, failed: str, phase: Phase
    ) -> tuple[Application, Phase, str]:
        """Take back what was set before a part failed, and read it back."""
        why = failed or "the kernel did not take it on"
        before = now.amounts.known()
        back = amounts({res: before[res] for res in asked.accepted.known() if res in before})
        try:
            held = self.card.runtime.adjust(now.name, back)
        except TidegateError as error:
            kept = replace(now, held=most(now.held, asked.accepted))
            why = f"{why}; what was set before could not be taken back: {error}"
            return kept, Phase.TIMED_OUT, why
        kept = replace(now, held=held.over(now.held))
        return kept, phase, f"{why}; it holds what it held before"

    def _told(self, application: Application, done: Adjustment, request: Request | None) -> Adjustment:
        card = self.card
        with card.lock:
            settings, application = card.renewed(application)
            done = replace(done, state_version=settings.state_version)
            answers = (
                () if request is None else (Answer(request=request, said=done, at_nanoseconds=card.now()),)
            )
            card.write_found(settings, application, done, *answers)
            return done


def same(resource: str, one: float, other: float) -> bool:
    """Whether two amounts are one to the kernel, which sets limits in steps."""
    return abs(one - other) <= max(STEP.get(resource, 1.0), STEP_RATIO * max(one, other))


def differing(wanted: Amounts, held: Amounts) -> Amounts:
    """Return what is wanted where something else is held; what is not limited is not held to anything."""
    has = held.known()
    return amounts(
        {
            res: amount
            for res, amount in wanted.known().items()
            if res in has and not same(res, amount, has[res])
        }
    )


def missing(wanted: Amounts, held: Amounts) -> Amounts:
    """Return what is wanted where there is no limit."""
    has = held.known()
    return amounts({res: amount for res, amount in wanted.known().items() if res not in has})


def arrived(accepted: Amounts, before: Amounts, held: Amounts) -> Phase:
    """Return how a change ended that the kernel did not refuse, from what was held before and is after it.

    Of several resources all must arrive; one alone may go a part of the way.
    """
    was, now = before.known(), held.known()
    wanted = accepted.known()
    missed = [res for res, amount in wanted.items() if res not in now or not same(res, amount, now[res])]
    if not missed:
        return Phase.APPLIED
    if len(wanted) > 1:
        return Phase.ROLLED_BACK
    (resource,) = missed
    if resource not in now or (resource in was and same(resource, was[resource], now[resource])):
        return Phase.REFUSED
    return Phase.PARTIAL


def _of(held: Amounts, which: Amounts) -> Amounts:
    """Return what is held of the resources that another names."""
    names: Mapping[str, float] = which.known()
    return amounts({res: amount for res, amount in held.known().items() if res in names})


def most(one: Amounts, other: Amounts) -> Amounts:
    """Return the larger of two amounts of each resource; what only one says counts."""
    first, second = one.known(), other.known()
    return amounts({res: max(first.get(res, 0.0), second.get(res, 0.0)) for res in {**first, **second}})


__all__ = ["Sizing", "arrived", "differing", "missing", "most", "same"]
