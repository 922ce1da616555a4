"""Events of the right to act: whose forecast won or lost it, and no more than people can read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.journal.changes import Change
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.journal.changes import TickChanges

NAMED_MAX: Final = 20
"""Most workloads named in one tick; beyond that they are counted."""


def events_of(found: TickChanges, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return a tick's events as rows of the table; ``names`` are the roster's."""
    what = found.rows["what"]
    turned = np.flatnonzero(what & (Change.GAINED | Change.LOST))
    if turned.size == 0:
        return []
    if turned.size > NAMED_MAX:
        gained = int(np.count_nonzero(what[turned] & Change.GAINED))
        said = f"{gained} forecasts gained the right to act and {turned.size - gained} lost it"
        return [_row(found, None, said)]
    return [_row(found, names[int(found.rows["workload"][at])], _sentence(found, int(at))) for at in turned]


def _sentence(found: TickChanges, at: int) -> str:
    resource = Resource(found.resources[int(found.rows["resource"][at])]).label
    model = found.models[int(found.rows["model"][at])]
    skill, coverage = float(found.rows["skill"][at]), float(found.rows["coverage"][at])
    if found.rows["what"][at] & Change.LOST:
        return f"its {resource} forecast lost the right to act; {model} decides, with its margin"
    compared = "better" if skill >= 0 else "worse"
    record = [] if np.isnan(skill) else [f"{abs(skill):.0%} {compared} than the plain baseline"]
    record += [] if np.isnan(coverage) else [f"covered {coverage:.1%} of the peaks"]
    return f"its {resource} forecast ({model}) gained the right to act" + "".join(
        f"{', ' if part else ': '}{text}" for part, text in enumerate(record)
    )


def _row(found: TickChanges, workload: str | None, sentence: str) -> dict[str, Any]:
    return {
        "time_seconds": found.time_seconds,
        "workload": workload,
        "kind": "right to act",
        "sentence": sentence,
    }


__all__ = ["events_of"]
