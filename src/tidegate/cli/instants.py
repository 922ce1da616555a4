"""Points of time as people type them, beside a journal: ``--at`` comes through here."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from typing import Final

from tidegate.cli.durations import parse_duration_seconds
from tidegate.model.errors import InputError

REMEDY: Final = "write 2024-01-31T20:15, 20:15 of the journal's last day, or 15m ago (UTC)"
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d)?")


def parse_instant_seconds(text: str, *, last_seconds: int) -> int:
    """Return seconds since 1970 UTC of a time such as ``2024-01-31T20:15+01:00``, ``20:15`` or ``15m ago``.

    Without an offset a time is UTC. ``HH:MM`` is of the day of ``last_seconds``, the journal's last tick,
    and so are durations back from it (``15m ago``, ``-15m``).

    Raises:
        InputError: the text is no time.

    """
    spelled = text.strip()
    back = spelled.removeprefix("-") if spelled.startswith("-") else spelled.removesuffix("ago").strip()
    if back != spelled:
        return last_seconds - _duration_seconds(back, text)
    if _CLOCK.fullmatch(spelled):
        day = datetime.fromtimestamp(last_seconds, tz=UTC).date()
        padded = spelled if spelled[2] == ":" else f"0{spelled}"
        return int(datetime.combine(day, time.fromisoformat(padded), UTC).timestamp())
    try:
        found = datetime.fromisoformat(spelled)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError) as error:
        raise InputError(f"{text!r} is no time; {REMEDY}") from error


def instant_text(time_seconds: int) -> str:
    """Return a time as people read it, such as ``Wed 2024-01-31 20:15 UTC``, seconds where there are some."""
    form = "%a %Y-%m-%d %H:%M UTC" if time_seconds % 60 == 0 else "%a %Y-%m-%d %H:%M:%S UTC"
    return datetime.fromtimestamp(time_seconds, tz=UTC).strftime(form)


def clock_text(time_seconds: int) -> str:
    """Return the time of day alone, such as ``20:15``; UTC."""
    form = "%H:%M" if time_seconds % 60 == 0 else "%H:%M:%S"
    return datetime.fromtimestamp(time_seconds, tz=UTC).strftime(form)


def instant_iso(time_seconds: int) -> str:
    """Return a time as machines read it, such as ``2024-01-31T20:15:00Z``."""
    return datetime.fromtimestamp(time_seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _duration_seconds(back: str, text: str) -> int:
    try:
        return parse_duration_seconds(back)
    except InputError as error:
        raise InputError(f"{text!r} is no time; {REMEDY}") from error


__all__ = ["clock_text", "instant_iso", "instant_text", "parse_instant_seconds"]
