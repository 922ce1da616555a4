"""Files of keys and certificates: whole or not at all, closed to others, never over something by accident."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SECRET: Final = 0o600
PUBLIC: Final = 0o644
FOLDER: Final = 0o700
LOCK: Final = ".lock"


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that must not be there yet.

    Raises:
        InputError: it is, or it can't be written.

    """
    try:
        part = _part(path, content, mode)
        try:
            os.link(part, path)
        finally:
            part.unlink()
    except FileExistsError as error:
        raise InputError(
            f"{path} is there already and is not overwritten; remove it, or name another"
        ) from error
    except OSError as error:
        raise _refusal(path, error) from error


def replace(path: Path, content: bytes, mode: int) -> None:
    """Write a file in place of the one that may be there; readers see the one or the other.

    Raises:
        InputError: it can't be written.

    """
    try:
        part = _part(path, content, mode)
        try:
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _refusal(path, error) from error


def write_new_folder(folder: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    """Write a folder with its files that must not be there yet; nothing of it is left where it fails.

    Raises:
        InputError: it is, or it can't be written.

    """
    if folder.exists():
        raise InputError(
            f"{folder} is there already and is not overwritten; remove it, or choose another name"
        )
    try:
        folder.parent.mkdir(mode=FOLDER, parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".", suffix=".part"))
        try:
            for name, (content, mode) in files.items():
                write_new(part / name, content, mode)
            part.rename(folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    except OSError as error:
        raise _refusal(folder, error) from error


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep others from changing a folder inside the context.

    Raises:
        InputError: another is changing it, or it can't be written.

    """
    try:
        folder.mkdir(mode=FOLDER, parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, SECRET)
    except OSError as error:
        raise _refusal(folder, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"another Tidegate is changing {folder}; try again once it has ended") from error
        yield
    finally:
        os.close(handle)


def read(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        InputError: it is not there, or can't be read.

    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror})") from error


def _part(path: Path, content: bytes, mode: int) -> Path:
    """Return a file beside a path that is written out to the disk; only its owner could read it meanwhile."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _refusal(path: Path, error: OSError) -> InputError:
    why = error.strerror or type(error).__name__
    return InputError(f"{path} can't be written ({why}); choose a folder of yours, with room in it")
