"""Times written by people, as seconds since 1970 UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tidegate.model.errors import InputError

YEARS: Final = (2010, 2035)
"""First and last year of holidays and of what repeats, where nobody says which."""
YEARS_MAX: Final = 50
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)


def zone_named(name: str) -> ZoneInfo:
    """Return a time zone such as ``America/New_York``.

    Raises:
        InputError: there is none of that name.

    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(f"there is no time zone {name!r}; write one like Europe/Berlin or UTC") from error


def seconds_from_text(
    text: str, *, zone: tzinfo = UTC, offset_seconds: int = 0, days_after: int = 0
) -> int | None:
    """Return the time of an ISO 8601 text, or so many days after on its calendar; None if it is none.

    A text without a zone is in ``zone``, less ``offset_seconds``.
    """
    try:
        when = datetime.fromisoformat(text.strip()) + timedelta(days=days_after)
        return seconds_of(when, zone=zone) - (offset_seconds if when.tzinfo is None else 0)
    except (ValueError, OverflowError):
        return None


def seconds_of(when: datetime, *, zone: tzinfo = UTC) -> int:
    """Return the time in seconds since 1970 UTC; one without a zone is in ``zone``."""
    known = when.replace(tzinfo=zone) if when.tzinfo is None else when
    return round((known - _EPOCH) / _SECOND)


def span_of_years(years: tuple[int, int], *, zone: tzinfo) -> tuple[int, int]:
    """Return the first second of the first year and the first after the last, in a zone.

    Raises:
        InputError: the years are no span within 1901 to 2198, or there are too many.

    """
    first, last = years
    if not 1901 <= first <= last <= 2198 or last - first >= YEARS_MAX:
        raise InputError(
            f"the years {first} to {last} are no span of at most {YEARS_MAX} from 1901 to 2198; "
            "write years=2024-2026"
        )
    return (
        seconds_of(datetime(first, 1, 1, tzinfo=zone)),
        seconds_of(datetime(last + 1, 1, 1, tzinfo=zone)),
    )
