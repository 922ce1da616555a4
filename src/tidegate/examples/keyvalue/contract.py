"""The hand-off contract, from the application's side: a control socket on which it is told to move.

Copy this file into an application of your own: it needs nothing but Python, and knows nothing of what it
moves. A call is a line of JSON, then as many raw bytes as it says; so is the answer. Each call has its own
connection.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

LINE_BYTES_MAX: Final = 1 << 16
"""Of a call without its state."""
STATE_BYTES_MAX: Final = 1 << 30
"""No larger state is taken."""
SILENCE_SECONDS_MAX: Final = 60.0
"""How long a caller may leave us waiting in the middle of a call."""


class Movable(Protocol):
    """What an application has to be able to do."""

    def release(self, moved_to: list[str]) -> bytes:
        """Carry out no more requests but tell each where to go, and return the state.

        Asked again it returns the same state.

        Raises:
            ValueError: there is none, as on standby.

        """
        ...

    def resume(self) -> None:
        """Serve on with what is here: nobody took the state."""
        ...

    def take(self, state: bytes) -> None:
        """Serve with this state; who serves already keeps what it has, as it may have been asked twice.

        Raises:
            ValueError: this is no state of ours; nothing changes.

        """
        ...

    def stats(self) -> dict[str, float]:
        """Return ``latency_p99_seconds`` over the last minute, and ``requests`` since the start."""
        ...


async def listen(path: str, application: Movable) -> asyncio.Server:
    """Listen on a control socket; only we and root may call."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(SILENCE_SECONDS_MAX):
                await _answer(application, reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            pass  # the caller knows by the connection's end
        finally:
            writer.close()

    Path(path).unlink(missing_ok=True)  # noqa: ASYNC240 - before anybody is served
    server = await asyncio.start_unix_server(answer, path, limit=LINE_BYTES_MAX)
    Path(path).chmod(0o600)  # noqa: ASYNC240 - as above
    return server


async def _answer(application: Movable, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry out one call."""
    call = json.loads(await reader.readuntil(b"\n"))
    kind = call.get("call")
    if kind == "export":
        await _export(application, list(call.get("moved_to", [])), reader, writer)
    elif kind == "import":
        await _import(application, int(call["state_bytes"]), reader, writer)
    elif kind == "stats":
        _say(writer, ok=True, **application.stats())
    else:
        _say(writer, ok=False, error=f"there is no call {kind!r}")
    await writer.drain()


async def _export(
    application: Movable, moved_to: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Hand the state out. Who hangs up before having all of it does not own it: we serve on."""
    try:
        state = application.release(moved_to)
    except ValueError as error:
        _say(writer, ok=False, error=str(error))
        return
    try:
        _say(writer, ok=True, state_bytes=len(state))
        writer.write(state)
        await writer.drain()
        # The caller hangs up once it has all. If anything was left unread, that ends in a reset instead.
        await reader.read(1)
    except (OSError, TimeoutError, asyncio.CancelledError):
        application.resume()
        raise


async def _import(
    application: Movable, state_bytes: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Take a state in, or forget what came of it where it is not whole."""
    if not 0 <= state_bytes <= STATE_BYTES_MAX:
        _say(writer, ok=False, error=f"at most {STATE_BYTES_MAX} bytes are taken")
        return
    state = await reader.readexactly(state_bytes)
    try:
        application.take(state)
    except ValueError as error:
        _say(writer, ok=False, error=str(error))
        return
    _say(writer, ok=True)


def _say(writer: asyncio.StreamWriter, **words: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    writer.write(json.dumps(words).encode() + b"\n")


def _conforms(make: Callable[[], Movable]) -> Movable:
    return make()
