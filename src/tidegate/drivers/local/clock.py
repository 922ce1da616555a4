"""The time of day of this machine."""

from __future__ import annotations

import time


class SystemClock:
    """Tells the machine's own time."""

    def now_seconds(self) -> int:
        """Return seconds since 1970 UTC."""
        return int(time.time())

    def now_nanoseconds(self) -> int:
        """Return nanoseconds since 1970 UTC."""
        return time.time_ns()

    def forwards_seconds(self) -> float:
        """Return seconds on a clock that nobody puts back; it begins anywhere."""
        return time.monotonic()
