"""What a policy reserves against how often it runs short: the points of that chart, and its log axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidegate.lab.report.words import rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.lab.replay import RunResult


CROWDED_BELOW: Final = 0.7
"""``static`` reserves 1.0; where all others stay below this, it is left outside the first view."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One run; ratios 0-1."""

    sla: float
    reserved_ratio: float
    violation_ratio: float
    vms_within_sla_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One policy: a point for each SLA it ran at, the loosest first."""

    policy: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """All policies for one resource, and an axis of violations that has a place for zero."""

    sla: float
    lines: tuple[Line, ...]
    zero_at: float
    """Where a run without any violation is drawn: a log axis has no zero."""
    view: tuple[float, float]
    reserved_max: float | None
    """Right end of the view where ``static`` is far from everyone else; None: all are in view."""
    ticks: tuple[tuple[float, str], ...]
    """Value and label."""


def frontier_of(row: int, results: Sequence[RunResult], sla: float) -> Frontier:
    """Gather the points of one resource; runs whose figures are unknown have none."""
    points: dict[str, list[Point]] = {}
    for result in results:
        of = result.measures[row]
        if math.isfinite(of.reserved_ratio) and math.isfinite(of.violation_ratio):
            point = Point(
                sla=result.run.sla,
                reserved_ratio=of.reserved_ratio,
                violation_ratio=of.violation_ratio,
                vms_within_sla_ratio=of.vms_within_sla_ratio,
            )
            points.setdefault(result.run.policy, []).append(point)
    lines = tuple(
        Line(policy=policy, points=tuple(sorted(those, key=lambda point: -point.sla)))
        for policy, those in points.items()
    )
    violations = [point.violation_ratio for line in lines for point in line.points]
    low, high = (pick([sla, *(v for v in violations if v > 0)]) for pick in (min, max))
    zero_at = low / 2.5
    has_zero = 0 in violations
    view = ((zero_at if has_zero else low) / 1.5, min(high * 1.8, 1.5))
    return Frontier(
        sla=sla,
        lines=lines,
        zero_at=zero_at,
        view=view,
        reserved_max=_reserved_max(lines),
        ticks=_ticks(low, view, zero_at, has_zero=has_zero),
    )


def _reserved_max(lines: Sequence[Line]) -> float | None:
    """Return where to end the view if a ``static`` that reserves all would press the rest into a corner."""
    rest = [point.reserved_ratio for line in lines if line.policy != "static" for point in line.points]
    crowded = len(rest) > 1 and max(rest) < CROWDED_BELOW and any(line.policy == "static" for line in lines)
    return max(rest) * 1.08 if crowded else None


def _ticks(
    low: float, view: tuple[float, float], zero_at: float, *, has_zero: bool
) -> tuple[tuple[float, str], ...]:
    """Return 1, 2 and 5 of each decade where there are few decades, else 1 alone."""
    first, last = math.floor(math.log10(view[0])), math.ceil(math.log10(view[1]))
    steps = (1, 2, 5) if math.log10(view[1] / view[0]) < 3.2 else (1,)
    values = [step * 10.0**decade for decade in range(first, last + 1) for step in steps]
    edge = low / 1.5 if has_zero else view[0]
    ticks = [(value, rate(value)) for value in values if edge <= value <= min(view[1], 1)]
    return ((zero_at, "0"), *ticks) if has_zero else tuple(ticks)
