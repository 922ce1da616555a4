"""Peers: the settled workloads a newcomer is most likely to take after.

Same size first of all; of those, the ones with the same name but for digits on the same server, then the
same name anywhere, then anyone on the server, then anyone. The work is bounded, whatever the fleet's size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tidegate.model.snapshot import Snapshot

PEERS_MIN: Final = 3
"""Fewer say nothing: the next wider circle is asked."""
PEERS_MAX: Final = 256
"""Of more, every so manieth is asked: a median over so many is as good."""
GROUPS_MAX: Final = 64
"""Kinds of newcomers helped at a tick; where a whole data centre is new, nobody knows anything anyway."""
NEWCOMERS_MAX: Final = 4096
"""Newcomers helped at a tick, by identifier; the others start from nothing."""
_DIGITS: Final = str.maketrans("", "", "0123456789")


class Group(NamedTuple):
    """Newcomers alike, and their peers; rows of the roster."""

    newcomers: NDArray[np.int64]
    peers: NDArray[np.int64]


def stem(name: str) -> str:
    """Return the name without its digits: ``web-017`` and ``web-3`` are of one kind."""
    return name.translate(_DIGITS)


def peer_groups(
    snapshot: Snapshot, resource_row: int, newcomers: NDArray[np.bool_], settled: NDArray[np.bool_]
) -> Iterator[Group]:
    """Return newcomers (workloads,) with their peers among the settled (workloads,), group by group.

    Newcomers without a capacity or with too few peers are left out, and those past the bounds.
    """
    rows = np.flatnonzero(newcomers)
    if not rows.size or not settled.any():
        return
    capacity, names = snapshot.capacity[resource_row], snapshot.roster.names
    groups: dict[tuple[float, int, str], list[int]] = {}
    for row in rows[np.argsort(snapshot.roster.ids[rows], kind="stable")][:NEWCOMERS_MAX].tolist():
        key = float(capacity[row]), int(snapshot.host[row]), stem(names[row])
        if key in groups or len(groups) < GROUPS_MAX:
            groups.setdefault(key, []).append(row)
    for (size, host, kind), alike in groups.items():
        same = np.flatnonzero(settled & (capacity == size))
        peers = _nearest(same, names, here=snapshot.host[same] == host, kind=kind, ids=snapshot.roster.ids)
        if peers.size:
            yield Group(np.array(alike, dtype=np.int64), peers)


def _nearest(
    same: NDArray[np.int64],
    names: Sequence[str],
    *,
    here: NDArray[np.bool_],
    kind: str,
    ids: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the nearest circle of those of the same size that holds enough of them; nobody: none does."""
    local, wide = _thinned(same[here], ids), _thinned(same, ids)
    for circle in (_of_kind(local, names, kind), _of_kind(wide, names, kind), local, wide):
        if circle.size >= PEERS_MIN:
            return circle
    return same[:0]


def _thinned(rows: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows by identifier, so that their order does not matter, and `PEERS_MAX` at most."""
    ordered = rows[np.argsort(ids[rows], kind="stable")]
    if ordered.size <= PEERS_MAX:
        return ordered
    return ordered[np.arange(PEERS_MAX) * ordered.size // PEERS_MAX]


def _of_kind(rows: NDArray[np.int64], names: Sequence[str], kind: str) -> NDArray[np.int64]:
    return rows[[stem(names[row]) == kind for row in rows.tolist()]] if rows.size else rows
