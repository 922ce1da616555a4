"""The journal that keeps nothing: for loops that somebody watches or tallies, and the shortest example."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidegate.model.tick import Tick


class NothingJournal:
    """Forgets every tick."""

    def append(self, tick: Tick) -> None:
        """Store nothing."""
