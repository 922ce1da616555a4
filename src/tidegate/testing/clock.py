"""A clock that stands still until it is told to move."""

from __future__ import annotations


class ManualClock:
    """Tells the time that the test set."""

    def __init__(self, seconds: int = 0) -> None:
        """Start at a time in seconds since 1970 UTC."""
        self._seconds = seconds

    def now_seconds(self) -> int:
        """Return seconds since 1970 UTC."""
        return self._seconds

    def advance(self, seconds: int) -> None:
        """Let time pass.

        Raises:
            ValueError: time would run backwards.

        """
        if seconds < 0:
            raise ValueError(f"time can't run backwards by {-seconds} s; advance by zero or more")
        self._seconds += seconds
