"""Durations as people type them.

Options such as ``--step 5m`` and ``--warmup 7d`` come through here.
"""

from __future__ import annotations

import re
from typing import Final

from tidegate.model.errors import InputError

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdw])")
LONGEST_SECONDS: Final = 100 * 365 * 86_400
"""A hundred years: more is a slip of the finger."""


def parse_duration_seconds(text: str) -> int:
    """Return the seconds of a duration such as ``90``, ``30s``, ``5m``, ``1h30m``, ``7d`` or ``2w``.

    A number without unit is seconds.

    Raises:
        InputError: the text is no duration, not a whole number of seconds, or over a hundred years.

    """
    spelled = text.strip().lower()
    if spelled.isdecimal() and spelled.isascii():
        spelled += "s"
    parts = _PART.findall(spelled)
    if not parts or "".join(number + unit for number, unit in parts) != spelled:
        raise InputError(f"{text!r} is no duration; write one like 30s, 5m, 1h30m, 7d or 2w")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds > LONGEST_SECONDS:
        shown = text if len(text) <= 24 else f"{text[:20]}..."
        raise InputError(f"{shown!r} is longer than a hundred years; give a shorter time")
    if seconds != round(seconds):
        raise InputError(f"{text!r} is not a whole number of seconds; round it")
    return round(seconds)


def duration_text(seconds: int) -> str:
    """Return a duration as people read it, largest units first, such as ``30d`` or ``1h 30m``."""
    parts = []
    rest = seconds
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, _SECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"
