"""What became of actions, as outcomes; pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tidegate.drivers.libvirt.frames import RESOURCES
from tidegate.model.outcome import Outcome, Phase
from tidegate.model.roster import HOST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.drivers.libvirt.runner import Done
    from tidegate.drivers.libvirt.seeing import Seen
    from tidegate.model.plan import Actions


def confirmed(done: Sequence[Done], seen: Seen) -> Outcome:
    """Return the outcome of what ended, with what is held as a look since shows it."""
    held = [seen.held(one.wish.workload_id, one.wish.row) for one in done]
    return Outcome(
        workload_id=np.array([one.wish.workload_id for one in done], dtype=np.int64),
        resource_row=np.array([one.wish.asked_row for one in done], dtype=np.uint8),
        share=np.full(len(done), HOST, dtype=np.uint8),
        phase=np.array([one.phase for one in done], dtype=np.uint8),
        amount_read_back=np.array(held, dtype=np.float32),
    )


def refusal(actions: Actions, rows: Sequence[int], seen: Seen | None) -> Outcome:
    """Return the outcome of actions that are not even tried, with what was held at the last look."""
    at = np.array(rows, dtype=np.int64)
    return Outcome(
        workload_id=actions.workload_id[at],
        resource_row=actions.resource_row[at],
        share=actions.share[at],
        phase=np.full(at.size, Phase.REFUSED, dtype=np.uint8),
        amount_read_back=np.array([_held(actions, row, seen) for row in rows], dtype=np.float32),
    )


def _held(actions: Actions, row: int, seen: Seen | None) -> float:
    resource = actions.resources[int(actions.resource_row[row])]
    if seen is None or resource not in RESOURCES or actions.share[row] != HOST:
        return math.nan
    return seen.held(int(actions.workload_id[row]), RESOURCES.index(resource))
