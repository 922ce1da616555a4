"""Calls another program: a channel that knows whom it asks, and never waits for ever."""

# ruff: noqa: ANN401 - what generated stubs say and get is theirs

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc

from tidegate.model.errors import InputError
from tidegate.wire.addresses import UnixAddress, address_of
from tidegate.wire.certificates import channel_credentials
from tidegate.wire.errors import answered
from tidegate.wire.identities import Identity, host_name_of
from tidegate.wire.limits import (
    CALL_SECONDS,
    CLIENT,
    MESSAGE_BYTES_MAX,
    STREAM_SECONDS,
    TRANSFER_SECONDS,
    with_messages,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from tidegate.ports import Clock
    from tidegate.wire.identities import Role


class Line(grpc.aio.Channel):
    """A channel to one address, on which every call has a deadline; generated stubs take it as any other.

    Say ``with line.answers():`` around each call: what fails inside becomes a refusal that names the address.
    """

    def __init__(self, channel: grpc.aio.Channel, address: str) -> None:
        """Wrap a channel."""
        self._channel = channel
        self.address = address

    def answers(self) -> AbstractContextManager[None]:
        """Turn what calls inside fail with into a refusal (see `tidegate.wire.errors.answered`)."""
        return answered(self.address)

    def unary_unary(self, method: str, *arguments: Any, **words: Any) -> Any:
        """Return a call that is answered once, within `CALL_SECONDS`."""
        return _within(self._channel.unary_unary(method, *arguments, **words), CALL_SECONDS)

    def stream_unary(self, method: str, *arguments: Any, **words: Any) -> Any:
        """Return a call that sends much and is answered once, within `TRANSFER_SECONDS`."""
        return _within(self._channel.stream_unary(method, *arguments, **words), TRANSFER_SECONDS)

    def unary_stream(self, method: str, *arguments: Any, **words: Any) -> Any:
        """Return a call that is answered for `STREAM_SECONDS` at most."""
        return _within(self._channel.unary_stream(method, *arguments, **words), STREAM_SECONDS)

    def stream_stream(self, method: str, *arguments: Any, **words: Any) -> Any:
        """Return a conversation of `STREAM_SECONDS` at most."""
        return _within(self._channel.stream_stream(method, *arguments, **words), STREAM_SECONDS)

    async def close(self, grace: float | None = None) -> None:
        """End it; calls have ``grace`` seconds to end by themselves."""
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 - gRPC's
        """Return how the connection is."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the connection is in another state."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until it is connected."""
        await self._channel.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.close()


@asynccontextmanager
async def dialled(
    address: str,
    *,
    expects: Role | Identity,
    clock: Clock,
    certificates: Path | None = None,
    message_bytes_max: int = MESSAGE_BYTES_MAX,
) -> AsyncIterator[Line]:
    """Have a line to an address inside the context; it connects with the first call, and again by itself.

    ``expects`` is whom the other's certificate must name. The certificates shown are those of when it was
    dialled: dial anew now and then, at the latest with each stream.

    Raises:
        InputError: the address is none, or of another machine and there are no certificates, or not good.

    """
    where = address_of(address)
    client = with_messages(CLIENT, message_bytes_max)
    if isinstance(where, UnixAddress) or (certificates is None and where.stays_here):
        channel = grpc.aio.insecure_channel(where.target, options=client)
    elif certificates is None:
        raise InputError(
            f"{where} is on another machine and not asked without certificates; give a folder of them "
            "('tidegate certs issue' makes it)"
        )
    else:
        name = expects.host_name if isinstance(expects, Identity) else host_name_of(expects)
        options = (*client, ("grpc.ssl_target_name_override", name))
        channel = grpc.aio.secure_channel(
            where.target, channel_credentials(certificates, clock), options=options
        )
    line = Line(channel, str(where))
    try:
        yield line
    finally:
        await line.close()


def _within(call: Any, most_seconds: float) -> Callable[..., Any]:
    def bounded(*arguments: Any, timeout: float | None = None, **words: Any) -> Any:
        seconds = most_seconds if timeout is None else min(timeout, STREAM_SECONDS)
        return call(*arguments, timeout=seconds, **words)

    return bounded
