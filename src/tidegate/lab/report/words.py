"""Numbers as a person reads them, and the headline made from them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from tidegate.app.registry import SLA_POLICIES
from tidegate.lab.replay import gap_closed
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tidegate.lab.measures import Measures
    from tidegate.lab.replay import RunResult

UNKNOWN: Final = "n/a"
RULE: Final = "calibrated_reactive"
ORACLE: Final = "oracle"
SPOKEN: Final[Mapping[str, str]] = {RULE: "the calibrated rule", "vpa": "VPA", ORACLE: "the oracle"}
RESOURCE_WORDS: Final[Mapping[Resource, str]] = {
    Resource.CPU: "CPU",
    Resource.MEMORY: "memory",
    Resource.GPU: "GPU",
    Resource.NETWORK: "network",
    Resource.STORAGE: "storage",
}


def percent(ratio: float | None) -> str:
    """Return a ratio as people write it: one decimal from 1 % up, two significant digits below."""
    if ratio is None or not math.isfinite(ratio):
        return UNKNOWN
    hundredths = 100 * ratio
    if hundredths in {0, 100}:
        return f"{hundredths:.0f} %"
    if abs(hundredths) >= 0.995:
        return f"{hundredths:.0f} %" if abs(hundredths) >= 1000 else f"{hundredths:.1f} %"
    decimals = 1 - math.floor(math.log10(abs(hundredths)))
    return f"{hundredths:.{decimals}f} %"


def rate(sla: float) -> str:
    """Return an SLA as it was asked for: 0.01 is 1 %."""
    return f"{100 * sla:g} %"


def number(value: float) -> str:
    """Return a count per day with one decimal."""
    return f"{value:.1f}" if math.isfinite(value) else UNKNOWN


def duration(seconds: int) -> str:
    """Return a span in the largest unit that keeps it short: 5 min, 1 h, 14 days."""
    for unit, length in (("day", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length and (seconds % length == 0 or unit == "day"):
            count = f"{seconds / length:.4g}"
            return f"{count} {unit}s" if unit == "day" and count != "1" else f"{count} {unit}"
    return f"{seconds} s"


def moment(seconds: int) -> str:
    """Return a time of the trace, UTC."""
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M}"


def spoken(policy: str) -> str:
    """Return a policy's name as it stands in a sentence."""
    return SPOKEN.get(policy, policy)


def asked(results: Sequence[RunResult], sla: float) -> list[RunResult]:
    """Return the results at the requested SLA."""
    return [result for result in results if result.run.sla == sla]


def by_preference(results: Sequence[RunResult]) -> list[RunResult]:
    """Return the result a report is about first: tidegate, then who follows the SLA; the oracle last."""

    def rank(result: RunResult) -> int:
        name = result.run.policy
        if name == "tidegate":
            return 0
        return 1 if name in SLA_POLICIES else 3 if name == ORACLE else 2

    return sorted(results, key=rank)


def gap_of(results: Sequence[RunResult], row: int, of: Measures) -> float | None:
    """Return how much of the gap between rule and oracle was closed; None unless both ran."""
    by_name = {result.run.policy: result.measures[row] for result in results}
    return gap_closed(of, by_name.get(RULE), by_name.get(ORACLE))


def headline(resource: Resource, row: int, results: Sequence[RunResult], sla: float) -> list[str]:
    """Return what a hurried reader should know about one resource, in sentences."""
    at_sla = asked(results, sla)
    if not at_sla:
        return [f"No policy ran at an SLA of {rate(sla)}."]
    subject = by_preference(at_sla)[0]
    name, of = subject.run.policy, subject.measures[row]
    peers = [
        (result.run.policy, result.measures[row])
        for wanted in (RULE, "vpa")
        for result in at_sla
        if result.run.policy == wanted != name
    ]
    said = f"At an SLA of {rate(sla)}, {spoken(name)} reserves {percent(of.reserved_ratio)} of "
    said += f"{RESOURCE_WORDS[resource]} capacity"
    for at, (peer, measures) in enumerate(peers):
        said += f" and {spoken(peer)} " if at else f" where {spoken(peer)} needs "
        said += percent(measures.reserved_ratio) + (_less(measures, of) if peer == RULE else "")
    short = [f"{spoken(peer)} in {percent(measures.violation_ratio)}" for peer, measures in peers]
    said += "; " + ", ".join([f"it ran short in {percent(of.violation_ratio)} of samples", *short]) + "."
    kept = f"{percent(of.vms_within_sla_ratio)} of VMs stayed within 1.2 times the SLA."
    return [said, kept, *_against_oracle(name, of, at_sla, row)]


def _less(rule: Measures, of: Measures) -> str:
    """Return how much less than the rule a policy reserves, in brackets; nothing where that is unknown."""
    if not rule.reserved_ratio > 0 or not math.isfinite(of.reserved_ratio):
        return ""
    less = 1 - of.reserved_ratio / rule.reserved_ratio
    return f" ({percent(abs(less))} {'less' if less >= 0 else 'more'})"


def _against_oracle(name: str, of: Measures, results: Sequence[RunResult], row: int) -> list[str]:
    oracle = next((result.measures[row] for result in results if result.run.policy == ORACLE), None)
    if oracle is None or name == ORACLE:
        return []
    said = f"Knowing the future, {percent(oracle.reserved_ratio)} would do"
    closed = gap_of(results, row, of)
    if closed is None or name == RULE:
        return [said + "."]
    return [f"{said}: {spoken(name)} closes {percent(closed)} of the gap from the calibrated rule to there."]
