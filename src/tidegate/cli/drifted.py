"""How screens tell that a series has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.cli.instants import clock_text, instant_text

if TYPE_CHECKING:
    from tidegate.app.drift_shown import Drifted

DAY_SECONDS = 86_400


def drifted_text(drift: Drifted, now_seconds: int) -> str:
    """Return ``level changed at 10:40, memory shortened``, with the day where it was another one."""
    same_day = drift.since_seconds // DAY_SECONDS == now_seconds // DAY_SECONDS
    when = (clock_text if same_day else instant_text)(drift.since_seconds)
    return f"{drift.words} at {when}, memory shortened"


__all__ = ["drifted_text"]
