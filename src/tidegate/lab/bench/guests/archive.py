"""Writes an initramfs: the cpio archive "newc", uncompressed, since unpacking is slow under emulation.

Format: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAGIC: Final = "070701"
TRAILER: Final = "TRAILER!!!"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file, folder, link or device node."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)
    """Major and minor number of a node."""


def folder(name: str) -> Entry:
    """Return a folder."""
    return Entry(name=name, mode=stat.S_IFDIR | 0o755)


def program(name: str, data: bytes) -> Entry:
    """Return a file that may be run."""
    return Entry(name=name, mode=stat.S_IFREG | 0o755, data=data)


def link(name: str, to: str) -> Entry:
    """Return a symbolic link."""
    return Entry(name=name, mode=stat.S_IFLNK | 0o777, data=to.encode())


def terminal(name: str, major: int, minor: int) -> Entry:
    """Return a node of a character device."""
    return Entry(name=name, mode=stat.S_IFCHR | 0o600, device=(major, minor))


def archive(entries: Iterable[Entry]) -> bytes:
    """Return the archive of these entries, owned by root, of no time: same entries, same bytes."""
    written = bytearray()
    for number, entry in enumerate(entries, 1):
        _append(written, number, entry)
    _append(written, 0, Entry(name=TRAILER, mode=0))
    return bytes(written)


def _append(written: bytearray, number: int, entry: Entry) -> None:
    name = entry.name.encode() + b"\0"
    fields = (number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
    written += MAGIC.encode() + b"".join(b"%08x" % field for field in fields) + name
    written += bytes(-len(written) % 4)
    written += entry.data
    written += bytes(-len(written) % 4)
