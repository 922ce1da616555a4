"""Newcomers: who is new starts from the median of its peers, and its own samples take over from there.

What is handed on fades as everything else that is remembered: losses and rates in two or three days, the
usual day as days go by. With it the network may act after an hour. First three days of 125 VMs that come
late (Bitbrains, August 2013, SLA 0.1 %), reserved and ran short:

| start                                          | CPU             | memory          |
|------------------------------------------------|-----------------|-----------------|
| from nothing, the plain model for a day        | 23.2 %, 0.139 % | 26.1 %, 0.192 % |
| the network after an hour                      | 23.1 %, 0.121 % | 26.3 %, 0.166 % |
| and what peers' past and losses are (this one) | 22.3 %, 0.115 % | 26.2 %, 0.168 % |
| all of these and margins and prices, 6 hours   | 24.6 %, 0.108 % | 27.3 %, 0.159 % |

Margins are not handed on: they cost more than they save. Nor are prices: a newcomer's is higher anyway.
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
FROM_PEERS_RECORD: Final = ("loss",)


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
