"""Watches applications at a rate, and tries amounts of CPU to learn what latency they give."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from tidegate.agents.device.card import SECOND
from tidegate.agents.device.curve import least_cpu_cores
from tidegate.agents.device.records import CurvePoint, Profile, Unwatched
from tidegate.agents.device.room import amounts
from tidegate.agents.device.samples import Sample, sample
from tidegate.agents.device.sizing import Sizing
from tidegate.agents.device.watching import Watchers
from tidegate.model.application import Amounts
from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Because, Refusal

if TYPE_CHECKING:
    from tidegate.agents.device.card import Card
    from tidegate.agents.device.records import Application, Request
    from tidegate.model.application import Usage

INTERVAL_MIN_NANOSECONDS: Final = SECOND // 10
INTERVAL_MAX_NANOSECONDS: Final = 3600 * SECOND
INTERVAL_NANOSECONDS: Final = SECOND
"""Where nobody said, and for applications nobody watches."""
TRIALS_MAX: Final = 8
TRIAL_NANOSECONDS: Final = 10 * SECOND
TRIAL_MAX_NANOSECONDS: Final = 3600 * SECOND
MARGIN_NANOSECONDS: Final = 5 * SECOND
"""A trial's amount falls back by itself so long after its end: what a device that was killed can't do."""
PEAK_MINUTES: Final = 60
TRIED: Final = "the amount was only tried"


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What is known of a watched application."""

    profile: Profile
    samples: int
    latest: Sample | None
    peak: Amounts
    cpu_cores_for_sla: float | None


@dataclass(slots=True)
class _Record:
    """What is remembered of one application's samples."""

    usage: Usage | None = None
    due_nanoseconds: int = 0
    latest: Sample | None = None
    samples: int = 0
    peaks: deque[tuple[int, Amounts]] = field(default_factory=lambda: deque(maxlen=PEAK_MINUTES))
    """The highest of each minute, with its number."""


@dataclass(slots=True)
class _Trial:
    """An amount that is being tried."""

    cpu_cores: float
    adjustment: str
    ends_nanoseconds: int


class Profiling:
    """The profiles of a card."""

    def __init__(self, card: Card) -> None:
        """Watch nobody yet but those who were watched before."""
        self.card = card
        self.watchers = Watchers()
        self._sizing = Sizing(card)
        self._records: dict[str, _Record] = {}
        self._trials: dict[str, _Trial] = {}

    # --- What can be asked --------------------------------------------------------------------

    def begin(
        self, profile: Profile, *, validate_only: bool = False, request: Request | None = None
    ) -> Profile:
        """Watch an application, and try the amounts that its profile names.

        Raises:
            Refusal: it is watched already, or an amount can't be tried.

        """
        card, name = self.card, profile.application
        with card.alone(name):
            before = card.answered(request, Profile)
            if before is not None:
                return before
            with card.lock:
                one = card.application(name)
                if name in card.profiles:
                    raise Refusal(Because.EXISTS, f"application {name} is watched already; stop that first")
                new = _checked(profile)
                floor, ceiling = one.spec.floor.cpu_cores or 0.0, one.spec.ceiling.cpu_cores
                most = math.inf if ceiling is None else ceiling
                for cores in new.tried_cpu_cores:
                    if not floor <= cores <= most:
                        raise Refusal(
                            Because.INVALID,
                            f"spec.tried_cpu_millis: {cores:g} cores are outside {floor:g} to "
                            f"{most:g}, the floor and ceiling of application {name}",
                            field="spec.tried_cpu_millis",
                            limit=most if cores > most else floor,
                        )
                    card.require_room(replace(one, amounts=Amounts(cpu_cores=cores).over(one.amounts)))
                if new.tried_cpu_cores and "cpu_cores" not in one.safe.known():
                    raise Refusal(
                        Because.NOT_NOW,
                        f"application {name} has no limit of CPU to fall back to; set one first",
                    )
                if not validate_only:
                    card.write(new, *card.answer(request, new))
                    self._records.setdefault(name, _Record()).due_nanoseconds = 0
                return new

    def end(self, name: str, *, allow_missing: bool = False) -> None:
        """Watch no more; an amount that is tried is given back.

        Raises:
            Refusal: it is not watched.

        """
        card = self.card
        with card.alone(name):
            with card.lock:
                if name not in card.profiles:
                    if allow_missing:
                        return
                    raise self._unwatched(name)
                card.write(Unwatched(application=name))
            self._give_back(name)

    def learned(self, name: str) -> Learned:
        """Return what was learned of an application so far.

        Raises:
            Refusal: it is not watched.

        """
        card = self.card
        with card.lock:
            profile = card.profiles.get(name)
            if profile is None:
                raise self._unwatched(name)
            record = self._records.get(name, _Record())
            sla = card.application(name).spec.sla.latency_p99_max_seconds
            newest = card.now() // (60 * SECOND)
            peaks = [peak for minute, peak in record.peaks if newest - minute < PEAK_MINUTES]
            return Learned(
                profile=profile,
                samples=record.samples,
                latest=record.latest,
                peak=_highest(peaks),
                cpu_cores_for_sla=least_cpu_cores(profile.curve, sla),
            )

    def cpu_cores_for_sla(self, application: Application) -> float | None:
        """Return the least CPU that keeps the latency agreed on, by what was tried; None where unknown."""
        with self.card.lock:
            profile = self.card.profiles.get(application.name)
        sla = application.spec.sla.latency_p99_max_seconds
        return None if profile is None else least_cpu_cores(profile.curve, sla)

    def latest(self, name: str) -> Sample | None:
        """Return the latest sample of an application, watched or not."""
        with self.card.lock:
            record = self._records.get(name)
            return None if record is None else record.latest

    def known(self, name: str = "") -> list[Sample]:
        """Return the latest sample of each watched application, or of one."""
        with self.card.lock:
            names = sorted(self.card.profiles) if not name else [name]
            return [
                found.latest
                for one in names
                if (found := self._records.get(one)) is not None and found.latest is not None
            ]

    def _unwatched(self, name: str) -> Refusal:
        self.card.application(name)
        return Refusal(Because.NOT_FOUND, f"application {name} is not watched; start a profile first")

    # --- What goes on -------------------------------------------------------------------------

    def turn(self) -> int:
        """Take the samples that are due and go on with trials; return when the next is due."""
        card = self.card
        now = card.now()
        with card.lock:
            names = [one.name for one in card.applications.values() if one.runs]
            for gone in [name for name in self._records if name not in card.applications]:
                del self._records[gone]
            due = [name for name in names if self._records.setdefault(name, _Record()).due_nanoseconds <= now]
        if due:
            self._sample(due, now)
        for name in sorted({*self._trials, *(one.application for one in list(card.profiles.values()))}):
            with card.alone_if_free(name) as free:
                if free:
                    self._try(name)
        with card.lock:
            return min(
                (record.due_nanoseconds for record in self._records.values()),
                default=now + INTERVAL_NANOSECONDS,
            )

    def recover(self) -> None:
        """After a start: trials that were under way are over, and their amounts given back."""
        card = self.card
        for profile in list(card.profiles.values()):
            if profile.trials_left:
                card.write_found(replace(profile, trials_left=()))
                self._sizing.fall_back(profile.application, TRIED, only=frozenset({"cpu_cores"}))

    def _sample(self, due: list[str], now: int) -> None:
        card = self.card
        try:
            usages = {usage.name: usage for usage in card.runtime.usage()}
        except TidegateError:
            usages = {}
        taken = []
        with card.lock:
            for name in due:
                record = self._records.setdefault(name, _Record())
                profile = card.profiles.get(name)
                interval = INTERVAL_NANOSECONDS if profile is None else profile.interval_nanoseconds
                record.due_nanoseconds = max(record.due_nanoseconds + interval, now + interval // 2)
                usage, one = usages.get(name), card.applications.get(name)
                if usage is None or one is None:
                    continue
                made = None if record.usage is None else sample(record.usage, usage, one.held)
                if record.usage is None or made is not None or usage.cpu_seconds < record.usage.cpu_seconds:
                    record.usage = usage
                if made is None:
                    continue
                record.latest = made
                if profile is not None:
                    record.samples += 1
                    _note_peak(record, made)
                    taken.append(made)
        self.watchers.publish(taken)

    def _try(self, name: str) -> None:
        """Begin, go on with or end a trial."""
        card, now = self.card, self.card.now()
        with card.lock:
            profile, one = card.profiles.get(name), card.applications.get(name)
        trial = self._trials.get(name)
        if profile is None or one is None:
            self._trials.pop(name, None)
            return
        if trial is None:
            if profile.trials_left and "cpu_cores" not in one.temporary:
                self._begin_trial(profile)
            return
        holds = one.temporary.get("cpu_cores")
        if holds is None or holds.adjustment != trial.adjustment:
            # Somebody sized it meanwhile: what they want goes before what we are curious about.
            self._trials.pop(name)
            card.write_found(replace(profile, trials_left=()))
        elif now >= trial.ends_nanoseconds:
            self._trials.pop(name)
            profile = self._noted(profile, trial)
            card.write_found(profile)
            if not profile.trials_left or not self._begin_trial(profile):
                self._sizing.fall_back(name, TRIED, only=frozenset({"cpu_cores"}))

    def _begin_trial(self, profile: Profile) -> bool:
        """Try the next amount; those that can't be had now are left out."""
        card = self.card
        while profile.trials_left:
            cores = profile.trials_left[0]
            try:
                adjusted = self._sizing.adjust(
                    profile.application,
                    Amounts(cpu_cores=cores),
                    ttl_nanoseconds=profile.trial_nanoseconds + MARGIN_NANOSECONDS,
                )
            except Refusal:
                profile = replace(profile, trials_left=profile.trials_left[1:])
                card.write_found(profile)
                continue
            ends = card.now() + profile.trial_nanoseconds
            self._trials[profile.application] = _Trial(cores, adjusted.id, ends)
            return True
        return False

    def _noted(self, profile: Profile, trial: _Trial) -> Profile:
        latest = self.latest(profile.application)
        curve = profile.curve
        if latest is not None and latest.latency_p99_seconds is not None:
            curve = (
                *curve,
                CurvePoint(
                    cpu_cores=trial.cpu_cores,
                    latency_p99_seconds=latest.latency_p99_seconds,
                    requests_per_second=(latest.requests or 0) / latest.seconds,
                ),
            )
        return replace(profile, curve=curve, trials_left=profile.trials_left[1:])

    def _give_back(self, name: str) -> None:
        if self._trials.pop(name, None) is not None:
            self._sizing.fall_back(name, TRIED, only=frozenset({"cpu_cores"}))


def _checked(profile: Profile) -> Profile:
    """Return a profile with its defaults, unless it can't be."""
    interval = profile.interval_nanoseconds or INTERVAL_NANOSECONDS
    trial = profile.trial_nanoseconds or TRIAL_NANOSECONDS
    for field_name, value, least, most in (
        ("interval_nanoseconds", interval, INTERVAL_MIN_NANOSECONDS, INTERVAL_MAX_NANOSECONDS),
        ("trial_nanoseconds", trial, INTERVAL_MIN_NANOSECONDS, TRIAL_MAX_NANOSECONDS),
        ("tried_cpu_millis", len(profile.tried_cpu_cores), 0, TRIALS_MAX),
    ):
        if not least <= value <= most:
            raise Refusal(
                Because.INVALID,
                f"spec.{field_name}: {value} is outside {least} to {most}",
                field=f"spec.{field_name}",
                limit=least if value < least else most,
            )
    return replace(
        profile, interval_nanoseconds=interval, trial_nanoseconds=trial, trials_left=profile.tried_cpu_cores
    )


def _note_peak(record: _Record, made: Sample) -> None:
    minute = made.time_nanoseconds // (60 * SECOND)
    if record.peaks and record.peaks[-1][0] == minute:
        record.peaks[-1] = (minute, _highest([record.peaks[-1][1], made.used]))
    else:
        record.peaks.append((minute, made.used))


def _highest(several: list[Amounts]) -> Amounts:
    highest: dict[str, float] = {}
    for one in several:
        for name, amount in one.known().items():
            highest[name] = max(highest.get(name, 0.0), amount)
    return amounts(highest)


__all__ = ["Learned", "Profiling"]
