"""An actuator that changes nothing: for `observe`, for benchmarks, and as the shortest example."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.model.outcome import nothing_confirmed

if TYPE_CHECKING:
    from tidegate.model.outcome import Outcome
    from tidegate.model.plan import Actions


class DryRun:
    """Takes every action and does none."""

    def __init__(self) -> None:
        """Count from nothing."""
        self.actions_skipped = 0

    def submit(self, actions: Actions) -> None:
        """Count the actions and forget them."""
        self.actions_skipped += len(actions)

    def collect(self) -> Outcome:
        """Return nothing: nothing happened."""
        return nothing_confirmed()
