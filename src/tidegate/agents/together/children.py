"""Programs that run beside this one: started, started again when they end, and ended with it.

Each reads the end of its standard input as the end of this process, however that came: none is left behind.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from tidegate.drivers.local.clock import SystemClock
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RESTART_SECONDS: Final = 0.5
"""How long until a program that ended is started again; twice as long each time it ends soon after."""
RESTART_SECONDS_MAX: Final = 30.0
SOON_SECONDS: Final = 60.0
"""A program that ran this long is started again as if it had never ended."""
END_SECONDS: Final = 10.0
"""How long a program that is asked to end may take before it is killed."""
LINES_MAX: Final = 50
"""Of what a program writes to stderr, the last so many lines are kept."""
LINE_BYTES_MAX: Final = 4096
EXIT_USAGE: Final = 2
CLOCK: Final = SystemClock()
SAID: Final = "tidegate: "
"""What the line begins with that says why a program of ours ended."""


class Child:
    """One program; a thread of its own watches over it."""

    def __init__(self, name: str, arguments: Sequence[str], *, told: Callable[[str], None]) -> None:
        """Start `tidegate` with arguments; ``told`` hears, on another thread, when it ended by itself.

        It has begun when this returns: a process that forks meanwhile would hold its caller's locks.
        """
        self.name = name
        self.restarts = 0
        self._command = [sys.executable, "-P", "-m", "tidegate.cli.main", *arguments, "--until-eof"]
        self._told = told
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._was_well = self._was_asked = False
        self._starting = threading.Lock()
        self._ending = threading.Event()
        self._failed: str | None = None
        self._process = self._started()
        self._thread = threading.Thread(target=self._watch, name=f"watch {name}", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Of the process that runs now; None where none does."""
        process = self._process
        return None if process.returncode is not None else process.pid

    def well(self) -> None:
        """Note that it does its work: if it ends from now on it is started again."""
        self._was_well = True

    def check(self) -> None:
        """Do nothing unless it ended before it ever did its work.

        Raises:
            InputError: it can't do what was asked; the sentence is its own.
            TidegateError: it failed otherwise.

        """
        if self._failed is not None:
            self._raise(self._failed)

    def ask(self) -> None:
        """Ask it to end, and wait for nothing."""
        with self._starting:
            self._ending.set()
            process = self._process
        if process.poll() is None and not self._was_asked:
            self._was_asked = True
            process.terminate()

    def end(self) -> None:
        """Ask it to end, and wait until it has; one that does not is killed.

        Raises:
            TidegateError: it ended with an error; the sentence is its own.

        """
        self.ask()
        process = self._process
        if process.poll() is None:
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        self._thread.join()
        if self._was_asked and process.returncode > 0:
            self._raise(self._how(process.returncode))

    def _watch(self) -> None:
        pause = RESTART_SECONDS
        while True:
            began = CLOCK.forwards_seconds()
            code = self._heard()
            if self._ending.is_set():
                return
            if not self._was_well:
                self._failed = self._how(code)
                return
            pause = RESTART_SECONDS if CLOCK.forwards_seconds() - began > SOON_SECONDS else pause
            self._told(f"the {self.name} ended ({self._how(code)}); it is started again in {pause:g} s")
            if self._ending.wait(pause):
                return
            with self._starting:
                if self._ending.is_set():
                    return
                self._lines.clear()
                self._process = self._started()
            pause = min(2 * pause, RESTART_SECONDS_MAX)
            self.restarts += 1

    def _started(self) -> subprocess.Popen[bytes]:
        # In a session of its own Ctrl-C does not reach it: it ends when it is asked to.
        return subprocess.Popen(  # noqa: S603 - this very program
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def _heard(self) -> int:
        """Take in what it says until it ends; return its exit code."""
        with self._process as process:
            assert process.stderr is not None, "stderr is a pipe"
            while line := process.stderr.readline(LINE_BYTES_MAX):
                self._lines.append(line.decode("utf-8", "replace").rstrip())
            return process.wait()

    def _how(self, code: int) -> str:
        """Say how it ended, by its own words if it left any."""
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        own = [line for line in self._lines if line.startswith(SAID)]
        if own:
            return own[-1].removeprefix(SAID)
        return f"exit code {code}{': ' if self._lines else ''}{self._lines[-1] if self._lines else ''}"

    def _raise(self, how: str) -> None:
        code = self._process.returncode
        if code == EXIT_USAGE:
            raise InputError(how)
        raise TidegateError(how if code == 1 else f"the {self.name} ended: {how}")
