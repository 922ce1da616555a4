"""Starts a program in its cgroup, and asks one to end, never another that got its number meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tidegate.drivers.card.records import started_ticks
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tidegate.drivers.card.records import Record
    from tidegate.model.application import ApplicationSpec

LAUNCH: Final = Path(__file__).with_name("launch.py")
START_SECONDS_MAX: Final = 20.0
"""How long a program may take to be loaded: 20 ms are usual, seconds if the machine or its quota is tiny."""
ANSWER_BYTES_MAX: Final = 4096
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for; an application may say otherwise."""
PORT: Final = "{port}"
LEFT: Final[list[subprocess.Popen[bytes]]] = []
"""Children of runtimes that were closed in this very process: still to be waited for when they end."""


class Launched:
    """A process that waits to become a program; leaving the context before `go` ends it."""

    def __init__(self) -> None:
        """Start it, in a session of its own.

        Raises:
            TidegateError: the machine starts no more processes.

        """
        order_read, self._order = os.pipe()
        self._answer, answer_write = os.pipe()
        try:
            self.process = subprocess.Popen(  # noqa: S603 - our own script
                [sys.executable, "-I", "-S", str(LAUNCH), str(order_read), str(answer_write)],
                pass_fds=(order_read, answer_write),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
            )
        except OSError as error:
            self.close()
            raise TidegateError(f"no process can be started ({error.strerror}); the card is full") from error
        finally:
            os.close(order_read)
            os.close(answer_write)
        self.started_ticks = started_ticks(self.process.pid) or 0

    def go(self, order: dict[str, Any]) -> None:
        """Give it its order, and return once it is the program.

        Raises:
            TidegateError: it could not become the program; it is gone.

        """
        with os.fdopen(self._order, "wb") as target:
            self._order = -1
            with contextlib.suppress(BrokenPipeError):  # it is gone, as the empty answer will tell
                target.write(json.dumps(order).encode())
        said = b""
        ready, _, _ = select.select([self._answer], [], [], START_SECONDS_MAX)
        if ready:
            said = os.read(self._answer, ANSWER_BYTES_MAX)
        if not ready or said or self._died_before_exec():
            self.end()
            reason = said.decode("utf-8", "replace") or (
                "it was killed, which too little memory does"
                if ready
                else f"not loaded in {START_SECONDS_MAX:g} s"
            )
            raise TidegateError(f"'{order['command'][0]}' can't be started: {reason}")

    def _died_before_exec(self) -> bool:
        """Whether the launcher ended rather than turned into the program: it ends by 127 or a signal."""
        status = self.process.poll()
        return status == -signal.SIGKILL

    def end(self) -> None:
        """End the process; nothing if it is gone."""
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(START_SECONDS_MAX)

    def close(self) -> None:
        """Let go of both descriptors; a process that has no order yet ends by that."""
        for descriptor in (self._order, self._answer):
            if descriptor >= 0:
                os.close(descriptor)
        self._order = self._answer = -1


def leave(children: Iterable[subprocess.Popen[bytes]]) -> None:
    """Let children run on without whoever started them; take note of those that ended since."""
    LEFT[:] = [child for child in (*LEFT, *children) if child.poll() is None]


def command_of(name: str, spec: ApplicationSpec) -> list[str]:
    """Return the command with each ``{port}`` replaced by the next of its ports.

    Raises:
        InputError: it names more ports than there are.

    """
    ports = iter(spec.ports)
    words = []
    for word in spec.command:
        *before, last = word.split(PORT)
        try:
            words.append("".join(f"{text}{next(ports)}" for text in before) + last)
        except (StopIteration, RuntimeError) as error:
            raise InputError(
                f"the command of application {name} says {PORT} more often than it has ports; give it more"
            ) from error
    return words


def environment_of(spec: ApplicationSpec, *, control: Path, standby: bool) -> dict[str, str]:
    """Return all that a program gets to see: nothing of ours."""
    ours = {"TIDEGATE_CONTROL": str(control)} | ({"TIDEGATE_STANDBY": "1"} if standby else {})
    return {"PATH": PATH} | dict(spec.environment) | ours


def ask_to_end(record: Record, members: Callable[[], list[int]]) -> int | None:
    """Send SIGTERM to an application's first process; return a descriptor that is readable once that is gone.

    None where it is gone already. The descriptor is taken first and the process compared with the record
    after: what it then stands for stays the same, whoever gets the number next.
    """
    try:
        descriptor = os.pidfd_open(record.pid)
    except OSError:
        return None
    if started_ticks(record.pid) != record.started_ticks or record.pid not in members():
        os.close(descriptor)
        return None
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    return descriptor


def wait_until_gone(descriptor: int, seconds: float) -> None:
    """Wait for the process of a descriptor to end, at most so long, and close it."""
    try:
        select.select([descriptor], [], [], seconds)
    finally:
        os.close(descriptor)
