"""The other card of a move, as the one that an application leaves sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidegate.model.application import ApplicationSpec

LISTEN_SECONDS_MAX: Final = 120.0
"""How long a standby may take to load its program: half a second of CPU takes a minute at a hundredth of a
core. It costs nobody anything, as the application serves where it is."""


@dataclass(frozen=True, slots=True)
class Standby:
    """How an application is that waits on another card for its state."""

    trouble: str = ""
    """What keeps it from ever taking one in; empty where nothing does."""
    listens: bool = True
    """Whether it would take one in now: a program that is still being loaded would not."""

    def trouble_after(self, seconds: float, card: str) -> str:
        """Return why it is to be given up after so long on a card of that name; empty where it is not."""
        if self.trouble or self.listens or seconds <= LISTEN_SECONDS_MAX:
            return self.trouble
        return (
            f"its standby on card {card} does not listen on its control socket after {LISTEN_SECONDS_MAX:g} "
            "s; its log there says why"
        )


class Peer(Protocol):
    """Another card. Every call may be made again, and is done once for each epoch.

    All raise `Refusal`: of kind UNREACHABLE or TOO_LATE where nobody knows whether it was done, of another
    where it was not.
    """

    def prepare(self, name: str, spec: ApplicationSpec, *, epoch: int, move: str) -> tuple[str, ...]:
        """Have it take an application in on standby for a move; return where it will serve."""
        ...

    def standing(self, name: str, *, epoch: int) -> Standby:
        """Say how its standby is."""
        ...

    def activate(
        self, name: str, *, epoch: int, state: Iterable[bytes], state_bytes: int, afresh: bool
    ) -> None:
        """Hand it the state, or none to start ``afresh``; where this returns, it serves there, or did."""
        ...

    def withdraw(self, name: str, *, epoch: int) -> None:
        """Have it drop its standby and never again take in that epoch; refused where it may serve there."""
        ...


__all__ = ["Peer", "Standby"]
