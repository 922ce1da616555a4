"""Asks applications how they are, beside the path of whoever wants to know: one that hangs delays nobody."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidegate.drivers.card import control
from tidegate.model.errors import TidegateError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

AGE_SECONDS_MAX: Final = 15.0
"""What was said longer ago is not told any more."""
ROUNDS_WITHOUT_MAX: Final = 64
"""An application that does not answer is asked after 1, 2, 4 ... and at most so many rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What an application said of itself, and when."""

    at_seconds: float
    latency_p99_seconds: float | None
    requests: int | None


class Behaviour:
    """The last that every application said; a thread asks, once for each time somebody wanted to know."""

    def __init__(self, sockets: Callable[[], Mapping[str, Path]]) -> None:
        """Ask those that ``sockets`` names, by application."""
        self._sockets = sockets
        self._said: dict[str, Said] = {}
        self._silent: dict[str, tuple[int, int]] = {}  # by name: rounds to leave out, and of those left
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def last(self) -> dict[str, Said]:
        """Return what is known, at once, and have everyone asked again."""
        if self._thread is None and not self._closing.is_set():
            self._thread = threading.Thread(target=self._ask_on, name="tidegate-card-stats", daemon=True)
            self._thread.start()
        self._wanted.set()
        oldest = time.monotonic() - AGE_SECONDS_MAX
        return {name: said for name, said in self._said.items() if said.at_seconds >= oldest}

    def close(self) -> None:
        """Ask no more."""
        self._closing.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _ask_on(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._closing.is_set():
                return
            sockets = self._sockets()
            self._said = {name: said for name, said in self._said.items() if name in sockets}
            self._silent = {name: rounds for name, rounds in self._silent.items() if name in sockets}
            for name, path in sockets.items():
                if self._closing.is_set():
                    return
                self._ask(name, path)

    def _ask(self, name: str, path: Path) -> None:
        rounds, left = self._silent.get(name, (0, 0))
        if left:
            self._silent[name] = rounds, left - 1
            return
        try:
            said = control.stats(name, path)
        except TidegateError:
            rounds = min(max(2 * rounds, 1), ROUNDS_WITHOUT_MAX)
            self._silent[name] = rounds, rounds
            return
        self._silent.pop(name, None)
        latency, requests = _amount(said.get("latency_p99_seconds")), _amount(said.get("requests"))
        self._said = self._said | {
            name: Said(
                at_seconds=time.monotonic(),
                latency_p99_seconds=latency,
                requests=None if requests is None else int(requests),
            )
        }


def _amount(value: object) -> float | None:
    """Return what an application said if it is a number that can be: it may say anything."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    return None
