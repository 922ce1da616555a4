"""What the fleet manager asks of a card: a port, so that it works with cards over the wire and in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from tidegate.model.refusals import Because, Refusal

if TYPE_CHECKING:
    from tidegate.agents.fleet.records import CardSeen, Ended, Moving
    from tidegate.model.application import Amounts, ApplicationSpec


SILENCE: Final = frozenset(
    {
        Because.UNREACHABLE,
        Because.TOO_LATE,
        Because.BROKEN,
        Because.NOT_ALLOWED,
        Because.UNKNOWN_PEER,
    }
)
"""What is no answer: it may have been done or not, and is asked again.

Who is turned away at the door learns nothing of what was done when the same was asked before.
"""


def said_no(refused: Refusal) -> bool:
    """Return whether a card refused, and so did nothing; otherwise nobody knows what it did."""
    return refused.because not in SILENCE


class AskedCard(Protocol):
    """One card's device. Every call ends within its deadline and may be sent again: it is done once.

    All raise a `Refusal`: `said_no` tells whether the card refused or could not be heard.
    """

    async def look(self) -> CardSeen:
        """Return the card and all that is on it."""
        ...

    async def create(self, name: str, spec: ApplicationSpec, *, epoch: int) -> None:
        """Take an application in and start it."""
        ...

    async def delete(self, name: str) -> None:
        """Stop an application and forget it; fine where there is none."""
        ...

    async def move(self, moving: Moving, *, target_address: str) -> str:
        """Begin to move an application away; returns what the card calls the migration."""
        ...

    async def ended(self, migration: str) -> Ended | None:
        """Return how a migration ended; None while it goes on."""
        ...

    async def limit(self, name: str, budget: Amounts) -> None:
        """Say what an application may hold at most for now."""
        ...
