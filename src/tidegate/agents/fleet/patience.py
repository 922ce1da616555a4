"""Which card said no to which application lately: it is asked again later, and each time later still."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidegate.model.card_fleet import Unplaced

AGAIN_SECONDS: Final = 20.0
"""After its first no."""
AGAIN_SECONDS_MAX: Final = 3600.0
REMEMBERED_MAX: Final = 10_000
"""Pairs; beyond, the oldest is forgotten, and asked again at once."""


@dataclass(slots=True)
class Patience:
    """Remembers since the start of the fleet manager; nothing depends on more."""

    _refusals: dict[tuple[str, str], tuple[int, float, str]] = field(default_factory=dict)
    """By application and card: how many in a row, until when it is not asked, and why it said no last."""

    def refused(self, application: str, card: str, now_seconds: float, why: str) -> None:
        """Note that a card said no to an application, or failed to take it over."""
        times = self._refusals.pop((application, card), (0, 0.0, ""))[0]
        wait = min(AGAIN_SECONDS * 2.0**times, AGAIN_SECONDS_MAX)
        self._refusals[application, card] = times + 1, now_seconds + wait, why
        if len(self._refusals) > REMEMBERED_MAX:
            del self._refusals[next(iter(self._refusals))]

    def forget(self, application: str) -> None:
        """Forget all of an application, as where it has arrived or is gone."""
        for pair in [each for each in self._refusals if each[0] == application]:
            del self._refusals[pair]

    def waiting(self, now_seconds: float) -> frozenset[tuple[str, str]]:
        """Return the applications and cards that are not to be brought together now."""
        return frozenset(pair for pair, (_, until, _) in self._refusals.items() if until > now_seconds)

    def told(self, unplaced: Iterable[Unplaced]) -> tuple[Unplaced, ...]:
        """Return those whom no card takes, with what a card said last to each that was asked for it."""
        last = {application: (card, no[2]) for (application, card), no in self._refusals.items()}
        return tuple(
            replace(one, reason=f"{one.reason}; {last[one.application][0]} said: {last[one.application][1]}")
            if one.application in last
            else one
            for one in unplaced
        )
