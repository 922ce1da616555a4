"""The other card of a move, as the one that an application leaves sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidegate.agents.device.records import Migration
    from tidegate.model.application import ApplicationSpec


SECOND: Final = 10**9
LISTEN_MAX_NANOSECONDS: Final = 120 * SECOND
"""How long a standby may take to load its program: half a second of CPU takes a minute at a hundredth of a
core. It costs nobody anything, as the application serves where it is."""


@dataclass(frozen=True, slots=True)
class Standby:
    """How an application is that waits on another card for its state."""

    trouble: str = ""
    """What keeps it from ever taking one in; empty where nothing does."""
    listens: bool = True
    """Whether it would take one in now: a program that is still being loaded would not."""


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


def standby_trouble(one: Migration, standby: Standby, now_nanoseconds: int) -> str:
    """Return why a standby will never take its state in; empty where it does, or may soon."""
    waited = now_nanoseconds - one.prepared_nanoseconds
    if standby.trouble or standby.listens or waited <= LISTEN_MAX_NANOSECONDS:
        return standby.trouble
    return (
        f"its standby on card {one.target} does not listen on its control socket after "
        f"{LISTEN_MAX_NANOSECONDS // SECOND} s; its log there says why"
    )


__all__ = ["LISTEN_MAX_NANOSECONDS", "Peer", "Standby", "standby_trouble"]
