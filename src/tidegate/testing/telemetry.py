"""Telemetry that reads out a list of snapshots, for tests of everything behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidegate.model.snapshot import Snapshot


class ScriptedTelemetry:
    """Returns the given snapshots, one a read."""

    def __init__(self, snapshots: Iterable[Snapshot]) -> None:
        """Take the script."""
        self._snapshots = iter(snapshots)
        self.reads = 0

    def read(self) -> Snapshot:
        """Return the next snapshot.

        Raises:
            InputError: the script is over.

        """
        snapshot = next(self._snapshots, None)
        if snapshot is None:
            raise InputError(f"the script of {self.reads} snapshots is over; give it more")
        self.reads += 1
        return snapshot
