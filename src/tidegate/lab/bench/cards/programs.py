"""Our own programs as processes: started, told apart by their ids, and ended by these alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import tidegate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

END_SECONDS: Final = 15.0
"""How long a program may take to end when asked to; then it is killed."""
PROGRAM: Final = "tidegate.cli.main"
SOURCE: Final = str(Path(tidegate.__file__).parents[1])
"""So that a program finds the same Tidegate as this one."""
CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
USER_AT, SYSTEM_AT = 11, 12
"""Of what stands behind the name in /proc/PID/stat (proc_pid_stat(5))."""


class Program:
    """One process of ours; ends with the context."""

    def __init__(self, arguments: Sequence[str], *, log: Path, module: str = PROGRAM) -> None:
        """Start it in a session of its own: Ctrl-C is for us, and we end it."""
        self.log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"PYTHONPATH": SOURCE},
            )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    def wait(self, seconds: float) -> None:
        """Wait so long for it to end by itself."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def end(self) -> None:
        """Ask it to end, and kill it where it does not."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def cpu_seconds(self) -> float:
        """Return the CPU time it has used."""
        text = Path(f"/proc/{self.pid}/stat").read_text("ascii", "replace")
        fields = text.rpartition(")")[2].split()
        return (int(fields[USER_AT]) + int(fields[SYSTEM_AT])) / CLOCK_TICKS

    def resident_bytes(self) -> int:
        """Return the memory of it that is in RAM."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def said(self) -> str:
        """Return the end of what it has said."""
        return self.log.read_text("utf-8", "replace")[-2000:]

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self.end()


__all__ = ["Program"]
