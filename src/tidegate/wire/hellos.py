"""How every stream begins: whoever opens it says who it is, and soon."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from tidegate.model.refusals import Because, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tidegate.wire.card.v1 import telemetry_pb2
    from tidegate.wire.simulated.v1 import world_pb2

HELLO_SECONDS: Final = 10.0
"""How long a stream may be open before it says who it is."""
_Request = TypeVar("_Request", "telemetry_pb2.ConnectRequest", "world_pb2.ConnectRequest")


async def first_message(requests: AsyncIterator[_Request]) -> _Request:
    """Return the first message of a stream, which is a hello.

    Raises:
        Refusal: none came in time, or it is something else.

    """
    try:
        first = await asyncio.wait_for(anext(requests), HELLO_SECONDS)
    except (TimeoutError, StopAsyncIteration) as error:
        raise Refusal(Because.TOO_LATE, f"nobody said hello within {HELLO_SECONDS:g} s") from error
    if first.WhichOneof("message") != "hello":
        raise Refusal(Because.NOT_NOW, "the first message must be a hello", field="hello")
    return first


__all__ = ["HELLO_SECONDS", "first_message"]
