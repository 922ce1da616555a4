"""Newcomers: who is new starts from the median of its peers, and its own samples take over from there.

What is handed on fades as everything else that is remembered: margins and losses with the newcomer's own
misses, rates in three days, the usual day as days go by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.peers import peer_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.columns import Columns
    from tidegate.model.snapshot import Snapshot

FROM_PEERS_PAST: Final = ("rates", "usual", "peaks")
FROM_PEERS_RECORD: Final = ("margin", "loss")


def start(
    past: Columns,
    record: Columns,
    snapshot: Snapshot,
    sample: NDArray[np.float32],
    *,
    settled_steps: float,
) -> None:
    """Give each series whose first ``sample`` (resources, workloads) this is what its peers remember."""
    seen = past["seen"]
    fresh = (seen == 0) & ~np.isnan(sample)
    if not fresh.any():
        return
    for row in np.flatnonzero(fresh.any(axis=1)).tolist():
        for newcomers, peers in peer_groups(snapshot, row, fresh[row], seen[row] >= settled_steps):
            for memory, names in ((past, FROM_PEERS_PAST), (record, FROM_PEERS_RECORD)):
                for name in names:
                    column = memory[name]
                    middle = np.median(column[:, row, peers], axis=-1)
                    column[:, row, newcomers] = middle[:, None].astype(column.dtype)
