"""The port of a move: one VM, where it runs and where it is to run. Every call may block."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tidegate.drivers.libvirt.moving.orders import Measured, MoveOrder, Progress


class Place(Enum):
    """Where a VM is found to run."""

    SOURCE = "source"
    TARGET = "target"
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What is noted of a move before it begins: enough to find both ends again."""

    kind: str
    """Which implementation: ``libvirt`` or ``qmp``."""
    uuid: str
    name: str
    source: str
    target: str
    target_name: str = ""
    """Where it goes by another name there."""


class Way(Protocol):
    """How one VM is moved from one host to another."""

    @property
    def route(self) -> Route:
        """Who goes from where to where."""
        ...

    def check(self, order: MoveOrder) -> None:
        """Look whether it can be moved so; changes nothing.

        Raises:
            Refusal: it can't; the sentence says why, and what to do.

        """
        ...

    def measure(self, seconds: int) -> Measured:
        """Look for so long how much memory it uses, and how fast it writes it."""
        ...

    def start(self, order: MoveOrder) -> None:
        """Begin; returns when memory goes over, or is about to.

        Raises:
            TidegateError: it can't begin.

        """
        ...

    def progress(self) -> Progress:
        """Return how far it is.

        Raises:
            TidegateError: nobody can tell.

        """
        ...

    def switch(self) -> None:
        """Let the guest run at the target at once, and fetch its memory there (post-copy)."""
        ...

    def abort(self) -> None:
        """Stop it; what came of that `progress` tells. Where it can't be stopped any more: nothing."""
        ...

    def settle(self) -> Place:
        """End what is under way, remove what is left at the other end, and say where the VM runs.

        Again: the same, with nothing to do. This is what is done after every move, and after a mover died.

        Raises:
            TidegateError: that can't be told, or not done, now.

        """
        ...

    def close(self) -> None:
        """Hang up."""
        ...
