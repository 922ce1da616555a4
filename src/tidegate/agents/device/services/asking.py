"""What every call has: who asks, and whether it was asked before."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, Any

from tidegate.agents.device.records import Request
from tidegate.model.refusals import InvalidField
from tidegate.wire.identities import Identity, Role, require

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

    Context = grpc.aio.ServicerContext[Any, Any]


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


__all__ = ["authorized", "card_asking", "request_of"]
