"""Lends memory of this machine, a card, over the network: as block devices that hosts give VMs to swap on.

Each loan is a file in a file system that is memory (tmpfs), whole from the start, and one `qemu-nbd` that
serves it. The memory outlives its server: one that died is started again, and nothing is lost. What ends with
the card's kernel is gone.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Because, refusal

FOLDER: Final = Path("/dev/shm/tidegate-far")  # noqa: S108 - it is memory that is wanted, and the folder is ours alone
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
PAGE_BYTES: Final = 4096
LOANS_MAX: Final = 256
START_SECONDS_MAX: Final = 10.0
STOP_SECONDS_MAX: Final = 5.0
POLL_SECONDS: Final = 0.02
CONNECTIONS_MAX: Final = 4
"""To one loan at once: a VM that is being moved has two ends."""
SERVER: Final = "qemu-nbd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loan:
    """Memory that is lent."""

    name: str
    bytes_whole: int
    socket: Path
    """Where it is served."""
    is_served: bool


class FarMemory:
    """All loans of a card; whoever opens the same folder again finds them."""

    def __init__(self, *, bytes_max: int, folder: Path = FOLDER) -> None:
        """Lend up to so many bytes in all."""
        self._bytes_max, self._folder = bytes_max, folder

    def loans(self) -> list[Loan]:
        """Return what is lent, by name."""
        names = sorted(path.stem for path in self._folder.glob("*.memory"))
        return [self._loan(name) for name in names]

    def lend(self, name: str, amount_bytes: int) -> Loan:
        """Lend memory under a name; what is lent is there, to its last page.

        Raises:
            Refusal: there is no room, the name is taken or none, or there is no server for it here.
            TidegateError: the server does not start; nothing is lent.

        """
        self._check(name, amount_bytes)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        memory = self._memory(name)
        try:
            with memory.open("xb") as file:
                os.posix_fallocate(file.fileno(), 0, amount_bytes)
            self._serve(name)
        except OSError as error:
            self.take_back(name)
            raise refusal(
                Because.NO_ROOM, f"{amount_bytes / 1e6:,.0f} MB can't be had of this card: {error.strerror}"
            ) from error
        except BaseException:
            self.take_back(name)
            raise
        return self._loan(name)

    def revive(self) -> list[str]:
        """Serve again what is lent and not served, as after a crash; return the names."""
        found = [loan.name for loan in self.loans() if not loan.is_served]
        for name in found:
            self._serve(name)
        return found

    def take_back(self, name: str) -> None:
        """End a loan: whoever uses it finds it gone. Of one that is not lent: nothing to do."""
        pid = self._pid(name)
        if pid is not None:
            _end(pid)
        for path in (self._socket(name), self._pid_file(name), self._memory(name)):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others are lent
            self._folder.rmdir()

    def _check(self, name: str, amount_bytes: int) -> None:
        if not NAME.fullmatch(name):
            raise refusal(
                Because.INVALID, f"'{name}' is no name of a loan; use small letters, digits and '-'"
            )
        if amount_bytes < PAGE_BYTES or amount_bytes % PAGE_BYTES:
            raise refusal(Because.INVALID, f"a loan is whole pages of {PAGE_BYTES} bytes; ask for such")
        lent = self.loans()
        if any(loan.name == name for loan in lent):
            raise refusal(
                Because.EXISTS, f"memory is lent as '{name}' already; take it back, or name it anew"
            )
        left = self._bytes_max - sum(loan.bytes_whole for loan in lent)
        if amount_bytes > left or len(lent) >= LOANS_MAX:
            raise refusal(
                Because.NO_ROOM,
                f"this card lends {left / 1e6:,.0f} MB more, not {amount_bytes / 1e6:,.0f}; ask for less, "
                "or take a loan back",
                limit=left,
            )
        if shutil.which(SERVER) is None:
            raise refusal(Because.UNSUPPORTED, f"there is no {SERVER} on this card; install qemu-utils")

    def _serve(self, name: str) -> None:
        """Start the server of a loan and wait until it listens."""
        socket = self._socket(name)
        socket.unlink(missing_ok=True)  # of one that died
        command = [
            *(SERVER, "--persistent", "--fork", "--format=raw", "--cache=writeback", "--discard=ignore"),
            *(f"--shared={CONNECTIONS_MAX}", f"--export-name={name}", f"--socket={socket}"),
            *(f"--pid-file={self._pid_file(name)}", str(self._memory(name))),
        ]
        try:
            done = subprocess.run(  # noqa: S603
                command,
                capture_output=True,
                check=False,
                stdin=subprocess.DEVNULL,
                text=True,
                timeout=START_SECONDS_MAX,
            )
        except subprocess.TimeoutExpired as error:
            raise TidegateError(
                f"the server of memory '{name}' does not start; see whether {SERVER} works"
            ) from error
        if done.returncode != 0:
            raise TidegateError(f"the server of memory '{name}' does not start: {done.stderr.strip()[-200:]}")

    def _loan(self, name: str) -> Loan:
        return Loan(
            name=name,
            bytes_whole=self._memory(name).stat().st_size,
            socket=self._socket(name),
            is_served=self._pid(name) is not None,
        )

    def _pid(self, name: str) -> int | None:
        """Return the number of a loan's server; None where it does not run."""
        try:
            pid = int(self._pid_file(name).read_text(encoding="ascii"))
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if f"--socket={self._socket(name)}".encode() in words else None

    def _memory(self, name: str) -> Path:
        return self._folder / f"{name}.memory"

    def _socket(self, name: str) -> Path:
        return self._folder / f"{name}.sock"

    def _pid_file(self, name: str) -> Path:
        return self._folder / f"{name}.pid"


def _end(pid: int) -> None:
    """End a server; one that does not want to is killed."""
    pause = threading.Event()
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = monotonic() + STOP_SECONDS_MAX
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            while monotonic() < deadline:
                os.kill(pid, 0)
                if _is_dead(pid):
                    return
                pause.wait(POLL_SECONDS)
            continue
        return


def _is_dead(pid: int) -> bool:
    """Whether a process only waits to be seen off by its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return True


__all__ = ["FarMemory", "Loan"]
