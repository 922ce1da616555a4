"""Why a workload holds what it holds: its last decision, read from the journal, and what came of it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final, NamedTuple, SupportsFloat

import msgspec
import numpy as np

from tidegate.app.drift_shown import Drifted, drifted
from tidegate.app.league_shown import DAYS, league_sums
from tidegate.journal.changes import Change
from tidegate.model.errors import InputError, TidegateError
from tidegate.model.outcome import Phase
from tidegate.model.plan import Reason
from tidegate.model.resources import Resource
from tidegate.model.roster import CARD, HOST, NO_CARD
from tidegate.plan.league import standings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tidegate.journal.changes import TickChanges
    from tidegate.journal.samples import FleetRecord
    from tidegate.journal.sql.reader import Event, Reader, Seen

SINCE_TICKS_MAX: Final = 60
"""How many of the last samples are looked at to say what came of a decision."""
OUTCOME_TICKS_MAX: Final = 20
"""How many ticks after a decision its outcome is looked for."""
SUGGESTIONS: Final = 3
EVENTS_LOOKED_AT: Final = 10_000
"""How many of a journal's last events are looked through."""
EVENTS_MAX: Final = 8
"""How many of them are told."""


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
    drift: Drifted | None = None
    """What had changed about the series; None: nothing lately."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How one action of a decision ended."""

    phase: str
    share: str
    """``host`` or ``card``."""
    amount: float | None
    """The share as read back, in its place's units."""


class Came(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    outcomes: tuple[str, ...]
    """How each action ended, in words."""
    ended: tuple[Ended, ...]
    """The same, for whoever has words of their own."""
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


class _Around(NamedTuple):
    """What is read once for every resource of a workload."""

    reader: Reader
    identity: int
    number: int
    """The tick asked about."""
    seen: Mapping[int, Seen]
    """What was seen of it by tick, of the last `SINCE_TICKS_MAX` at most."""
    changes: Mapping[int, TickChanges]
    """Each decision's tick, and the `OUTCOME_TICKS_MAX` after it."""


def explain(reader: Reader, workload: str, at_seconds: int | None = None) -> list[Explanation]:
    """Return an explanation per resource of a workload, as of a time or of the last tick.

    Raises:
        InputError: the journal is empty, or knows no such workload or time.
        TidegateError: the journal is damaged, or no longer keeps what was seen at that time.

    """
    span = reader.span()
    if span is None:
        raise InputError("the journal holds no tick yet; run 'tidegate up' first")
    number = span.last if at_seconds is None else reader.number_at(at_seconds)
    fleet = reader.fleet_of(number)
    row = row_of(fleet, workload)
    frames = reader.frames(number, ("grant", "capacity", "host", "card"))
    came_from = reader.last_rows(number)[:, row].tolist()
    around = _around(reader, int(fleet.roster.ids[row]), number, came_from)
    used = around.seen[number].used
    now = around.changes[number]
    league = _league(reader, around.identity) if number == span.last else {}
    card = int(frames["card"][row])
    found = []
    for resource_row, code in enumerate(now.resources):
        resource = Resource(code)
        capacity = _known(frames["capacity"][resource_row, row])
        story = _story(around, resource_row, came_from[resource_row], capacity)
        found.append(
            Explanation(
                workload=fleet.roster.names[row],
                resource=resource.label,
                unit=resource.unit,
                tick=number,
                time_seconds=now.time_seconds,
                used=_known(used[resource_row]),
                capacity=capacity,
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


def _around(reader: Reader, identity: int, number: int, came_from: Sequence[int]) -> _Around:
    """Read what was used lately and what was decided, each tick once."""
    seen = reader.seen_by(number - SINCE_TICKS_MAX + 1, number, identity)
    decided = {tick for tick in came_from if tick >= 0}
    after = {number} | {
        tick for start in decided for tick in range(start + 1, min(start + OUTCOME_TICKS_MAX, number) + 1)
    }
    changes: dict[int, TickChanges] = {}
    for columns, wanted in ((None, decided), ((), after - decided)):
        for run in _runs(sorted(wanted)):
            changes |= {found.number: found for found in reader.changes(run[0], run[-1], columns)}
    return _Around(reader, identity, number, seen, changes)


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    """Return rising numbers as runs without gaps."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _story(
    around: _Around, resource: int, decided: int, capacity_now: float | None
) -> tuple[Decided, Came] | None:
    """Return the decision of a tick about one resource, and what came of it since; None: not kept."""
    changes = around.changes.get(decided)
    if changes is None:
        return None
    fleet = around.reader.fleet_of(decided)
    row = int(np.flatnonzero(fleet.roster.ids == around.identity)[0])
    at = np.flatnonzero((changes.rows["workload"] == row) & (changes.rows["resource"] == resource))
    if at.size == 0:
        return None
    capacity = _capacity(around.reader, decided, resource, row, capacity_now)
    made = _decided(changes, int(at[0]), fleet, capacity)
    since = [seen for tick, seen in around.seen.items() if tick > decided]
    since = [seen for seen in since if not np.isnan(seen.used[resource])]
    ended = tuple(
        end
        for tick in range(decided + 1, decided + OUTCOME_TICKS_MAX + 1)
        if tick in around.changes
        for end in _ended(around.changes[tick], around.identity, resource)
    )
    return made, Came(
        outcomes=tuple(_words(end) for end in ended),
        ended=ended,
        samples=len(since),
        ran_short=sum(bool(seen.pressed[resource]) for seen in since),
        highest_used=max((float(seen.used[resource]) for seen in since), default=None),
    )


def _capacity(reader: Reader, decided: int, resource: int, row: int, now: float | None) -> float | None:
    """Return what was sold when it was decided; as of now where samples that old are no longer kept."""
    try:
        return _known(reader.frames(decided, ("capacity",))["capacity"][resource, row])
    except TidegateError:
        return now


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
        guard=reason.sentence if reason.is_of_guard else None,
        right_to_act="gained" if what & Change.GAINED else "lost" if what & Change.LOST else None,
        drift=drifted(rows, changes.time_seconds),
    )


def _ended(changes: TickChanges, identity: int, resource: int) -> list[Ended]:
    of = changes.outcomes
    mine = np.flatnonzero((of["workload_id"] == identity) & (of["resource"] == resource))
    return [
        Ended(
            phase=Phase(int(of["phase"][at])).name.lower().replace("_", " "),
            share="host" if of["share"][at] == HOST else "card",
            amount=_known(of["amount"][at]),
        )
        for at in mine
    ]


def _words(end: Ended) -> str:
    amount = "nothing" if end.amount is None else f"{end.amount:.6g}"
    return f"{end.phase} at the {end.share}: {amount} read back"


def events_near(reader: Reader, workload: str, at_seconds: int) -> list[Event]:
    """Return what was noted of the workload, or of all, in the day before a time and the hour after it."""
    mine = reader.events(last=EVENTS_LOOKED_AT, workload=workload)
    of_all = [event for event in reader.events(last=EVENTS_LOOKED_AT) if event.workload is None]
    near = [event for event in (*mine, *of_all) if -86_400 <= event.time_seconds - at_seconds <= 3600]
    kept = sorted(near, key=lambda event: event.time_seconds)
    return kept[-EVENTS_MAX:]


def _league(reader: Reader, identity: int) -> dict[int, tuple[Standing, ...]]:
    """Return the workload's standings by resource row, as of the last checkpoint."""
    sums = league_sums(reader)
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
        for label, day in DAYS.items()
        for standing in standings(policies, sums, resource, day=day, workload=row)
    )


def _known(value: SupportsFloat) -> float | None:
    """Return a number as people and JSON know it: None where it is unknown."""
    number = float(value)
    return number if np.isfinite(number) else None


__all__ = [
    "Came",
    "Decided",
    "Ended",
    "Explanation",
    "Quantile",
    "Standing",
    "events_near",
    "explain",
    "row_of",
]
