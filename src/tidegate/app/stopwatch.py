"""Times the stages of a tick under their own names."""

from __future__ import annotations

from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class StageTimer:
    """Seconds per stage since the last reading, and in all."""

    def __init__(self) -> None:
        """Start with nothing timed."""
        self._since: dict[str, float] = {}
        self.total_seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs inside the context."""
        start = perf_counter()
        try:
            yield
        finally:
            spent = perf_counter() - start
            self._since[name] = self._since.get(name, 0.0) + spent
            self.total_seconds[name] = self.total_seconds.get(name, 0.0) + spent

    def seconds(self) -> Mapping[str, float]:
        """Return the seconds of each stage since the last call, and start anew."""
        spent, self._since = self._since, {}
        return spent
