"""Speaks QMP, QEMU's own control protocol, over a unix socket: a line of JSON each way, events between."""

from __future__ import annotations

import json
import socket
import struct
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from tidegate.model.errors import TidegateError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ANSWER_SECONDS_MAX: Final = 10.0
GREETING_SECONDS_MAX: Final = 10.0
"""An emulator serves one at a time; the next waits for its greeting."""
LINE_BYTES_MAX: Final = 16 * 2**20
RETRY_SECONDS: Final = 0.02
CREDENTIALS: Final = struct.Struct("3i")


class QmpError(TidegateError):
    """QEMU refused a command; the message is its own sentence."""


class GoneError(TidegateError):
    """An emulator does not answer, or not any more."""


class NobodyError(GoneError):
    """Nobody listens at a socket: there is no emulator."""


class Qmp:
    """One conversation with an emulator. Blocks; one thread at a time."""

    def __init__(self, path: Path, *, seconds: float = 0.0) -> None:
        """Connect, waiting so long for a socket that is about to be made.

        Raises:
            NobodyError: nobody listens there.
            GoneError: somebody does, and does not greet.

        """
        self.path = path
        self._rest = b""
        self._number = 0
        self._lock = threading.Lock()
        self._socket = _connected(path, seconds)
        try:
            self._socket.settimeout(GREETING_SECONDS_MAX)
            self._line()
            self.ask("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    @property
    def pid(self) -> int:
        """Number of the emulator's process, as the kernel tells it of a unix socket."""
        got = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        return int(CREDENTIALS.unpack(got)[0])

    def ask(self, command: str, arguments: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401 - JSON
        """Return what a command answers; events that come before are dropped.

        Raises:
            QmpError: QEMU refuses.
            GoneError: it does not answer.

        """
        with self._lock:
            self._number += 1
            number = self._number
            words: dict[str, object] = {"execute": command, "id": number}
            if arguments:
                words["arguments"] = dict(arguments)
            self._socket.settimeout(ANSWER_SECONDS_MAX)
            try:
                self._socket.sendall(json.dumps(words).encode() + b"\n")
            except OSError as error:
                raise GoneError(f"the emulator at {self.path} is gone") from error
            while True:
                said = self._line()
                if said.get("id") == number:
                    break
        if "error" in said:
            raise QmpError(str(said["error"].get("desc", "it refused")))
        return said.get("return")

    def hung_up(self, seconds: float) -> bool:
        """Wait so long for the emulator to end; says whether it did."""
        deadline = monotonic() + seconds
        try:
            while (left := deadline - monotonic()) > 0:
                self._socket.settimeout(left)
                self._line()
        except GoneError as error:
            return not isinstance(error.__cause__, TimeoutError)
        return False

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _line(self) -> dict[str, Any]:
        """Return the next thing said."""
        try:
            while b"\n" not in self._rest:
                more = self._socket.recv(65536)
                if not more or len(self._rest) > LINE_BYTES_MAX:
                    raise GoneError(f"the emulator at {self.path} hung up")
                self._rest += more
        except OSError as error:
            raise GoneError(f"the emulator at {self.path} does not answer") from error
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            said = json.loads(line)
        except ValueError as error:
            raise GoneError(f"what answers at {self.path} speaks no QMP") from error
        if not isinstance(said, dict):
            raise GoneError(f"what answers at {self.path} speaks no QMP")
        return said


def _connected(path: Path, seconds: float) -> socket.socket:
    deadline, pause = monotonic() + seconds, threading.Event()
    while True:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.settimeout(GREETING_SECONDS_MAX)
            made.connect(str(path))
        except OSError as error:
            made.close()
            if monotonic() >= deadline:
                raise NobodyError(f"no emulator answers at {path}: {error.strerror or error}") from error
            pause.wait(RETRY_SECONDS)
        else:
            return made
