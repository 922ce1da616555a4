"""Times the stages of a tick under their own names; a stage inside another counts for itself alone."""

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
        self._inner_seconds = [0.0]
        """What stages inside each open one took, outermost first."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs inside the context."""
        start = perf_counter()
        self._inner_seconds.append(0.0)
        try:
            yield
        finally:
            whole = perf_counter() - start
            spent = whole - self._inner_seconds.pop()
            self._inner_seconds[-1] += whole
            self._since[name] = self._since.get(name, 0.0) + spent
            self.total_seconds[name] = self.total_seconds.get(name, 0.0) + spent

    def seconds(self) -> Mapping[str, float]:
        """Return the seconds of each stage since the last call, and start anew."""
        spent, self._since = self._since, {}
        return spent
