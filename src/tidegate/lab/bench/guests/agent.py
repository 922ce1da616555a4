"""Speaks with the agent inside a tiny guest."""

from __future__ import annotations

import socket
import threading
from time import perf_counter
from typing import TYPE_CHECKING, Final, Self

from tidegate.model.errors import TidegateError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

ANSWER_SECONDS: Final = 20.0
"""How long an answer may take: an emulated guest that touches memory is slow."""
READY_SECONDS_MAX: Final = 60.0
POLL_SECONDS: Final = 0.05
ANSWER_BYTES_MAX: Final = 16384


class GuestAgent:
    """One conversation; a port has one client at a time."""

    def __init__(self, path: Path) -> None:
        """Connect to the host's end of the port.

        Raises:
            TidegateError: nobody listens there.

        """
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise TidegateError(f"no guest listens at {path}: {error.strerror}") from error
        self._rest = b""

    def ask(self, request: str, *, seconds: float = ANSWER_SECONDS) -> dict[str, str]:
        """Return the answer's values by name; what an ``echo`` or ``run`` said is under ``said``.

        Raises:
            TidegateError: the guest refused, or did not answer in time.

        """
        self._socket.settimeout(seconds)
        try:
            self._socket.sendall(request.encode() + b"\n")
            line = self._line()
        except OSError as error:
            raise TidegateError(f"the guest did not answer '{request}' within {seconds:g} s") from error
        verdict, _, rest = line.partition(" ")
        if verdict != "ok":
            raise TidegateError(f"the guest refused '{request}': {rest}")
        values, _, said = rest.partition("said=")
        found = dict(pair.split("=", 1) for pair in values.split() if "=" in pair)
        return found | ({"said": said.replace("\x1f", "\n")} if said else {})

    def wait(self, seconds: float = READY_SECONDS_MAX) -> None:
        """Wait until the guest answers at all: it does so once it has booted.

        Raises:
            TidegateError: it did not within so many seconds.

        """
        deadline = perf_counter() + seconds
        number, pause = 0, threading.Event()
        while True:
            number += 1
            try:
                # Each with its own number: answers to those given up may still come.
                if self._echoed(f"said={number}"):
                    return
            except TidegateError:
                pass
            if perf_counter() > deadline:
                raise TidegateError(f"the guest did not boot within {seconds:g} s")
            pause.wait(POLL_SECONDS)

    def close(self) -> None:
        """Hang up; the guest's agent waits for the next."""
        self._socket.close()

    def __enter__(self) -> Self:
        """Start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up."""
        self.close()

    def _echoed(self, words: str) -> bool:
        self._socket.settimeout(1.0)
        try:
            self._socket.sendall(f"echo {words}\n".encode())
            while self._line() != f"ok {words}":
                pass
        except TimeoutError:
            return False
        except OSError as error:
            raise TidegateError("the guest's port is gone") from error
        return True

    def _line(self) -> str:
        while b"\n" not in self._rest:
            more = self._socket.recv(4096)
            if not more or len(self._rest) > ANSWER_BYTES_MAX:
                raise OSError("the other end hung up")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("utf-8", "replace")
