"""Small text files of the kernel: read whole, in one go, absent where they are absent.

A cgroup may vanish between two files of one read. That is no error: what can't be read is None, and
becomes NaN in the frames.
"""

from __future__ import annotations

import os
from typing import Final

READ_BYTES_MAX: Final = 1 << 20
"""Far larger than any file read here; a list of processes may be cut, of which only the first is used."""
CHUNK_BYTES: Final = 1 << 16


def read_text(path: str) -> str | None:
    """Return a file's text, or None where it can't be read."""
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
        return data.decode("utf-8", "surrogateescape")
    except OSError:
        return None
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


def number(text: str | None) -> float:
    """Return the one number a file holds; NaN where there is none."""
    if text is None:
        return float("nan")
    try:
        return float(int(text))
    except ValueError:
        return float("nan")


def keyed(text: str | None) -> dict[str, str]:
    """Return a file of lines `name value`, one word each, as a dictionary."""
    words = (text or "").split()
    return dict(zip(words[::2], words[1::2], strict=False))
