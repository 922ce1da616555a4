"""Where a wanted total comes from: host first, card for the offloadable rest, by SLA class.

All workloads of a fleet are placed at once: sorted by place and class, a running sum says how much of
each place's room was asked for before one's turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tidegate.model.roster import CARD, HOST, NO_CARD
from tidegate.model.snapshot import card_worth, summed_by_place

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.snapshot import Snapshot

HOME_FREE_RATIO: Final = 0.2
"""A card share comes home once its server has this share of its capacity free: well above zero, where
it was sent away, so that nothing swings between the two."""


class Turn(NamedTuple):
    """The order in which workloads take from their places."""

    order: NDArray[np.int64]
    """(workloads,) sorted by place, then class (higher first), then row."""
    place: NDArray[np.int64]
    """(workloads,) place number in that order; workloads without a place are at the last, extra one."""
    start: NDArray[np.int64]
    """(workloads,) where the place's first workload stands in that order."""


def turn_of(place: NDArray[np.int32], priority: NDArray[np.uint8], places: int) -> Turn:
    """Return the order for workloads at ``place`` (workloads,); -1 means nowhere."""
    at = np.where(place < 0, places, place).astype(np.int64)
    order = np.lexsort((-priority.astype(np.int16), at))
    sorted_place = at[order]
    return Turn(order, sorted_place, np.searchsorted(sorted_place, sorted_place, side="left"))


def rationed(asked: NDArray[np.float32], room: NDArray[np.float64], turn: Turn) -> NDArray[np.float32]:
    """Give each workload what it asked, in turn, until its place has no room left.

    ``asked`` is (resources, workloads) and not negative, ``room`` (resources, places). Who is nowhere
    gets nothing, as who asks for an unknown amount (NaN). The gifts at a place never add up to more than
    its room.
    """
    given = np.empty_like(asked)
    for row in range(asked.shape[0]):
        mine = np.nan_to_num(asked[row, turn.order].astype(np.float64))
        before = np.cumsum(mine) - mine
        before -= before[turn.start]
        left = np.append(np.maximum(room[row], 0), 0)[turn.place] - before
        given[row, turn.order] = np.clip(left, 0, mine)
    return given


class Placed(NamedTuple):
    """Shares and what could not be covered; (resources, workloads) each."""

    host: NDArray[np.float32]
    card: NDArray[np.float32]
    """In card units."""
    shortfall: NDArray[np.float32]
    """In server units."""


@dataclass(slots=True)
class Placement:
    """Places totals; remembers the turn order until the fleet or someone's place changes."""

    _hosts: tuple[NDArray[np.int32], Turn] | None = field(default=None)
    _cards: tuple[NDArray[np.int32], Turn] | None = field(default=None)

    def host_turn(self, snapshot: Snapshot) -> Turn:
        """Return the order at the servers."""
        if self._hosts is None or self._hosts[0] is not snapshot.host:
            self._hosts = (snapshot.host, _turn(snapshot, snapshot.host))
        return self._hosts[1]

    def card_turn(self, snapshot: Snapshot) -> Turn:
        """Return the order at the cards."""
        if self._cards is None or self._cards[0] is not snapshot.card:
            self._cards = (snapshot.card, _turn(snapshot, snapshot.card))
        return self._cards[1]

    def place(self, total: NDArray[np.float32], snapshot: Snapshot) -> Placed:
        """Split wanted totals (resources, workloads; server units) into host and card shares.

        Floors are served first, then classes from the highest; what the host can't hold goes to the
        card as far as it is offloadable; what is left is the shortfall. An unknown total (NaN) leaves the
        host share unknown.
        """
        if not snapshot.places.bounded:
            return Placed(total, np.zeros_like(total), np.zeros_like(total))
        worth = card_worth(snapshot)
        unknown = np.isnan(total)
        total = np.nan_to_num(total)
        may_offload = np.where(snapshot.card == NO_CARD, 0, total * snapshot.roster.offloadable_ratio)
        kept = np.minimum(self._staying(snapshot, worth), may_offload)
        host = self._at_host(total - kept, snapshot)
        short = total - kept - host
        room = snapshot.places.allocatable - summed_by_place(
            kept / worth, snapshot.card, len(snapshot.places.names)
        )
        asked = np.maximum(np.minimum(short, may_offload - kept), 0) / worth
        extra = rationed(asked.astype(np.float32), room, self.card_turn(snapshot))
        return Placed(
            np.where(unknown, np.float32(np.nan), host),
            (kept / worth + extra).astype(np.float32),
            np.maximum(short - extra * worth, 0),
        )

    def _at_host(self, need: NDArray[np.float32], snapshot: Snapshot) -> NDArray[np.float32]:
        turn = self.host_turn(snapshot)
        floor = np.minimum(snapshot.roster.floor, need)
        held = rationed(floor, snapshot.places.allocatable, turn)
        room = snapshot.places.allocatable - summed_by_place(held, snapshot.host, len(snapshot.places.names))
        return held + rationed(need - floor, room, turn)

    def _staying(self, snapshot: Snapshot, worth: NDArray[np.float32]) -> NDArray[np.float32]:
        """What each workload holds on its card and should not bring home yet, in server units."""
        on_card = snapshot.grant[CARD] * worth
        if not on_card.any():
            return on_card
        held = summed_by_place(snapshot.grant[HOST], snapshot.host, len(snapshot.places.names))
        with np.errstate(invalid="ignore"):
            free = 1 - held / snapshot.places.allocatable
        roomy = np.take(free, snapshot.host, axis=1) > HOME_FREE_RATIO
        return np.where(roomy, np.float32(0), on_card)


def _turn(snapshot: Snapshot, place: NDArray[np.int32]) -> Turn:
    return turn_of(place, snapshot.roster.priority, len(snapshot.places.names))
