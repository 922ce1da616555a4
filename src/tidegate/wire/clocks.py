"""Seconds, as records have them, and nanoseconds in int64, as messages do."""

from __future__ import annotations

import math
from typing import Final

from tidegate.model.refusals import InvalidField

NANOSECONDS: Final = 1_000_000_000
NANOSECONDS_MAX: Final = 2**63 - 1
"""What an int64 holds: until the year 2262, or for 292 years."""
DURATION_MAX_SECONDS: Final = 10 * 365.25 * 86_400
"""No step, grace, time to live or deadline is longer: whoever says so means another unit."""


def nanoseconds(seconds: float, field: str = "seconds") -> int:
    """Return seconds as nanoseconds; those of whole seconds are exact.

    Raises:
        InvalidField: they are negative, not finite, or more than an int64 holds.

    """
    if not 0 <= seconds <= NANOSECONDS_MAX / NANOSECONDS:
        raise InvalidField(
            field, f"{seconds:g} s can't be sent; give 0 to {NANOSECONDS_MAX // NANOSECONDS} s"
        )
    whole = math.floor(seconds)
    return whole * NANOSECONDS + round((seconds - whole) * NANOSECONDS)


def seconds(nanoseconds: int, field: str) -> float:
    """Return a time since 1970 in seconds; a double keeps it to a quarter of a microsecond.

    Raises:
        InvalidField: it is negative.

    """
    if nanoseconds < 0:
        raise InvalidField(field, f"{nanoseconds} ns is before 1970; give nanoseconds since then")
    return nanoseconds / NANOSECONDS


def duration(nanoseconds: int, field: str, *, unset: float = 0.0) -> float:
    """Return a duration in seconds; ``unset`` where nothing was said (0).

    Raises:
        InvalidField: it is negative or longer than ten years.

    """
    if not 0 <= nanoseconds <= DURATION_MAX_SECONDS * NANOSECONDS:
        raise InvalidField(
            field,
            f"{nanoseconds} ns is no duration; give 0 to {DURATION_MAX_SECONDS:.0f} s",
            limit=DURATION_MAX_SECONDS,
        )
    return nanoseconds / NANOSECONDS if nanoseconds else unset


def whole_seconds(nanoseconds: int, field: str) -> int:
    """Return the second nearest to a time, for records that count in seconds.

    Raises:
        InvalidField: it is negative.

    """
    if nanoseconds < 0:
        raise InvalidField(field, f"{nanoseconds} ns is before 1970; give nanoseconds since then")
    return (nanoseconds + NANOSECONDS // 2) // NANOSECONDS
