"""What a journalled decision knew of changes of a series, ready to be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tidegate.model.forecast import Drift

if TYPE_CHECKING:
    from collections.abc import Mapping


class Drifted(msgspec.Struct, frozen=True, kw_only=True):
    """A series that is no longer what it was; its forecaster's memory was short at the decision."""

    kind: str
    """``level``, ``variance`` or ``season``."""
    words: str
    since_seconds: int
    """When the change began, seconds since 1970 UTC: earlier than it was noticed."""


def drifted(row: Mapping[str, Any], time_seconds: int) -> Drifted | None:
    """Return what a row of a journalled tick says; None: no change, or a journal older than this."""
    kind = Drift(int(row.get("drift", Drift.NONE)))
    if kind == Drift.NONE:
        return None
    return Drifted(
        kind=kind.name.lower(), words=kind.words, since_seconds=time_seconds - int(row["drift_seconds"])
    )


__all__ = ["Drifted", "drifted"]
