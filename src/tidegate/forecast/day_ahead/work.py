"""The work off the hot path: fit and ask path models, slice by slice; who fails costs only freshness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from tidegate.forecast.day_ahead.hours import hour_peaks
from tidegate.model.day_ahead import HOUR_SECONDS
from tidegate.model.panel import Panel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.ports import PathForecaster


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """Some series of one resource, copied at one moment, and who is to speak for them."""

    model: PathForecaster
    fits: bool
    """Whether it is fitted on them first."""
    name: int
    """The number of the model's name."""
    instance: int
    """The number of the fitted model, or -1 for a trained one."""
    resource: int
    seats: NDArray[np.intp]
    ids: NDArray[np.int64]
    """(series,) who sat there: by the answer it may be somebody else."""
    capacity: NDArray[np.float32]
    turn: NDArray[np.uint8]
    start_seconds: int
    slot_seconds: int
    shares: NDArray[np.float16]
    """(series, slots)."""

    @property
    def end_seconds(self) -> int:
        """Up to when the histories go."""
        return self.start_seconds + self.shares.shape[1] * self.slot_seconds

    def panel(self) -> Panel:
        """Return the histories as path models take them; series are called by their identifiers."""
        return Panel(
            start_seconds=self.start_seconds,
            step_seconds=self.slot_seconds,
            names=tuple(str(identity) for identity in self.ids.tolist()),
            shares=np.clip(self.shares.T.astype(np.float32), 0, 1),
            capacity=self.capacity,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What came of one slice."""

    asked: Asked
    first_hour: int
    """Of the quantiles, since 1970."""
    quantiles: NDArray[np.float16] | None
    """(levels, hours, series) shares of capacity, or None where it failed."""
    problem: str = ""
    """Why it failed."""


Work: TypeAlias = Callable[[], Sequence[Answer]]


class Handle(Protocol):
    """Work that was begun."""

    def done(self) -> bool:
        """Return whether it has ended, however."""
        ...

    def result(self) -> Sequence[Answer]:
        """Return what came of it, or raise what stopped it."""
        ...


Run: TypeAlias = Callable[[Work], Handle]
"""Begins work and returns at once, or when it is done."""


@dataclass(frozen=True, slots=True)
class _Done:
    """Work that has ended."""

    answers: Sequence[Answer]

    def done(self) -> bool:
        return True

    def result(self) -> Sequence[Answer]:
        return self.answers


def at_once(work: Work) -> Handle:
    """Do the work here and now: replays and tests are the same every time."""
    return _Done(work())


def answered(asked: Sequence[Asked], hours: int, stopped: Callable[[], bool]) -> list[Answer]:
    """Fit and ask, slice by slice, until done or ``stopped``; each answer holds ``hours`` hours."""
    found: list[Answer] = []
    for each in asked:
        if stopped():
            break
        found.append(_one(each, hours))
    return found


def _one(asked: Asked, hours: int) -> Answer:
    first_hour = asked.end_seconds // HOUR_SECONDS
    try:
        panel = asked.panel()
        if asked.fits:
            asked.model.fit(panel)
        ahead_seconds = (first_hour + hours) * HOUR_SECONDS - asked.end_seconds
        paths = asked.model.paths(panel, -(-ahead_seconds // asked.slot_seconds))
        quantiles = hour_peaks(paths, first_hour, hours)
    except Exception as error:  # noqa: BLE001 - libraries and plug-ins raise anything; the day before stands
        problem = f"{type(error).__name__}: {error}"
        return Answer(asked=asked, first_hour=first_hour, quantiles=None, problem=problem)
    if not np.isfinite(quantiles).all():
        problem = "it said what is no number"
        return Answer(asked=asked, first_hour=first_hour, quantiles=None, problem=problem)
    return Answer(asked=asked, first_hour=first_hour, quantiles=quantiles)
