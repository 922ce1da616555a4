"""Why a workload holds what it holds: its last decision, read from the journal, and what came of it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final, NamedTuple, SupportsFloat

import msgspec
import numpy as np

from tidegate.journal.changes import Change
from tidegate.model.errors import InputError
from tidegate.model.outcome import Phase
from tidegate.model.plan import Reason
from tidegate.model.resources import Resource
from tidegate.model.roster import CARD, HOST, NO_CARD
from tidegate.model.snapshot import VIOLATION_TOLERANCE_RATIO
from tidegate.plan.league import TODAY, YESTERDAY, standings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tidegate.journal.changes import TickChanges
    from tidegate.journal.samples import FleetRecord
    from tidegate.journal.sql.reader import Reader

SINCE_TICKS_MAX: Final = 60
"""How many of the last samples are looked at to say what came of a decision."""
OUTCOME_TICKS_MAX: Final = 20
"""How many ticks after a decision its outcome is looked for."""
SUGGESTIONS: Final = 3
GUARDS: Final = frozenset(reason for reason in Reason if reason.name.startswith(("GUARD_", "HELD_")))


class Quantile(msgspec.Struct, frozen=True, kw_only=True):
    """One level of a forecast."""

    level: float
    amount: float


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """The last decision: what was seen, expected and wanted then, in the resource's unit."""

    tick: int
    time_seconds: int
    used: float | None
    held: float
    wanted: float
    """What the policy asked for, before any guard."""
    allowed: float
    """What the guards left of it."""
    without_forecast: float | None
    """What would have been wanted without the forecast."""
    forecast: tuple[Quantile, ...]
    model: str
    skill: float | None
    """1 - loss / loss of the plain baseline."""
    coverage: float | None
    forecast_acts: bool
    reason: str
    reason_name: str
    guard: str | None
    """Which guard shrank it, in its words; None: none did."""
    right_to_act: str | None
    """``gained`` or ``lost`` where that changed just then."""


class Came(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    outcomes: tuple[str, ...]
    """How each action ended."""
    samples: int
    """Since the decision, of the last hour of ticks at most."""
    ran_short: int
    highest_used: float | None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A policy's figures for this workload, over one day."""

    policy: str
    day: str
    samples: int
    violation_ratio: float
    reserved_ratio: float
    regret_ratio: float


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """One workload and resource at one time."""

    workload: str
    resource: str
    unit: str
    tick: int
    time_seconds: int
    used: float | None
    capacity: float | None
    host: str
    host_share: float
    card: str | None
    card_share: float
    sla: float
    """Share of samples that may run short."""
    priority: int
    floor: float
    decided: Decided | None
    """None: no decision about it is kept."""
    came: Came | None
    league: tuple[Standing, ...]


class _Series(NamedTuple):
    """A workload by identifier, and a resource by row."""

    identity: int
    resource: int


def explain(reader: Reader, workload: str, at_seconds: int | None = None) -> list[Explanation]:
    """Return an explanation per resource of a workload, as of a time or of the last tick.

    Raises:
        InputError: the journal is empty, or knows no such workload or time.
        TidegateError: the journal is damaged.

    """
    span = reader.span()
    if span is None:
        raise InputError("the journal holds no tick yet; run 'tidegate up' first")
    number = span.last if at_seconds is None else reader.number_at(at_seconds)
    fleet = reader.fleet_of(number)
    row = row_of(fleet, workload)
    last_rows = reader.last_rows(number)[:, row]
    frames = reader.frames(number, ("grant", "capacity", "host", "card"))
    ((_, time_seconds, _, used),) = reader.used(number, number)
    identity = int(fleet.roster.ids[row])
    league = _league(reader, identity) if number == span.last else {}
    found = []
    for resource_row, resource in enumerate(_resources(reader, number)):
        came_from = int(last_rows[resource_row])
        story = None if came_from < 0 else _story(reader, _Series(identity, resource_row), came_from, number)
        card = int(frames["card"][row])
        found.append(
            Explanation(
                workload=fleet.roster.names[row],
                resource=resource.label,
                unit=resource.unit,
                tick=number,
                time_seconds=time_seconds,
                used=_known(used[resource_row, row]),
                capacity=_known(frames["capacity"][resource_row, row]),
                host=fleet.places.names[int(frames["host"][row])],
                host_share=_known(frames["grant"][HOST, resource_row, row]) or 0.0,
                card=None if card == NO_CARD else fleet.places.names[card],
                card_share=_known(frames["grant"][CARD, resource_row, row]) or 0.0,
                sla=float(fleet.roster.violation_rate[row]),
                priority=int(fleet.roster.priority[row]),
                floor=float(fleet.roster.floor[resource_row, row]),
                decided=None if story is None else story[0],
                came=None if story is None else story[1],
                league=league.get(resource_row, ()),
            )
        )
    return found


def row_of(fleet: FleetRecord, workload: str) -> int:
    """Return a workload's row by name.

    Raises:
        InputError: there is none, or several.

    """
    names = fleet.roster.names
    rows = [row for row, name in enumerate(names) if name == workload]
    if len(rows) == 1:
        return rows[0]
    if rows:
        raise InputError(f"{len(rows)} workloads are called '{workload}'; give them names of their own")
    close = difflib.get_close_matches(workload, names, n=SUGGESTIONS, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else "'tidegate plan show' lists them"
    raise InputError(f"no workload is called '{workload}' at that time; {hint}")


def _resources(reader: Reader, number: int) -> tuple[Resource, ...]:
    (changes,) = reader.changes(number, number)
    return tuple(Resource(code) for code in changes.resources)


def _story(reader: Reader, series: _Series, decided: int, number: int) -> tuple[Decided, Came] | None:
    """Return the decision of a tick about one series, and what came of it up to another tick."""
    (changes,) = reader.changes(decided, decided)
    fleet = reader.fleet_of(decided)
    row = int(np.flatnonzero(fleet.roster.ids == series.identity)[0])
    at = np.flatnonzero((changes.rows["workload"] == row) & (changes.rows["resource"] == series.resource))
    if at.size == 0:
        return None
    capacity = _known(reader.frames(decided, ("capacity",))["capacity"][series.resource, row])
    made = _decided(changes, int(at[0]), fleet, capacity)
    # A sample at the grant was cut off by it: it ran short as one above it did.
    edge = made.allowed - VIOLATION_TOLERANCE_RATIO * (capacity or 0.0)
    use = _use(reader, series, range(max(decided + 1, number - SINCE_TICKS_MAX + 1), number + 1))
    return made, Came(
        outcomes=tuple(
            sentence
            for later in reader.changes(decided + 1, min(decided + OUTCOME_TICKS_MAX, number))
            for sentence in _outcomes(later, series)
        ),
        samples=len(use),
        ran_short=sum(amount >= edge for amount in use),
        highest_used=max(use, default=None),
    )


def _decided(changes: TickChanges, at: int, fleet: FleetRecord, capacity: float | None) -> Decided:
    rows = {name: values[..., at] for name, values in changes.rows.items()}
    card = int(rows["card_place"])
    worth = 1.0 if card == NO_CARD else float(fleet.places.worth[int(rows["resource"]), card])
    allowed = float(rows["host"]) + float(rows["card"]) * worth
    what, reason = Change(int(rows["what"])), Reason(int(rows["reason"]))
    planned = Reason(int(rows["planned_reason"]))
    shares = [(level, _known(share)) for level, share in zip(changes.levels, rows["quantiles"], strict=True)]
    return Decided(
        tick=changes.number,
        time_seconds=changes.time_seconds,
        used=_known(rows["used"]),
        held=float(rows["held"]),
        wanted=allowed + float(rows["withheld"]),
        allowed=allowed,
        without_forecast=_known(rows["counterfactual"]),
        forecast=tuple(
            Quantile(level=level, amount=share * capacity)
            for level, share in shares
            if share is not None and capacity is not None
        ),
        model=changes.models[int(rows["model"])],
        skill=_known(rows["skill"]),
        coverage=_known(rows["coverage"]),
        forecast_acts=bool(what & Change.ACTS),
        reason=planned.sentence,
        reason_name=planned.name,
        guard=reason.sentence if reason in GUARDS else None,
        right_to_act="gained" if what & Change.GAINED else "lost" if what & Change.LOST else None,
    )


def _outcomes(changes: TickChanges, series: _Series) -> list[str]:
    of = changes.outcomes
    mine = np.flatnonzero((of["workload_id"] == series.identity) & (of["resource"] == series.resource))
    return [
        f"{Phase(int(of['phase'][at])).name.lower().replace('_', ' ')} at the "
        f"{'host' if of['share'][at] == HOST else 'card'}: {float(of['amount'][at]):.6g} read back"
        for at in mine
    ]


def _use(reader: Reader, series: _Series, ticks: range) -> list[float]:
    """Return what a series used in the ticks whose samples are kept and not missing."""
    use = []
    for _, _, fleet_id, used in reader.used(ticks.start, ticks.stop - 1):
        row = np.flatnonzero(reader.fleet(fleet_id).roster.ids == series.identity)
        if row.size and not np.isnan(used[series.resource, row[0]]):
            use.append(float(used[series.resource, row[0]]))
    return use


def _league(reader: Reader, identity: int) -> dict[int, tuple[Standing, ...]]:
    """Return the workload's standings by resource row, as of the last checkpoint."""
    manifest = reader.checkpoint()
    if manifest is None:
        return {}
    sums = {
        name.removeprefix("planner.league."): values
        for name, values in reader.state(manifest, under="planner.league.").items()
    }
    policies = reader.identity().get("league", "").split(",")
    rows = np.flatnonzero(sums.get("ids", np.empty(0)) == identity)
    if rows.size == 0:
        return {}
    return {
        resource: _of_days(policies, sums, resource, int(rows[0]))
        for resource in range(sums["samples"].shape[1])
    }


def _of_days(
    policies: Sequence[str], sums: Mapping[str, NDArray[Any]], resource: int, row: int
) -> tuple[Standing, ...]:
    return tuple(
        Standing(
            policy=standing.policy,
            day=label,
            samples=standing.samples,
            violation_ratio=standing.violation_ratio,
            reserved_ratio=standing.reserved_ratio,
            regret_ratio=standing.regret_ratio,
        )
        for day, label in ((TODAY, "today"), (YESTERDAY, "yesterday"))
        for standing in standings(policies, sums, resource, day=day, workload=row)
    )


def _known(value: SupportsFloat) -> float | None:
    """Return a number as people and JSON know it: None where it is unknown."""
    number = float(value)
    return number if np.isfinite(number) else None


__all__ = ["Came", "Decided", "Explanation", "Quantile", "Standing", "explain", "row_of"]
