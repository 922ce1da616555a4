"""What cards tell of their links, as columns: pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.card_fleet import NOBODY, Ways
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tidegate.agents.fleet.records import CardSeen, Link, Placed

BETWEEN_BYTES_PER_SECOND: Final = 100e6
"""What the way between two cards carries where nobody says: most of a gigabit."""


def between(cards: Sequence[CardSeen]) -> NDArray[np.float64]:
    """Return what is left of the way from each card to each other: (cards, cards) bytes per second.

    Both ends tell of it, and the fuller one counts: an interface is shared by all links behind it.
    """
    found = np.full((len(cards), len(cards)), np.inf)
    for row, card in enumerate(cards):
        for column, other in enumerate(cards):
            left = _left(card.links.get(other.name))
            if left is not None:
                found[row, column] = min(found[row, column], left)
                found[column, row] = min(found[column, row], left)
    return np.where(np.isinf(found), BETWEEN_BYTES_PER_SECOND, found)


def ways(cards: Sequence[CardSeen], placed: Sequence[Placed], need: NDArray[np.float32]) -> Ways | None:
    """Return the links from servers to cards, as far as they are told; None where none is.

    ``need`` is (resources, applications), in the order of `Resource`.
    """
    servers = sorted({one.spec.server for one in placed} - {""})
    rows = {server: row for row, server in enumerate(servers)}
    told = [[_left(card.links.get(server)) for card in cards] for server in servers]
    if all(left is None for each in told for left in each):
        return None
    left = np.array([[np.inf if one is None else one for one in each] for each in told], dtype=np.float64)
    far = {
        name: rate for card in cards for link in card.links.values() for name, rate in link.far_memory.items()
    }
    return Ways(
        server=np.array([rows.get(one.spec.server, NOBODY) for one in placed], dtype=np.int32),
        need_bytes_per_second=need[Resource.NETWORK].astype(np.float64)
        + np.array([far.get(one.name, 0.0) for one in placed], dtype=np.float64),
        left_bytes_per_second=left,
    )


def _left(link: Link | None) -> float | None:
    """Return what is left of a link; what it carries where nobody counts, None where nobody knows either."""
    if link is None:
        return None
    return link.bytes_per_second if link.left_bytes_per_second is None else link.left_bytes_per_second


__all__ = ["BETWEEN_BYTES_PER_SECOND", "between", "ways"]
