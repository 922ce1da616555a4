"""Asks every card how it is, all at once; who does not answer in time is silent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from tidegate.model.errors import TidegateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.agents.fleet.asking import AskedCard
    from tidegate.agents.fleet.records import CardSeen

LOOK_SECONDS: Final = 3.0
"""What is not answered by then is silence."""


async def sights(cards: Mapping[str, AskedCard]) -> tuple[dict[str, CardSeen], dict[str, str]]:
    """Return the cards that answered, and why the others did not, both by name."""
    answers = await asyncio.gather(
        *(asyncio.wait_for(card.look(), LOOK_SECONDS) for card in cards.values()), return_exceptions=True
    )
    seen: dict[str, CardSeen] = {}
    silent: dict[str, str] = {}
    for name, answer in zip(cards, answers, strict=True):
        if isinstance(answer, TimeoutError):
            silent[name] = f"no answer within {LOOK_SECONDS:g} s"
        elif isinstance(answer, TidegateError | asyncio.CancelledError):
            silent[name] = str(answer) or "the call was cut off"
        elif isinstance(answer, BaseException):
            raise answer
        else:
            seen[name] = answer
    return seen, silent


__all__ = ["LOOK_SECONDS", "sights"]
