"""Writes files so that nothing half-written is ever left behind.

`check_writable` says before any long work what `write_atomically` would say after it.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from tidegate.model.errors import InputError

REMEDY = "choose a folder that exists and is writable, and the name of a file in it"


def check_writable(*paths: Path | None) -> None:
    """Refuse what can't be written, before any work is done for it; None is nothing to write.

    Raises:
        InputError: a path is a folder or no text, its folder is missing or not writable, or two paths
            are one file.

    """
    seen: set[Path] = set()
    for path in paths:
        if path is None:
            continue
        try:
            if _is_special(path):
                if not os.access(path, os.W_OK):
                    raise PermissionError(0, "no permission to write there")
                continue
            target = _resolved(path)
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=".tidegate-", suffix=".part")
        except OSError as error:
            raise _refusal(path, error) from error
        os.close(handle)
        Path(name).unlink(missing_ok=True)
        if target in seen:
            raise InputError(f"{path} is named twice to be written; give each output its own file")
        seen.add(target)


def write_atomically(path: Path, content: bytes) -> None:
    """Write the whole file or nothing: a temporary file beside it, then a rename.

    A symbolic link stays one, and what it names is replaced; a device or a pipe is written to.

    Raises:
        InputError: the folder is missing or not writable, the path is a folder, or the disk is full.

    """
    try:
        if not _is_special(path):
            _replace(_resolved(path), content)
            return
        sys.stdout.flush()
        with _opened(path) as file:
            file.write(content)
    except OSError as error:
        raise _refusal(path, error) from error


def _replace(target: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".tidegate-", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _is_special(path: Path) -> bool:
    """Return whether the path is written to as it stands: a device, a pipe, or our own output.

    Replacing the file behind our stdout or stderr, under whatever name, would lose what is printed.

    Raises:
        OSError: the path is a folder, or nobody may look.

    """
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(0, "it is a folder")
    return _stream_of(there) is not None or not stat.S_ISREG(there.st_mode)


def _opened(path: Path) -> IO[bytes]:
    stream = _stream_of(path.stat())
    return path.open("wb") if stream is None else os.fdopen(os.dup(stream), "wb")


def _stream_of(there: os.stat_result) -> int | None:
    """Return which of our stdout and stderr this is, if any."""
    for stream in (1, 2):
        try:
            if os.path.samestat(os.fstat(stream), there):
                return stream
        except OSError:
            continue
    return None


def _resolved(path: Path) -> Path:
    """Return the file that symbolic links lead to.

    Raises:
        OSError: the links lead nowhere, or the name is too long.
        InputError: the name is no text.

    """
    if not os.fsencode(path).isascii():
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise InputError(f"the name {str(path)!r} is not UTF-8; choose another") from error
    try:
        target = path.resolve()
    except RuntimeError as error:  # Python 3.11 and 3.12 of a loop of links
        raise OSError(0, "its links go round in a circle") from error
    with suppress(FileNotFoundError):
        target.lstat()  # tells of a name that is too long
    return target


def _refusal(path: Path, error: OSError) -> InputError:
    name = str(path) if str(path) != "." else "'' or '.'"
    return InputError(f"cannot write {name}: {error.strerror}; {REMEDY}")
