"""Which card said no to which application lately: it is asked again later, and each time later still."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

AGAIN_SECONDS: Final = 20.0
"""After its first no."""
AGAIN_SECONDS_MAX: Final = 3600.0
REMEMBERED_MAX: Final = 10_000
"""Pairs; beyond, the oldest is forgotten, and asked again at once."""


@dataclass(slots=True)
class Patience:
    """Remembers since the start of the fleet manager; nothing depends on more."""

    _noes: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    """By application and card: how many in a row, and until when it is not asked."""

    def refused(self, application: str, card: str, now_seconds: float) -> None:
        """Note that a card said no to an application, or failed to take it over."""
        times = self._noes.pop((application, card), (0, 0.0))[0]
        wait = min(AGAIN_SECONDS * 2.0**times, AGAIN_SECONDS_MAX)
        self._noes[application, card] = times + 1, now_seconds + wait
        if len(self._noes) > REMEMBERED_MAX:
            del self._noes[next(iter(self._noes))]

    def forget(self, application: str) -> None:
        """Forget all of an application, as where it has arrived or is gone."""
        for pair in [each for each in self._noes if each[0] == application]:
            del self._noes[pair]

    def waiting(self, now_seconds: float) -> frozenset[tuple[str, str]]:
        """Return the applications and cards that are not to be brought together now."""
        return frozenset(pair for pair, (_, until) in self._noes.items() if until > now_seconds)
