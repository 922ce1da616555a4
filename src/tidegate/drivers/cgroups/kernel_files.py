"""Small text files of the kernel: read whole, in one go, absent where they are absent.

A cgroup may vanish between two files of one read. That is no error: what can't be read is None, and
becomes NaN in the frames.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

READ_BYTES_MAX: Final = 1 << 20
"""Far larger than any file read here; a list of processes may be cut, of which only the first is used."""
CHUNK_BYTES: Final = 1 << 16
Read: TypeAlias = "Callable[[str], bytes | None]"
"""How to read a file: `read_bytes`, or the `read` of files kept open."""


def read_text(path: str) -> str | None:
    """Return a file's text, or None where it can't be read."""
    data = read_bytes(path)
    return None if data is None else data.decode("utf-8", "surrogateescape")


def read_bytes(path: str) -> bytes | None:
    """Return what a file holds, or None where it can't be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # The kernel may hand out a page at a time: only an empty read is the end.
        data = chunk = os.read(descriptor, CHUNK_BYTES)
        while chunk and len(data) < READ_BYTES_MAX:
            chunk = os.read(descriptor, CHUNK_BYTES)
            data += chunk
    except OSError:
        return None
    else:
        return data
    finally:
        os.close(descriptor)


def write_text(path: str, text: str) -> None:
    """Write a setting in one call, as the kernel wants it; never makes a file.

    Raises:
        OSError: the file is gone, or the kernel refuses the value.

    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_TRUNC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def number(text: str | bytes | None) -> float:
    """Return the one number a file holds; NaN where there is none."""
    if text is None:
        return math.nan
    try:
        return float(int(text))
    except ValueError:
        return math.nan


def fields(data: bytes | None, keys: Sequence[bytes]) -> list[float]:
    """Return the numbers of a file of lines `name number`; NaN where there is none.

    Each key is a name as it stands between the lines: with a line's end before it and a space after it.
    """
    if data is None:
        return [math.nan] * len(keys)
    lines = b"\n%b\n" % data
    found = []
    for key in keys:
        at = lines.find(key) + len(key)
        found.append(math.nan if at < len(key) else number(lines[at : lines.find(b"\n", at)]))
    return found
