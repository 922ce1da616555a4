"""Those who watch samples: each has a queue that keeps the newest, and is told how many it missed."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from tidegate.agents.device.samples import Sample, differs
from tidegate.model.refusals import Because, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

QUEUE_MAX: Final = 256
"""Samples that wait for a slow watcher; beyond, the oldest are dropped."""
WATCHERS_MAX: Final = 64
"""At once on one card."""


@dataclass(slots=True, eq=False)
class Watcher:
    """One who watches an application, or all."""

    application: str
    on_change: bool
    tell: Callable[[], object]
    """Called, from any thread, when there is something to take."""
    waiting: deque[Sample] = field(default_factory=deque)
    missed: int = 0
    last: dict[str, Sample] = field(default_factory=dict)
    """What it was told last, of each application."""


class Watchers:
    """All who watch samples of a card."""

    def __init__(self) -> None:
        """Have none yet."""
        self._lock = threading.Lock()
        self._watchers: list[Watcher] = []

    def join(
        self,
        application: str,
        *,
        known: Iterable[Sample] = (),
        on_change: bool = False,
        tell: Callable[[], object] = lambda: None,
    ) -> Watcher:
        """Begin to watch, one application or, by an empty name, all; ``known`` are told first.

        Raises:
            Refusal: there are too many already.

        """
        with self._lock:
            if len(self._watchers) >= WATCHERS_MAX:
                raise Refusal(
                    Because.NO_ROOM,
                    f"{WATCHERS_MAX} watch this card already, which is the most",
                    limit=WATCHERS_MAX,
                )
            watcher = Watcher(application, on_change, tell)
            self._watchers.append(watcher)
            for sample in known:
                _offer(watcher, sample)
            return watcher

    def leave(self, watcher: Watcher) -> None:
        """Watch no more."""
        with self._lock:
            if watcher in self._watchers:
                self._watchers.remove(watcher)

    def publish(self, samples: Iterable[Sample]) -> None:
        """Give samples to everybody whom they concern."""
        with self._lock:
            told = [watcher for sample in samples for watcher in self._watchers if _offer(watcher, sample)]
        for watcher in dict.fromkeys(told):
            watcher.tell()

    def take(self, watcher: Watcher) -> list[Sample]:
        """Return what waits for a watcher; the first says how many were dropped before it."""
        with self._lock:
            taken = list(watcher.waiting)
            watcher.waiting.clear()
            if taken and watcher.missed:
                taken[0] = replace(taken[0], missed=watcher.missed)
                watcher.missed = 0
            return taken


def _offer(watcher: Watcher, sample: Sample) -> bool:
    if watcher.application not in {"", sample.application}:
        return False
    last = watcher.last.get(sample.application)
    if watcher.on_change and last is not None and not differs(last, sample):
        return False
    watcher.last[sample.application] = sample
    if len(watcher.waiting) >= QUEUE_MAX:
        watcher.waiting.popleft()
        watcher.missed += 1
    watcher.waiting.append(sample)
    return True


__all__ = ["QUEUE_MAX", "WATCHERS_MAX", "Watcher", "Watchers"]
