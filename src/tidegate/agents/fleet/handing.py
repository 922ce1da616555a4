"""Hands calls on to the card they mean, within the caller's deadline; what it refuses is passed back.

`cards/-/applications/NAME` is an application on whichever card has it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tidegate.model.refusals import Because, refusal
from tidegate.wire import names
from tidegate.wire.fields import checked_text
from tidegate.wire.limits import CALL_SECONDS, STREAM_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from google.protobuf.message import Message

    from tidegate.agents.fleet.cell import Cell
    from tidegate.agents.fleet.over_wire import WireCard

ANY: Final = "cards/-"
"""In place of a card's name: whichever fits."""
NAMED_MAX: Final = 10
"""Cards a refusal names."""
STREAMS_MAX: Final = 32
"""Handed on from one card at once: they share a connection, which has 100, with all else it is asked."""

Context = Any
Stub = Any


@dataclass(slots=True)
class Handing:
    """The cards of a cell, and who is on which."""

    cell: Cell
    cards: Mapping[str, WireCard]
    _streams: Counter[str] = field(default_factory=Counter)
    """How many are handed on, by card."""

    async def once(
        self, card: str, stub: Callable[[Any], Stub], request: Message, context: Context = None
    ) -> Any:  # noqa: ANN401 - the method's answer
        """Ask a card's device the same, and return what it answers; ``stub`` picks the method of a line.

        Raises:
            Refusal: there is no such card, it refuses, or does not answer in time.

        """
        line = await self.meant(card).line()
        with line.answers():
            return await stub(line)(request, timeout=_left_seconds(context, CALL_SECONDS))

    async def to_named(
        self, where: str, stub: Callable[[Any], Stub], request: Message, context: Context
    ) -> Any:  # noqa: ANN401 - the method's answer
        """Ask the card that has what a request's field ``where`` names, by the name that card knows it by.

        Raises:
            Refusal: nobody knows it, it is on no card yet, or its card refuses or does not answer in time.

        """
        card, whole = self.there(getattr(request, where), where)
        setattr(request, where, whole)
        return await self.once(card, stub, request, context)

    async def streamed(
        self, card: str, stub: Callable[[Any], Stub], request: Message, context: Context
    ) -> AsyncIterator[Any]:
        """Ask a card's device the same, and pass on what it streams until it or the caller ends.

        Raises:
            Refusal: there is no such card, too many watch it, it refuses, or is heard no more.

        """
        line = await self.meant(card).line()
        if self._streams[card] >= STREAMS_MAX:
            raise refusal(
                Because.NO_ROOM,
                f"{STREAMS_MAX} watch card '{card}' through the fleet already; ask its device",
                limit=STREAMS_MAX,
            )
        self._streams[card] += 1
        try:
            with line.answers():
                call = stub(line)(request, timeout=_left_seconds(context, STREAM_SECONDS))
                try:
                    async for answer in call:
                        yield answer
                finally:
                    call.cancel()
        finally:
            self._streams[card] -= 1

    def meant(self, card: str) -> WireCard:
        """Return a card by its name.

        Raises:
            Refusal: the fleet has none of that name.

        """
        if card not in self.cards:
            known = ", ".join(sorted(self.cards)[:NAMED_MAX]) or "none"
            raise refusal(Because.NOT_FOUND, f"the fleet has no card '{card}'; it has {known}")
        return self.cards[card]

    def there(self, name: str, where: str = "name") -> tuple[str, str]:
        """Return the card that a resource's name means, and the name as that card knows it.

        Raises:
            Refusal: it is no name, or of an application that is on no card yet, or that nobody knows.

        """
        card, whole = self.named(name, where)
        if not card:
            application = name.split("/")[3]
            raise refusal(Because.NOT_NOW, f"'{application}' is on no card yet; ask again in a while")
        return card, whole

    def named(self, name: str, where: str = "name") -> tuple[str, str]:
        """Return the same; the card is empty where the application is on none.

        Raises:
            Refusal: it is no name, or of an application that nobody knows.

        """
        parts = checked_text(where, name, names.NAME_BYTES_MAX).split("/")
        if not name.startswith(f"{ANY}/applications/"):
            return names.card_of("/".join(parts[:2]), where), name
        application = names.application_id(parts[3], where)
        found = self.cell.store.placed().get(application)
        if found is None:
            raise refusal(Because.NOT_FOUND, f"the fleet has no application '{application}'")
        card = names.card_name(found.card) if found.card else ANY
        return found.card, "/".join([card, *parts[2:]])


def _left_seconds(context: Context, most_seconds: float) -> float:
    """Return how long the caller still waits, and no longer than anybody does."""
    left = None if context is None else context.time_remaining()
    return most_seconds if left is None else max(float(left), 0.0)


__all__ = ["ANY", "Context", "Handing"]
