"""The allocation plan as of a journal's last tick, one row per workload and resource, ready to be shown."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, SupportsFloat

import msgspec
import numpy as np

from tidegate.app.drift_shown import Drifted, drifted
from tidegate.journal.changes import ADVICE_RATIO
from tidegate.model.autonomy import Level
from tidegate.model.errors import InputError
from tidegate.model.plan import Reason
from tidegate.model.resources import Resource
from tidegate.model.roster import CARD, HOST, NO_CARD, source_rows
from tidegate.model.snapshot import summed_by_place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tidegate.journal.changes import TickChanges
    from tidegate.journal.samples import FleetRecord
    from tidegate.journal.sql.reader import Reader
    from tidegate.model.autonomy import Autonomy

GAP_TICKS: Final = 5
"""Ticks without a row that are read over rather than asked around."""


class PlanRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one workload holds and is to hold of one resource; amounts in its base unit."""

    workload: str
    resource: str
    unit: str
    host: str
    card: str | None
    used: float | None
    held_host: float
    held_card: float
    """In units of the card."""
    held: float
    """In all, in server units."""
    wanted: float | None
    """The last advice, before any guard, in server units; None: none is kept."""
    without_forecast: float | None
    change_ratio: float
    """How far what is wanted is from what is held, as a share of what was sold."""
    pending: bool
    """Whether that is worth a change."""
    reason: str
    guard: str | None
    """What kept it back, in the guard's words."""
    decided_seconds: int | None
    drift: Drifted | None
    """What had changed about the series when it was decided; None: nothing lately."""
    autonomy: str


class PlaceRow(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a place is granted."""

    place: str
    is_card: bool
    resource: str
    unit: str
    granted: float
    allocatable: float | None
    """None: not known."""


class PlanShown(msgspec.Struct, frozen=True, kw_only=True):
    """The plan, biggest pending changes first."""

    tick: int
    time_seconds: int
    workloads: int
    rows: tuple[PlanRow, ...]
    places: tuple[PlaceRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Now:
    """What the last tick saw; frames are (resources, workloads)."""

    number: int
    time_seconds: int
    resources: tuple[Resource, ...]
    fleet: FleetRecord
    used: NDArray[np.float32]
    frames: Mapping[str, NDArray[Any]]

    @property
    def held(self) -> NDArray[np.float32]:
        """What is held in all, in server units."""
        card = self.frames["card"]
        worth = np.take(self.fleet.places.worth, np.maximum(card, 0), axis=1)
        grant = self.frames["grant"]
        in_all: NDArray[np.float32] = grant[HOST] + np.where(card == NO_CARD, 0, grant[CARD] * worth)
        return in_all


def plan_shown(reader: Reader, autonomy: Autonomy, pattern: str = "*") -> PlanShown:
    """Return the plan as of the last tick, of the workloads a pattern (as in a shell) matches.

    Raises:
        InputError: the journal holds no tick, or nobody's name matches.
        TidegateError: the journal is damaged.

    """
    now = _now(reader)
    names = now.fleet.roster.names
    chosen = np.array([row for row, name in enumerate(names) if fnmatchcase(name, pattern)], dtype=np.int64)
    if chosen.size == 0:
        raise InputError(f"no workload's name matches '{pattern}'; quote patterns such as 'web*'")
    rows = _rows(now, _advice(reader, now, chosen), autonomy, chosen)
    return PlanShown(
        tick=now.number,
        time_seconds=now.time_seconds,
        workloads=len(names),
        rows=tuple(rows),
        places=tuple(_places(now)),
    )


def _now(reader: Reader) -> _Now:
    span = reader.span()
    if span is None:
        raise InputError("the journal holds no tick yet; let 'tidegate up' run for one")
    (changes,) = reader.changes(span.last, span.last)
    ((_, time_seconds, _, used),) = reader.used(span.last, span.last)
    return _Now(
        number=span.last,
        time_seconds=time_seconds,
        resources=tuple(Resource(code) for code in changes.resources),
        fleet=reader.fleet_of(span.last),
        used=used,
        frames=reader.frames(span.last, ("grant", "capacity", "host", "card")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Advice:
    """The last row about each series (resources, workloads)."""

    wanted: NDArray[np.float32]
    """Server units; NaN: there is no row, or it is no longer kept."""
    without_forecast: NDArray[np.float32]
    reason: NDArray[np.uint8]
    """What the policy said."""
    guarded: NDArray[np.uint8]
    """What the last guard said."""
    time_seconds: NDArray[np.int64]
    drift: NDArray[np.uint8]
    drift_seconds: NDArray[np.uint32]


def _advice(reader: Reader, now: _Now, chosen: NDArray[np.int64]) -> _Advice:
    """Return the last row about each series of the chosen workloads."""
    shape = now.used.shape
    advice = _Advice(
        wanted=np.full(shape, np.nan, dtype=np.float32),
        without_forecast=np.full(shape, np.nan, dtype=np.float32),
        reason=np.zeros(shape, dtype=np.uint8),
        guarded=np.zeros(shape, dtype=np.uint8),
        time_seconds=np.zeros(shape, dtype=np.int64),
        drift=np.zeros(shape, dtype=np.uint8),
        drift_seconds=np.zeros(shape, dtype=np.uint32),
    )
    last = np.full(shape, -1, dtype=np.int64)
    last[:, chosen] = reader.last_rows(now.number)[:, chosen]
    for run in _runs(np.unique(last[last >= 0]).tolist()):
        for changes in reader.changes(run.start, run.stop - 1):
            _note(advice, changes, reader.fleet_of(changes.number), now.fleet, last)
    return advice


def _note(
    advice: _Advice, changes: TickChanges, then: FleetRecord, fleet: FleetRecord, last: NDArray[np.int64]
) -> None:
    """Write down the rows of one tick that are still the last about their series."""
    rows = changes.rows
    workload = rows["workload"].astype(np.int64)
    if then is not fleet:
        workload = source_rows(fleet.roster.ids, then.roster.ids)[workload]
    resource = rows["resource"].astype(np.int64)
    mine = (workload >= 0) & (last[resource, workload] == changes.number)
    if not mine.any():
        return
    at = resource[mine], workload[mine]
    card = rows["card_place"][mine]
    worth = np.where(card == NO_CARD, 1, then.places.worth[at[0], np.maximum(card, 0)])
    advice.wanted[at] = rows["host"][mine] + rows["card"][mine] * worth + rows["withheld"][mine]
    advice.without_forecast[at] = rows["counterfactual"][mine]
    advice.reason[at] = rows["planned_reason"][mine]
    advice.guarded[at] = rows["reason"][mine]
    advice.time_seconds[at] = changes.time_seconds
    for name, kept in (("drift", advice.drift), ("drift_seconds", advice.drift_seconds)):
        kept[at] = rows[name][mine] if name in rows else 0


def _rows(now: _Now, advice: _Advice, autonomy: Autonomy, chosen: NDArray[np.int64]) -> list[PlanRow]:
    """Return the rows of the chosen workloads, those furthest from what is wanted first."""
    held = now.held
    with np.errstate(invalid="ignore", divide="ignore"):
        change = np.nan_to_num(np.abs(advice.wanted - held) / now.frames["capacity"], posinf=0.0)[:, chosen]
    order = np.argsort(-change, axis=None, kind="stable").tolist()
    levels = autonomy.levels(now.fleet.roster.names)
    return [
        _row(
            now,
            advice,
            held,
            levels,
            resource=resource,
            workload=int(chosen[column]),
            change=float(change[resource, column]),
        )
        for resource, column in (divmod(place, chosen.size) for place in order)
    ]


def _row(
    now: _Now,
    advice: _Advice,
    held: NDArray[np.float32],
    levels: NDArray[np.uint8],
    *,
    resource: int,
    workload: int,
    change: float,
) -> PlanRow:
    places, frames = now.fleet.places, now.frames
    card = int(frames["card"][workload])
    at = resource, workload
    known = not np.isnan(advice.wanted[at])
    guard = Reason(int(advice.guarded[at]))
    return PlanRow(
        workload=now.fleet.roster.names[workload],
        resource=now.resources[resource].label,
        unit=now.resources[resource].unit,
        host=places.names[int(frames["host"][workload])],
        card=None if card == NO_CARD else places.names[card],
        used=_known(now.used[at]),
        held_host=_known(frames["grant"][HOST, resource, workload]) or 0.0,
        held_card=_known(frames["grant"][CARD, resource, workload]) or 0.0,
        held=_known(held[at]) or 0.0,
        wanted=_known(advice.wanted[at]),
        without_forecast=_known(advice.without_forecast[at]),
        change_ratio=change,
        pending=change > float(ADVICE_RATIO),
        reason=Reason(int(advice.reason[at])).sentence if known else "no decision about it is kept",
        guard=guard.sentence if known and guard.is_of_guard else None,
        decided_seconds=int(advice.time_seconds[at]) if known else None,
        drift=drifted(
            {"drift": advice.drift[at], "drift_seconds": advice.drift_seconds[at]},
            int(advice.time_seconds[at]),
        ),
        autonomy=Level(int(levels[workload])).label,
    )


def _places(now: _Now) -> list[PlaceRow]:
    places, frames = now.fleet.places, now.frames
    count = len(places.names)
    granted = summed_by_place(frames["grant"][HOST], frames["host"], count)
    granted += summed_by_place(frames["grant"][CARD], frames["card"], count)
    return [
        PlaceRow(
            place=places.names[place],
            is_card=bool(places.is_card[place]),
            resource=resource.label,
            unit=resource.unit,
            granted=float(granted[row, place]),
            allocatable=_known(places.allocatable[row, place]),
        )
        for place in range(count)
        for row, resource in enumerate(now.resources)
    ]


def _runs(numbers: Sequence[int]) -> list[range]:
    """Return rising numbers as ranges; gaps too short to be worth another question are read over."""
    runs: list[range] = []
    for number in numbers:
        if runs and number - runs[-1].stop < GAP_TICKS:
            runs[-1] = range(runs[-1].start, number + 1)
        else:
            runs.append(range(number, number + 1))
    return runs


def _known(value: SupportsFloat) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None


__all__ = ["PlaceRow", "PlanRow", "PlanShown", "plan_shown"]
