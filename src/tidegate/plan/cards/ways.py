"""Which links have room for what a plan would put on them: from servers to cards, and between cards.

What is placed in a plan is charged at once, so that several newcomers don't share the same room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.card_fleet import NOBODY, NOWHERE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.card_fleet import CardFleet

LEFT_MIN_BYTES_PER_SECOND: Final = 125_000.0
"""A link with less left than a megabit a second has nothing left: a move over it would not end."""


def left_of(fleet: CardFleet) -> NDArray[np.float64]:
    """Return what is left of each way from server to card as plans begin: (servers, cards)."""
    nothing = np.zeros((0, len(fleet.cards)))
    return nothing if fleet.ways is None else fleet.ways.left_bytes_per_second.copy()


def charge(
    fleet: CardFleet, left: NDArray[np.float64], application: int, card_from: int, card_to: int
) -> None:
    """Take an application's traffic off the way to one card, and put it on the way to another."""
    ways = fleet.ways
    if ways is None or ways.server[application] == NOBODY:
        return
    server, need = int(ways.server[application]), float(ways.need_bytes_per_second[application])
    if card_from != NOWHERE:
        left[server, card_from] += need
    if card_to != NOWHERE:
        left[server, card_to] -= need


def open_to(fleet: CardFleet, left: NDArray[np.float64], rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return whom of some applications the links let go where: (rows, cards).

    To another card than its own an application goes only if the way from its server has room for its
    traffic, and, where it takes its state along, the way from its card has any left.
    """
    found = np.ones((rows.size, len(fleet.cards)), dtype=np.bool_)
    ways, here = fleet.ways, fleet.card[rows]
    if ways is not None:
        someone = ways.server[rows] != NOBODY
        need = ways.need_bytes_per_second[rows][someone, None]
        found[someone] = (need <= left[ways.server[rows][someone]]) | (need <= 0)
    carries = fleet.hands_off[rows] & (here != NOWHERE)
    between = fleet.between_bytes_per_second[np.maximum(here, 0)] >= LEFT_MIN_BYTES_PER_SECOND
    found &= between | ~carries[:, None]
    at_home = np.flatnonzero(here != NOWHERE)
    found[at_home, here[at_home]] = True
    return found


def crowded(
    fleet: CardFleet, left: NDArray[np.float64], application: int, cards: NDArray[np.intp]
) -> str | None:
    """Say that the links to all of ``cards`` are full for an application; None where one is not."""
    if open_to(fleet, left, np.array([application]))[0, cards].any():
        return None
    ways, name = fleet.ways, fleet.applications[application]
    need = 0.0 if ways is None else float(ways.need_bytes_per_second[application])
    if ways is not None and ways.server[application] != NOBODY:
        on_way = left[ways.server[application], cards]
        if (on_way < need).all():
            best = int(on_way.argmax())
            return (
                f"of the link from its server to {fleet.cards[cards[best]]}, on which most is left, "
                f"{max(on_way[best], 0) / 1e6:.3g} MB/s are, and '{name}' needs {need / 1e6:.3g} MB/s; "
                "add a link, or lower what it asks for"
            )
    here = int(fleet.card[application])
    where = "its server" if here == NOWHERE else fleet.cards[here]
    return f"the links from {where} to cards with room have nothing left for it; wait, or add a link"


__all__ = ["LEFT_MIN_BYTES_PER_SECOND", "charge", "crowded", "left_of", "open_to"]
