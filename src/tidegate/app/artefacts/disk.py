"""Reading and writing the files of a model store: bounded, through no link, and whole or not at all."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK: Final = ".lock"
"""Beside the models; never removed: a lock on a removed file is none."""
LOCK_WAIT_SECONDS: Final = 10.0
LOCK_POLL_SECONDS: Final = 0.02
PART: Final = ".part"
"""How what is still being written ends; what a crash left of it, the next writer removes."""


def read_file(folder: Path, name: str, *, bytes_max: int) -> bytes:
    """Return a file of a folder; neither may be a symbolic link.

    Raises:
        InputError: the folder or the file is not there, is a link or no plain file, can't be read, or is
            larger than ``bytes_max``.

    """
    try:
        inside = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"{folder} is no folder of a model ({_reason(error)}); name one that is") from error
    try:
        # Non-blocking: opening a pipe somebody put there must not wait for its writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.open(name, flags, dir_fd=inside)
    except OSError as error:
        raise InputError(
            f"{folder / name} can't be read ({_reason(error)}); restore the folder from a copy, or train anew"
        ) from error
    finally:
        os.close(inside)
    with os.fdopen(handle, "rb") as file:
        there = os.fstat(handle)
        if not stat.S_ISREG(there.st_mode):
            raise InputError(f"{folder / name} is no plain file; remove the folder and train again")
        if there.st_size > bytes_max:
            raise InputError(
                f"{folder / name} has {there.st_size:,} bytes, and at most {bytes_max:,} are read; "
                "train a smaller model"
            )
        try:
            return file.read(bytes_max)
        except OSError as error:
            raise InputError(f"{folder / name} can't be read ({_reason(error)}); check the disk") from error


def write_file(path: Path, data: bytes) -> None:
    """Replace a file whole: who reads it, even after a crash, finds the old or the new."""
    beside = path.with_name(f".{path.name}{PART}")
    try:
        write_new(beside, data)
        rename(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_new(path: Path, data: bytes) -> None:
    """Write a file that nobody else looks at yet, down to the disk."""
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o644), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder down to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rename(path: Path, to: Path) -> None:
    """Give a file or a folder its final name, in one step."""
    os.replace(path, to)  # noqa: PTH105 - one call that tests can make fail
    sync_folder(to.parent)


@contextmanager
def writing(store: Path) -> Iterator[None]:
    """Let nobody else read or write the store; it is made where it is not there yet.

    Raises:
        InputError: it can't be written, or others hold it for longer than `LOCK_WAIT_SECONDS`.
        TidegateError: the disk fails, or is full; the store is as it was, or as it should be.

    """
    try:
        store.mkdir(parents=True, exist_ok=True)
        handle = os.open(store / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise InputError(
            f"the models in {store} can't be changed ({_reason(error)}); name a folder of yours with --models"
        ) from error
    with _locked(handle, store, fcntl.LOCK_EX):
        try:
            yield
        except OSError as error:
            raise TidegateError(
                f"the models in {store} can't be written ({_reason(error)}); make room or mend the disk, "
                "and look at 'tidegate models list'"
            ) from error


@contextmanager
def reading(store: Path) -> Iterator[None]:
    """Let nobody write the store meanwhile.

    Raises:
        InputError: somebody writes for longer than `LOCK_WAIT_SECONDS`.

    """
    try:
        handle = os.open(store / LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield  # a copy that nobody writes
        return
    except OSError as error:
        raise InputError(
            f"the models in {store} can't be read ({_reason(error)}); name a folder of yours with --models"
        ) from error
    with _locked(handle, store, fcntl.LOCK_SH):
        yield


@contextmanager
def _locked(handle: int, store: Path, how: int) -> Iterator[None]:
    try:
        until = time.monotonic() + LOCK_WAIT_SECONDS
        while True:
            try:
                fcntl.flock(handle, how | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= until:
                    raise InputError(
                        f"another Tidegate has been changing the models in {store} for "
                        f"{LOCK_WAIT_SECONDS:.0f} seconds; end that one, or try again"
                    ) from error
                time.sleep(LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(handle)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


__all__ = ["PART", "read_file", "reading", "rename", "sync_folder", "write_file", "write_new", "writing"]
