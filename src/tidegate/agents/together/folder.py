"""The private folder of one `up`: its sockets, and what its programs remember while it runs."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from tidegate.drivers.local.clock import SystemClock
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX: Final = "tidegate-up-"
LOCK: Final = "lock"
PATH_BYTES_MAX: Final = 60
"""Of the folder above: a socket's whole path may have 107 bytes."""
MADE_SECONDS: Final = 60.0
"""A folder without a lock is removed when it is older than this."""
TRIES_MAX: Final = 3
"""Folders made until one stays."""
LEFT_MAX: Final = 64
"""Folders left by an `up` that was killed which one start removes at most."""


@contextmanager
def runtime_folder(environ: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """Lend a new folder that only its owner may enter; those that a killed `up` left behind are removed.

    It lies where the XDG base directory specification has such things, or else among temporary files.

    Raises:
        InputError: no folder can be made.

    """
    above = _above(environ)
    _sweep(above)
    try:
        made, lock = _made(above)
    except OSError as error:
        raise InputError(
            f"no folder for sockets can be made in {above} ({error.strerror}); set TMPDIR to one that is "
            "writable, or add --in-process"
        ) from error
    with lock:
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _made(above: Path) -> tuple[Path, TextIO]:
    """Return a new folder and its lock; another where one that started at this very moment swept it away."""
    for _ in range(TRIES_MAX):
        made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=above))
        lock = (made / LOCK).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), (made / LOCK).stat()):
                return made, lock
        lock.close()
    raise OSError(errno.EAGAIN, "others clear it away")


def _above(environ: Mapping[str, str]) -> Path:
    given = Path(environ.get("XDG_RUNTIME_DIR", ""))
    for folder in (given, Path(tempfile.gettempdir())):
        fits = folder.is_absolute() and len(os.fsencode(folder)) <= PATH_BYTES_MAX
        if fits and os.access(folder, os.W_OK | os.X_OK):
            return folder
    return Path("/tmp")  # noqa: S108 - mkdtemp makes a folder of its own there, closed to others


def _sweep(above: Path) -> None:
    """Remove what a killed `up` left: folders of ours whose lock nobody holds."""
    for left in sorted(above.glob(f"{PREFIX}*"))[:LEFT_MAX]:
        with suppress(OSError):
            found = left.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            if not (left / LOCK).exists():
                # It is just being made; or it was removed, and a program that was still loading made it anew.
                if SystemClock().now_seconds() - found.st_mtime > MADE_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)
                continue
            with (left / LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
