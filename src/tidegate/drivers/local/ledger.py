"""What the owner had set before Tidegate changed it, written down before the change.

The order is always: ledger, then setting. So at any point at which this process may be killed, the ledger
holds the owner's value of every file that may hold another, and every value that may be ours. Putting back
needs nothing but the ledger: the owner's value returns where the file still holds one of ours; where it
holds anything else somebody changed it since, and it stays.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from tidegate.drivers.cgroups.kernel_files import read_text, write_text
from tidegate.drivers.cgroups.limits import SETTINGS
from tidegate.drivers.ledgers.files import write_whole
from tidegate.drivers.ledgers.locks import locked_ledger
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Iterable

LEDGER_PATH: Final = Path("/run/tidegate/limits.json")
"""Where it is kept unless told otherwise: a folder that, like cgroups, does not survive a boot."""
ENTRIES_MAX: Final = 4096
"""Above this many, those whose cgroup is gone are dropped: containers come and go for months."""
RESTORE_PASSES_MAX: Final = 3
"""Version 1 refuses a quota above that of the cgroup over it: who was refused may succeed after that one."""

_Fate: TypeAlias = Literal["restored", "left", "gone", "refused"]


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    """One setting."""

    original: str
    """What the owner had."""
    ours: list[str]
    """What it may hold that we wrote: the value before the last change, and the last."""


class Book(msgspec.Struct, forbid_unknown_fields=True):
    """The file."""

    boot: str
    pid: int
    entries: dict[str, Entry]
    """By the setting's file."""


class _Header(msgspec.Struct):
    """As much of a ledger as says whose it is."""

    boot: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A setting about to be written."""

    file: str
    before: str
    """The text in the file now."""
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What became of the settings in a ledger: files, each in one of these."""

    restored: tuple[str, ...] = ()
    """Hold the owner's value again, or never lost it."""
    left: tuple[str, ...] = ()
    """Were changed by somebody else since, and stay as they are."""
    gone: tuple[str, ...] = ()
    """Their cgroup is no more."""
    discarded: tuple[str, ...] = ()
    """Were written down before this boot: what they limited ended with it."""


class Ledger:
    """The ledger of the one process that may change settings; held by a lock until closed."""

    def __init__(self, path: Path, *, boot: str) -> None:
        """Take the lock; ``boot`` is the identifier of this boot.

        Raises:
            InputError: another process holds it, or the folder can't be written.

        """
        self._path = path
        self._lock = locked_ledger(path, "limits")
        self._book = Book(boot=boot, pid=os.getpid(), entries={})

    def owner_text(self, file: str, current: str) -> str:
        """Return what the owner set in a file that holds ``current``: what we wrote is not the owner's."""
        entry = self._book.entries.get(file)
        return entry.original if entry is not None and current in entry.ours else current

    def note(self, changes: Iterable[Change]) -> None:
        """Write down what is about to be changed; when this returns, the changes may be made.

        Where a file holds neither what the owner had nor ours, the owner has set it anew: that is what
        will be put back.
        """
        entries = dict(self._book.entries)
        if len(entries) > ENTRIES_MAX:
            entries = {file: entry for file, entry in entries.items() if Path(file).exists()}
        for change in changes:
            known = entries.get(change.file)
            if known is None or change.before not in known.ours:
                entries[change.file] = Entry(original=change.before, ours=[change.after])
            else:
                kept = [text for text in known.ours if text == change.before]
                entries[change.file] = Entry(original=known.original, ours=[*kept[:1], change.after])
        self._book.entries = entries
        write_whole(self._path, msgspec.json.encode(self._book))

    def restore(self) -> Released:
        """Put the owner's values back, those an earlier process left behind too, and drop the ledger.

        Raises:
            InputError: the file is no ledger.
            TidegateError: the kernel refuses an owner's value; those stay in the ledger.

        """
        book = _read_book(self._path, self._book.boot)
        self._book.entries = {}
        if book is None:
            return Released()
        if isinstance(book, _Header):
            self._path.unlink()
            return Released(discarded=(str(self._path),))
        released, refused = _restored(book.entries)
        if refused:
            book.entries = {file: book.entries[file] for file in refused}
            write_whole(self._path, msgspec.json.encode(book))
            raise TidegateError(
                f"the kernel refused the owner's value of {', '.join(sorted(refused))}; "
                f"set it by hand, then delete {self._path}"
            )
        self._path.unlink(missing_ok=True)
        return released

    def close(self) -> None:
        """Let go of the lock; what is in the ledger stays."""
        os.close(self._lock)


def release(path: Path, *, boot: str) -> Released:
    """Put back what a process that is gone had changed; nothing to do without a ledger.

    Raises:
        InputError: the process still runs, or the file is no ledger.
        TidegateError: the kernel refuses an owner's value.

    """
    try:
        if not path.exists():
            return Released()
    except PermissionError as error:
        raise InputError(f"the ledger {path} can't be read; run as root or name another file") from error
    ledger = Ledger(path, boot=boot)
    try:
        return ledger.restore()
    finally:
        ledger.close()


def boot_identifier(root: Path) -> str:
    """Return what tells this boot from any other; "" where the system has no such thing."""
    return (read_text(f"{root}/proc/sys/kernel/random/boot_id") or "").strip()


def _read_book(path: Path, boot: str) -> Book | _Header | None:
    """Return the ledger, only its header if it is of an earlier boot, None if there is none."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        header = msgspec.json.decode(data, type=_Header)
        if header.boot != boot:
            return header
        book = msgspec.json.decode(data, type=Book)
    except msgspec.DecodeError as error:
        raise InputError(f"{path} is no ledger ({error}); name another file, or delete it") from error
    strange = [file for file in book.entries if file.rpartition("/")[2] not in SETTINGS]
    if strange:
        raise InputError(f"{path} names {strange[0]}, which is no limit of a cgroup; delete it")
    return book


def _restored(entries: dict[str, Entry]) -> tuple[Released, list[str]]:
    """Put values back; return what became of each, and the files whose value the kernel refuses."""
    became: dict[_Fate, list[str]] = {"restored": [], "left": [], "gone": [], "refused": list(entries)}
    for _ in range(RESTORE_PASSES_MAX):
        waiting, became["refused"] = became["refused"], []
        for file in waiting:
            became[_put_back(file, entries[file])].append(file)
    released = Released(
        restored=tuple(became["restored"]), left=tuple(became["left"]), gone=tuple(became["gone"])
    )
    return released, became["refused"]


def _put_back(file: str, entry: Entry) -> _Fate:
    current = read_text(file)
    if current is not None and current.strip() != entry.original and current.strip() in entry.ours:
        with contextlib.suppress(OSError):
            write_text(file, entry.original)
        current = read_text(file)
        if current is not None and current.strip() != entry.original:
            return "refused"
    if current is None:
        return "gone"
    return "restored" if current.strip() == entry.original else "left"
