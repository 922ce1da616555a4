"""The learner that learns nothing: the shortest example of the port."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidegate.model.tick import Tick


class NothingLearner:
    """Forgets every tick."""

    def learn(self, tick: Tick) -> None:
        """Learn nothing."""
