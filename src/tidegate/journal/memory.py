"""A journal in memory, bounded in bytes: the oldest ticks go first."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tidegate.journal.changes import Changes, TickChanges, decoded, encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.model.tick import Tick

BYTES_MAX = 256 * 1024**2


class MemoryJournal:
    """Keeps the newest ticks' changes that fit in ``bytes_max``; always at least the last one."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        """Start empty."""
        self._bytes_max = bytes_max
        self._bytes = 0
        self._changes = Changes()
        self._blobs: deque[bytes] = deque()

    def append(self, tick: Tick) -> None:
        """Store one tick, forgetting the oldest beyond the limit."""
        blob = encoded(self._changes.follow(tick))
        self._blobs.append(blob)
        self._bytes += len(blob)
        while self._bytes > self._bytes_max and len(self._blobs) > 1:
            self._bytes -= len(self._blobs.popleft())

    def __len__(self) -> int:
        """Return how many ticks are kept."""
        return len(self._blobs)

    def __iter__(self) -> Iterator[TickChanges]:
        """Iterate over the kept ticks, oldest first."""
        return (decoded(blob) for blob in self._blobs)

    @property
    def bytes_kept(self) -> int:
        """Size of all blobs kept."""
        return self._bytes
