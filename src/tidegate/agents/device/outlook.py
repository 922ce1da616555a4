"""What a card expects of its applications and of the servers they work for, as its fleet manager is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidegate.model.application import Amounts

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOutlook:
    """A server that the card serves."""

    server: str
    score: float
    """0-100: how hard it presses on the card."""
    reason: str
    workloads: int = 0
    heard_nanoseconds: int = 0
    lost: bool = False


@dataclass(slots=True)
class Outlook:
    """The latest of it; whoever decides writes it, and others read it."""

    expected: Mapping[str, Amounts] = field(default_factory=dict)
    """By application: its need at its peak within the next minutes."""
    servers: tuple[ServerOutlook, ...] = ()

    def of(self, application: str) -> Amounts:
        """Return what an application is expected to need; nothing where nobody knows yet."""
        return self.expected.get(application, Amounts())
