"""The change set: wanted state minus current state, as columns of actions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tidegate.model.plan import Actions, Kind, Plan
from tidegate.model.roster import CARD, HOST, NO_CARD
from tidegate.model.snapshot import expected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.snapshot import Snapshot

ROUNDING_RATIO: Final = 1e-6
"""Held plus in flight misses what was asked by float32 rounding of what is in flight: that is no change."""


class _Rows(NamedTuple):
    """Which shares change: parallel arrays, one entry an action."""

    share: NDArray[np.int64]
    resource: NDArray[np.int64]
    workload: NDArray[np.int64]


def difference(plan: Plan, snapshot: Snapshot) -> Actions:
    """Return the actions that turn what is held (in flight included) into what is wanted.

    Applying them and taking the difference again gives no action. A share that grows at one place
    while the workload's other share shrinks is a `Rehome`; a share that changes its card is a
    `Migrate`; everything else is a `Resize`. Unknown wanted amounts (NaN) ask for nothing.
    """
    held = expected(snapshot)
    moved = _moved_card(plan, snapshot)
    rounding = np.float32(ROUNDING_RATIO) * np.abs(snapshot.in_flight)
    changed = ~(np.abs(plan.wanted - held) <= rounding) & ~np.isnan(plan.wanted)
    if moved.any():
        changed[CARD] |= moved & (plan.wanted[CARD] > 0)
    rows = _Rows(*np.nonzero(changed))
    place_to = _place(rows, snapshot.host, plan.card)
    return Actions(
        time_seconds=plan.time_seconds,
        expires_seconds=plan.expires_seconds,
        kind=_kinds(rows, plan, held, moved),
        workload=rows.workload,
        workload_id=snapshot.roster.ids[rows.workload],
        resource_row=rows.resource.astype(np.uint8),
        share=rows.share.astype(np.uint8),
        place_from=_sources(rows, plan, snapshot, held, moved),
        place_to=place_to,
        amount_from=held[rows],
        amount_to=plan.wanted[rows],
        resources=snapshot.resources,
        place_names=snapshot.places.names,
    )


def _moved_card(plan: Plan, snapshot: Snapshot) -> NDArray[np.bool_]:
    """(workloads,) whose card changes."""
    if plan.card is snapshot.card:
        return np.zeros(snapshot.card.shape, dtype=np.bool_)
    return (plan.card != snapshot.card) & (plan.card != NO_CARD)


def _place(rows: _Rows, host: NDArray[np.int32], card: NDArray[np.int32]) -> NDArray[np.int32]:
    """The place each changed share is at."""
    return np.where(rows.share == HOST, host[rows.workload], card[rows.workload]).astype(np.int32)


def _rehomed(rows: _Rows, plan: Plan, held: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether each changed share grows while the same workload's other share shrinks."""
    other = (1 - rows.share, rows.resource, rows.workload)
    grows = plan.wanted[rows] > held[rows]
    return grows & (plan.wanted[other] < held[other])


def _kinds(rows: _Rows, plan: Plan, held: NDArray[np.float32], moved: NDArray[np.bool_]) -> NDArray[np.uint8]:
    kinds = np.where(_rehomed(rows, plan, held), np.uint8(Kind.REHOME), np.uint8(Kind.RESIZE))
    migrates = moved[rows.workload] & (rows.share == CARD) & (held[rows] > 0)
    return np.where(migrates, np.uint8(Kind.MIGRATE), kinds)


def _sources(
    rows: _Rows,
    plan: Plan,
    snapshot: Snapshot,
    held: NDArray[np.float32],
    moved: NDArray[np.bool_],
) -> NDArray[np.int32]:
    """Where the amount comes from: the other place for a rehome, the old card for a migration."""
    here = _place(rows, snapshot.host, np.where(moved, snapshot.card, plan.card))
    there = _place(rows._replace(share=1 - rows.share), snapshot.host, snapshot.card)
    return np.where(_rehomed(rows, plan, held), there, here)
