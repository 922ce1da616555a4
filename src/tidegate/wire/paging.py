"""Pages of what is listed, as https://google.aip.dev/158 has them: a token is the last key told, sealed."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final, TypeVar

from tidegate.model.refusals import InvalidField

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

PAGE_MAX: Final = 1000
"""Told at once, whatever is asked for."""
One = TypeVar("One")


def page(
    of_all: Sequence[One], key: Callable[[One], str], message: Message, *, rising: bool
) -> tuple[Sequence[One], str]:
    """Return the page that a message asks for, and the token of the next one, empty after the last.

    ``rising`` says that all are in the order of their keys, so that a page begins after a key also where
    what had it is gone.

    Raises:
        InvalidField: the size is negative, or nobody gave that token.

    """
    size, last = asked_page(message)
    first = 0
    if last:
        keys = [key(one) for one in of_all]
        if rising:
            first = sum(1 for each in keys if each <= last)
        elif last in keys:
            first = keys.index(last) + 1
        else:
            raise InvalidField("page_token", "the page before is gone; begin anew without a token")
    until = first + size
    shown = of_all[first:until]
    return shown, sealed(key(shown[-1])) if shown and until < len(of_all) else ""


def asked_page(message: Message) -> tuple[int, str]:
    """Return how many a message asks for at most, and the key after which; empty for the first page.

    Raises:
        InvalidField: the size is negative, or nobody gave that token.

    """
    size = int(message.page_size)  # type: ignore[attr-defined] # all that list have it
    token = str(message.page_token)  # type: ignore[attr-defined]
    if size < 0:
        raise InvalidField("page_size", f"{size} is below 0; give 0 for {PAGE_MAX}", limit=0)
    return min(size or PAGE_MAX, PAGE_MAX), _unsealed(token) if token else ""


def sealed(key: str) -> str:
    """Return the token of the page that begins after a key."""
    return base64.urlsafe_b64encode(key.encode()).decode()


def _unsealed(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidField(
            "page_token", f"{token[:64]!r} was never given; send what the last page said"
        ) from error


__all__ = ["PAGE_MAX", "asked_page", "page", "sealed"]
