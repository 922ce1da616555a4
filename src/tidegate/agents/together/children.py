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
RESTARTS_MAX: Final = 10
"""One that ends soon after so many restarts in a row stays down: after two and a half minutes of trying."""
STANDS_SECONDS: Final = 5.0
"""One that was started again counts as down until it has run so long."""
END_SECONDS: Final = 10.0
"""How long a program that is asked to end may take before it is killed, and a killed one until it is gone."""
LINES_MAX: Final = 50
"""Of what a program writes to stderr, the last so many lines are kept."""
LINE_BYTES_MAX: Final = 4096
EXIT_USAGE: Final = 2
CLOCK: Final = SystemClock()
TIDEGATE: Final = (sys.executable, "-P", "-m", "tidegate.cli.main")
SAID: Final = "tidegate: "
"""What the line begins with that says why a program of ours ended."""


class Child:
    """One program; a thread of its own watches over it."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        told: Callable[[str], None],
        command: Sequence[str] = TIDEGATE,
    ) -> None:
        """Start `tidegate` with arguments; ``told`` hears, on another thread, when it ended by itself.

        It has begun when this returns: a process that forks meanwhile would hold its caller's locks.

        Raises:
            TidegateError: the system starts no further process.

        """
        self.name = name
        self.restarts = 0
        self._command = [*command, *arguments, "--until-eof"]
        self._told = told
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._was_well = self._was_asked = False
        self._starting = threading.Lock()
        self._ending = threading.Event()
        self._why_down = ""
        self._failed: TidegateError | None = None
        try:
            self._process = self._started()
        except OSError as error:
            raise TidegateError(f"the {name} can't be started ({error.strerror})") from error
        self._began = CLOCK.forwards_seconds()
        self._thread = threading.Thread(target=self._watch, name=f"watch {name}", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Of the process that runs now; None where none does."""
        process = self._process
        return None if process.returncode is not None else process.pid

    @property
    def why_down(self) -> str:
        """How it ended, by its own last words; empty while it runs."""
        stands = self.pid is not None and CLOCK.forwards_seconds() - self._began > STANDS_SECONDS
        return "" if stands else self._why_down

    def well(self) -> None:
        """Note that it does its work: if it ends from now on it is started again."""
        self._was_well = True

    def check(self) -> None:
        """Do nothing unless it stays down: it ended before it ever did its work, or too often since.

        Raises:
            InputError: it can't do what was asked; the sentence is its own.
            TidegateError: it failed otherwise.

        """
        if self._failed is not None:
            raise self._failed

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
        self._thread.join(END_SECONDS)
        if self._thread.is_alive():
            raise TidegateError(f"the {self.name}, process {process.pid}, does not end though it was killed")
        if self._was_asked and process.returncode > 0:
            raise self._error(process.returncode)

    def _watch(self) -> None:
        restarts_in_a_row = 0
        while (how := self._ended()) is not None:
            if CLOCK.forwards_seconds() - self._began > SOON_SECONDS:
                restarts_in_a_row = 0
            while True:
                self._why_down = how
                if restarts_in_a_row >= RESTARTS_MAX:
                    self._give_up()
                    return
                pause = min(RESTART_SECONDS * 2**restarts_in_a_row, RESTART_SECONDS_MAX)
                self._told(f"the {self.name} ended ({how}); it is started again in {pause:g} s")
                if self._ending.wait(pause):
                    return
                restarts_in_a_row += 1
                with self._starting:
                    if self._ending.is_set():
                        return
                    how = self._start_again()
                if not how:
                    break

    def _ended(self) -> str | None:
        """Return how it ended, once it has; None where it is not to be started again."""
        code = self._heard()
        if self._ending.is_set():
            return None
        if not self._was_well:
            self._failed = self._error(code)
            return None
        return self._how(code)

    def _start_again(self) -> str:
        """Start it again; return why the system starts no further process, empty where it does."""
        self._lines.clear()
        try:
            self._process = self._started()
        except OSError as error:
            return f"it can't be started: {error.strerror}"
        self._began = CLOCK.forwards_seconds()
        self.restarts += 1
        return ""

    def _give_up(self) -> None:
        sentence = f"the {self.name} stays down after {self.restarts} restarts: {self._why_down}"
        self._told(sentence)
        self._failed = TidegateError(sentence)

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
            named = -code in {*signal.Signals}  # real-time signals have numbers only
            return f"killed by {signal.Signals(-code).name if named else f'signal {-code}'}"
        own = [line for line in self._lines if line.startswith(SAID)]
        if own:
            return own[-1].removeprefix(SAID)
        return f"exit code {code}{': ' if self._lines else ''}{self._lines[-1] if self._lines else ''}"

    def _error(self, code: int) -> TidegateError:
        """Return what is raised where it ended before it did its work, or as it was asked to end."""
        how = self._how(code)
        if code == EXIT_USAGE:
            return InputError(how)
        return TidegateError(how if code == 1 else f"the {self.name} ended: {how}")
