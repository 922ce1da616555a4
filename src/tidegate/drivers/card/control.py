"""Talks to an application over its control socket: a line of JSON and raw bytes, both ways.

Each call has a connection of its own. An application may hang, end in the middle or say what is not so: every
wait has an end, every size a limit, and whatever goes wrong is a `TidegateError` that names it.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from tidegate.model.errors import TidegateError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

LINE_BYTES_MAX: Final = 1 << 16
"""Of a call or an answer without the state."""
STATE_BYTES_MAX: Final = 1 << 36
"""No application hands over more; states are passed on in pieces and never held whole."""
CHUNK_BYTES: Final = 1 << 16
READY_SECONDS_MAX: Final = 10.0
"""How long an application may take from its start until it listens."""
EXPORT_SECONDS_MAX: Final = 30.0
"""How long it may take until it says how large its state is."""
IMPORT_SECONDS_MAX: Final = 60.0
"""How long it may take to serve once it has all of a state."""
SILENCE_SECONDS_MAX: Final = 10.0
"""How long it may neither take nor give a piece of state."""
STATS_SECONDS_MAX: Final = 0.5
"""How long it may take to say how it is."""
SOCKET_PATH_BYTES_MAX: Final = 107
"""Of unix(7)."""
STEP_SECONDS: Final = 0.02


class Call:
    """One connection to an application, for one call."""

    def __init__(self, name: str, path: Path, *, ready_seconds: float | None = None) -> None:
        """Connect; one that has just started gets ``ready_seconds``, or the usual time, until it listens.

        Raises:
            TidegateError: it does not listen.

        """
        self._name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._rest = b""
        deadline = time.monotonic() + (READY_SECONDS_MAX if ready_seconds is None else ready_seconds)
        while True:
            try:
                self._socket.settimeout(max(deadline - time.monotonic(), STEP_SECONDS))
                self._socket.connect(str(path))
            except OSError as error:
                if time.monotonic() >= deadline:
                    self.close()
                    raise self._failed(f"does not listen on its control socket ({error})") from error
                time.sleep(STEP_SECONDS)
                continue
            return

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __del__(self) -> None:
        """Hang up also where a state was never asked for."""
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send raw bytes.

        Raises:
            TidegateError: it takes none for `SILENCE_SECONDS_MAX`, or hung up.

        """
        view = memoryview(data)
        while view:
            try:
                self._socket.settimeout(SILENCE_SECONDS_MAX)
                view = view[self._socket.send(view[:CHUNK_BYTES]) :]
            except OSError as error:
                raise self._failed(f"does not take what it is sent ({error})") from error

    def answer(self, seconds: float) -> dict[str, Any]:
        """Return the line it answers with.

        Raises:
            TidegateError: there is none in time, it is no JSON, too long, or says that it failed.

        """
        deadline = time.monotonic() + seconds
        line = self._rest
        while b"\n" not in line:
            if len(line) > LINE_BYTES_MAX:
                raise self._failed(f"answers with a line of more than {LINE_BYTES_MAX} bytes")
            line += self._received(deadline - time.monotonic())
        line, _, self._rest = line.partition(b"\n")
        try:
            said = json.loads(line)
        except ValueError as error:
            raise self._failed("answers with what is no JSON") from error
        if not isinstance(said, dict) or said.get("ok") is not True:
            why = said.get("error", "without a reason") if isinstance(said, dict) else "with no object"
            raise self._failed(f"refuses: {str(why)[:200]}")
        return said

    def taken(self, state_bytes: int) -> Iterator[bytes]:
        """Take so many raw bytes, in pieces.

        Raises:
            TidegateError: there are fewer, or more.

        """
        left = state_bytes
        if self._rest:
            piece, self._rest = self._rest[:left], self._rest[left:]
            left -= len(piece)
            yield piece
        while left:
            piece = self._received(SILENCE_SECONDS_MAX, left)
            left -= len(piece)
            yield piece
        self._socket.setblocking(False)  # noqa: FBT003 - the standard library's
        with contextlib.suppress(OSError):
            self._rest += self._socket.recv(1)
        if self._rest:
            raise self._failed(f"hands out more than the {state_bytes} bytes it said")

    def _received(self, seconds: float, most: int = CHUNK_BYTES) -> bytes:
        if seconds <= 0:
            raise self._failed("does not answer in time")
        try:
            self._socket.settimeout(seconds)
            data = self._socket.recv(min(most, CHUNK_BYTES))
        except TimeoutError as error:
            raise self._failed("does not answer in time") from error
        except OSError as error:
            raise self._failed(f"breaks off ({error})") from error
        if not data:
            raise self._failed("hangs up before it has said all")
        return data

    def _failed(self, what: str) -> TidegateError:
        return TidegateError(f"application {self._name} {what}")


class State:
    """A state that is being handed out: goes through it once, and hangs up at its end."""

    def __init__(self, call: Call, state_bytes: int) -> None:
        """Hand out what follows an answer."""
        self._call = call
        self.state_bytes = state_bytes
        """How many bytes there are."""

    def __iter__(self) -> Iterator[bytes]:
        """Take it in pieces.

        Raises:
            TidegateError: it breaks off, or is longer than was said.

        """
        try:
            yield from self._call.taken(self.state_bytes)
        finally:
            self._call.close()


def line_of(**words: object) -> bytes:
    """Return the line of a call."""
    return json.dumps(words).encode() + b"\n"


def export(name: str, path: Path, moved_to: Sequence[str]) -> State:
    """Have an application serve no more, and hand out its state.

    Raises:
        TidegateError: it does not, or says a size that can't be; hanging up on it has it serve again.

    """
    call = Call(name, path)
    try:
        call.send(line_of(call="export", moved_to=list(moved_to)))
        state_bytes = _checked_size(name, call.answer(EXPORT_SECONDS_MAX).get("state_bytes"))
    except TidegateError:
        call.close()
        raise
    return State(call, state_bytes)


def _checked_size(name: str, said: object) -> int:
    if isinstance(said, int) and not isinstance(said, bool) and 0 <= said <= STATE_BYTES_MAX:
        return said
    raise TidegateError(
        f"application {name} says its state has {str(said)[:40]} bytes; 0 to {STATE_BYTES_MAX} can be moved"
    )


def import_(name: str, path: Path, state: Iterable[bytes], *, state_bytes: int) -> None:
    """Give an application a state and wait until it serves.

    The last piece is sent only once it is known to be the last: of a state that is longer or shorter than it
    was said to be, it never gets as much as it expects, and forgets it.

    Raises:
        TidegateError: it does not take it, does not serve in time, or the state is of another length.

    """
    call = Call(name, path)
    try:
        sent, held = 0, line_of(call="import", state_bytes=state_bytes)
        for piece in state:
            sent += len(piece)
            if sent > state_bytes:
                raise TidegateError(f"the state of application {name} has more than {state_bytes} bytes")
            call.send(held)
            held = piece
        if sent != state_bytes:
            raise TidegateError(
                f"the state of application {name} has {sent} bytes, not {state_bytes} as it was said"
            )
        call.send(held)
        call.answer(IMPORT_SECONDS_MAX)
    finally:
        call.close()


def stats(name: str, path: Path) -> dict[str, Any]:
    """Return what an application says of itself.

    Raises:
        TidegateError: it says nothing in time.

    """
    call = Call(name, path, ready_seconds=0)
    try:
        call.send(line_of(call="stats"))
        return call.answer(STATS_SECONDS_MAX)
    finally:
        call.close()
