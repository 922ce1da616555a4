"""What every call has: who asks, whether it was asked before, and which page of many is wanted."""

from __future__ import annotations

import base64
import binascii
import hashlib
import uuid
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tidegate.agents.device.records import Request
from tidegate.model.refusals import InvalidField
from tidegate.wire.identities import Identity, Role, require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import grpc
    from google.protobuf.message import Message

    Context = grpc.aio.ServicerContext[Any, Any]

PAGE_MAX: Final = 1000
One = TypeVar("One")


def authorized(context: Context) -> Identity:
    """Return who asks, unless it may only send telemetry.

    Raises:
        Refusal: it has no such role.

    """
    return require(context, Role.OPERATOR, Role.FLEET, Role.DEVICE)


def card_asking(context: Context) -> str | None:
    """Return the card that asks; None on a socket of this machine, where nobody can tell.

    Raises:
        Refusal: it is no card.

    """
    who = require(context, Role.DEVICE)
    return None if who.role is None else who.name


def request_of(message: Message) -> Request | None:
    """Return what a message's `request_id` stands for; None where it has none.

    Raises:
        InvalidField: it is no UUID.

    """
    given = str(message.request_id)  # type: ignore[attr-defined] # all that change something have it
    if not given:
        return None
    try:
        identifier = str(uuid.UUID(given))
    except ValueError as error:
        raise InvalidField(
            "request_id", f"{given[:64]!r} is no UUID; draw a new one for each request"
        ) from error
    digest = hashlib.blake2b(type(message).__name__.encode(), digest_size=16)
    digest.update(message.SerializeToString(deterministic=True))
    return Request(id=identifier, asked=digest.hexdigest())


def page(
    of_all: Sequence[One], key: Callable[[One], str], message: Message, *, rising: bool
) -> tuple[Sequence[One], str]:
    """Return the page that a message asks for, and the token of the next one, empty after the last.

    ``rising`` says that all are in the order of their keys, so that a page begins after a key also where
    what had it is gone.

    Raises:
        InvalidField: the size is negative, or nobody gave that token.

    """
    size = int(message.page_size)  # type: ignore[attr-defined] # all that list have it
    token = str(message.page_token)  # type: ignore[attr-defined]
    if size < 0:
        raise InvalidField("page_size", f"{size} is below 0; give 0 for {PAGE_MAX}", limit=0)
    first = 0
    if token:
        last = _unsealed(token)
        keys = [key(one) for one in of_all]
        if rising:
            first = sum(1 for each in keys if each <= last)
        elif last in keys:
            first = keys.index(last) + 1
        else:
            raise InvalidField("page_token", "the page before is gone; begin anew without a token")
    until = first + min(size or PAGE_MAX, PAGE_MAX)
    shown = of_all[first:until]
    return shown, _sealed(key(shown[-1])) if shown and until < len(of_all) else ""


def _sealed(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _unsealed(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidField(
            "page_token", f"{token[:64]!r} was never given; send what the last page said"
        ) from error


__all__ = ["authorized", "card_asking", "page", "request_of"]
