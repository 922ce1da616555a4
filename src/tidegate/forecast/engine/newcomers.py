"""Newcomers: who is new starts from the median record of its peers, and its own takes over from there.

Losses of each model are handed on, so that the right one speaks from the first hour; they are forgotten in
days, as all losses are. What else is remembered is the newcomer's own: see the design note on drift and
newcomers for what handing on margins, rates or the usual day did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.peers import peer_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.columns import Columns
    from tidegate.model.snapshot import Snapshot


def start(
    past: Columns,
    record: Columns,
    snapshot: Snapshot,
    sample: NDArray[np.float32],
    *,
    settled_steps: float,
) -> None:
    """Give each series whose first ``sample`` (resources, workloads) this is the losses of its peers."""
    seen, loss = past["seen"], record["loss"]
    fresh = (seen == 0) & ~np.isnan(sample)
    if not fresh.any():
        return
    for row in np.flatnonzero(fresh.any(axis=1)).tolist():
        for newcomers, peers in peer_groups(snapshot, row, fresh[row], seen[row] >= settled_steps):
            loss[:, row, newcomers] = np.median(loss[:, row, peers], axis=-1)[:, None]
