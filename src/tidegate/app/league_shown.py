"""The league of a journal: every policy's figures over the whole fleet, as of its last checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from tidegate.model.resources import Resource
from tidegate.plan.league import TODAY, YESTERDAY, standings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from tidegate.journal.sql.reader import Reader

DAYS: Final = {"today": TODAY, "yesterday": YESTERDAY}
PREFIX: Final = "planner.league."
"""Under which a checkpoint holds the league's sums."""


class LeagueRow(msgspec.Struct, frozen=True, kw_only=True):
    """One policy's figures for one resource over one day of UTC; ratios 0-1."""

    day: str
    resource: str
    policy: str
    samples: int
    violation_ratio: float
    reserved_ratio: float
    regret_ratio: float


def league_sums(reader: Reader) -> Mapping[str, NDArray[Any]]:
    """Return the league's sums as of the last checkpoint; nothing before the first.

    Raises:
        TidegateError: the journal is damaged.

    """
    manifest = reader.checkpoint()
    if manifest is None:
        return {}
    return {name.removeprefix(PREFIX): sums for name, sums in reader.state(manifest, under=PREFIX).items()}


def league_shown(reader: Reader) -> list[LeagueRow]:
    """Return the figures of the whole fleet, by day, resource and policy; none before a checkpoint.

    Raises:
        TidegateError: the journal is damaged.

    """
    sums, span = league_sums(reader), reader.span()
    if span is None or "samples" not in sums:
        return []
    policies = reader.identity().get("league", "").split(",")
    (changes,) = reader.changes(span.last, span.last)
    return [
        LeagueRow(
            day=day,
            resource=Resource(code).label,
            policy=standing.policy,
            samples=standing.samples,
            violation_ratio=standing.violation_ratio,
            reserved_ratio=standing.reserved_ratio,
            regret_ratio=standing.regret_ratio,
        )
        for day, number in DAYS.items()
        for row, code in enumerate(changes.resources)
        for standing in standings(policies, sums, row, day=number)
    ]


__all__ = ["LeagueRow", "league_shown", "league_sums"]
