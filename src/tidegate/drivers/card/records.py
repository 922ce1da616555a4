"""What a card remembers of each application it runs: one small file, written whole before the program starts.

Which processes are an application's is not in it: the kernel knows, by cgroup. A record of one whose cgroup
is empty means nothing.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import msgspec

from tidegate.drivers.cgroups.kernel_files import read_text
from tidegate.drivers.ledgers.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path


END: Final = ".json"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an application beside its cgroup."""

    name: str
    epoch: int
    standby: bool
    """Whether it waits for another's state."""
    hands_off: bool
    ports: tuple[int, ...]
    pid: int
    """Of the first process."""
    started_ticks: int
    """When that was started, in clock ticks since boot: with it a pid means one process for ever."""
    network_class: int = 0
    """Its class where its rate is limited; 0: none."""


class Records:
    """The records of one card."""

    def __init__(self, folder: Path) -> None:
        """Keep them in a folder, one file each."""
        self._folder = folder

    def read(self, name: str) -> Record | None:
        """Return a record; None where there is none, or it can't be read."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            record = msgspec.json.decode(self._file(name).read_bytes(), type=Record)
            return record if record.name == name else None
        return None

    def write(self, record: Record) -> None:
        """Replace a record whole: who reads it, even after a crash, finds the old or the new.

        Raises:
            OSError: it can't be written.

        """
        file = self._file(record.name)
        write_whole(file, msgspec.json.encode(record), beside=file.with_name(f".{file.name}.new"))

    def remove(self, name: str) -> None:
        """Forget an application."""
        self._file(name).unlink(missing_ok=True)

    def names(self) -> set[str]:
        """Return who has a record; what was half written is removed."""
        for half in self._folder.glob(f".*{END}.new"):
            half.unlink(missing_ok=True)
        return {file.name.removesuffix(END) for file in self._folder.glob(f"*{END}")}

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}{END}"


def started_ticks(pid: int) -> int | None:
    """Return when a process was started (field 22 of proc_pid_stat(5)); None where there is none."""
    fields = (read_text(f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 else None
