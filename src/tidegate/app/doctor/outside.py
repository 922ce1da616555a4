"""Reads the machine within limits: files, folders, rights and what programs say of themselves.

The only part of the check-up that touches anything. It starts nothing that stays, and the one thing it
makes, an empty control group, it removes in the same breath. Everything it looks at lies below `root`, so
that a test can build a machine in a folder.
"""

from __future__ import annotations

import fcntl
import importlib
import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

TEXT_BYTES_MAX = 1 << 20
"""Read of any one file; /proc/cpuinfo of a thousand cores is about this long."""
NAMES_MAX = 4096
"""Entries looked at in any one folder."""
COMMAND_SECONDS_MAX = 5.0
"""How long a program may take to tell its version."""
COMMAND_TEXT_BYTES_MAX = 4096
KVM_GET_API_VERSION = 0xAE00
"""_IO(KVMIO, 0x00) of linux/kvm.h; every kernel since 2.6.22 answers 12."""


def found(module: str) -> bool:
    """Return whether Python could import a module; imports nothing."""
    with suppress(ImportError, ValueError):
        return importlib.util.find_spec(module) is not None
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """One machine, as far as a check-up may look; the defaults are this one."""

    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    system: str = field(default_factory=lambda: sys.platform)
    release: str = field(default_factory=platform.release)
    architecture: str = field(default_factory=platform.machine)
    user_id: int = field(default_factory=os.geteuid)
    now_seconds: float = field(default_factory=time.time)
    has_module: Callable[[str], bool] = found
    load_module: Callable[[str], ModuleType] = importlib.import_module

    @property
    def is_linux(self) -> bool:
        """Return whether the Linux-only parts can be there at all."""
        return self.system == "linux"

    @property
    def is_root(self) -> bool:
        """Return whether the user may, if nothing else forbids it, do anything."""
        return self.user_id == 0

    def path(self, name: str) -> Path:
        """Return where a file of this machine lies; ``name`` may start with a slash."""
        return self.root / name.lstrip("/")

    def raw(self, name: str) -> bytes | None:
        """Return the start of a file, or None if it can't be read."""
        try:
            with self.path(name).open("rb") as file:
                return file.read(TEXT_BYTES_MAX)
        except OSError:
            return None

    def text(self, name: str) -> str | None:
        """Return a file's text without the white space around it, or None if it can't be read."""
        content = self.raw(name)
        return None if content is None else content.decode("utf-8", "replace").strip()

    def names(self, name: str) -> tuple[str, ...]:
        """Return what a folder holds, sorted; nothing if it can't be read."""
        try:
            return tuple(sorted(entry.name for entry in self.path(name).iterdir())[:NAMES_MAX])
        except OSError:
            return ()

    def exists(self, name: str) -> bool:
        """Return whether something is there, as far as one may look."""
        return os.path.lexists(self.path(name))

    def link(self, name: str) -> str:
        """Return what a symbolic link says, or nothing."""
        try:
            return os.readlink(self.path(name))  # noqa: PTH115 - pathlib would take pid:[1] for a path
        except OSError:
            return ""

    def resolved(self, name: str) -> Path:
        """Return the folder that symbolic links lead to."""
        return Path(os.path.realpath(self.path(name)))

    def writable(self, name: str) -> bool:
        """Return whether this user may write there; nothing is tried."""
        return os.access(self.path(name), os.W_OK)

    def program(self, name: str) -> str | None:
        """Return the whole path of a program on PATH, or None."""
        return shutil.which(name, path=self.environ.get("PATH", ""))

    def programs(self, start: str) -> tuple[str, ...]:
        """Return the names of all programs on PATH that start so, sorted."""
        folders = [Path(folder) for folder in self.environ.get("PATH", "").split(os.pathsep) if folder]
        names: set[str] = set()
        for folder in folders:
            with suppress(OSError):
                names |= {entry.name for entry in folder.glob(f"{start}*") if os.access(entry, os.X_OK)}
        return tuple(sorted(names)[:NAMES_MAX])

    def said(self, *command: str) -> str | None:
        """Return what a program on PATH, or at a whole path, prints; None if it fails or takes too long."""
        program = self.program(command[0])
        if program is None:
            return None
        with tempfile.TemporaryFile() as out:
            # A file, not a pipe: what a killed program started may hold a pipe open for ever.
            try:
                process = subprocess.Popen(  # noqa: S603 - fixed commands, no shell
                    [program, *command[1:]],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.DEVNULL,
                    env={**self.environ, "LC_ALL": "C"},
                    start_new_session=True,
                )
            except OSError:
                return None
            try:
                code = process.wait(timeout=COMMAND_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                return None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)  # and whatever it started
                    process.wait()
            out.seek(0)
            return out.read(COMMAND_TEXT_BYTES_MAX).decode("utf-8", "replace").strip() if code == 0 else None

    def opens(self, name: str) -> bool:
        """Return whether a device can be opened for reading and writing; it is closed at once."""
        with suppress(OSError):
            os.close(os.open(self.path(name), os.O_RDWR | os.O_CLOEXEC))
            return True
        return False

    def kvm_version(self) -> int | None:
        """Return the version that KVM answers with, or None where nothing answers."""
        with suppress(OSError), self.path("/dev/kvm").open("rb+", buffering=0) as device:
            return fcntl.ioctl(device, KVM_GET_API_VERSION)
        return None

    def free_bytes(self, folder: Path) -> int | None:
        """Return what is free on a folder's disk, or None if nobody knows."""
        with suppress(OSError):
            return shutil.disk_usage(folder).free
        return None

    @contextmanager
    def empty_group(self, parent: str) -> Iterator[str | None]:
        """Make an empty control group of our own and remove it again; None if that is refused.

        Nothing runs in it, so that whatever is written to it limits nobody.
        """
        name = f"{parent.rstrip('/')}/tidegate-doctor-{os.getpid()}"
        try:
            self.path(name).mkdir()
        except OSError:
            yield None
            return
        try:
            yield name
        finally:
            with suppress(OSError):
                self.path(name).rmdir()

    def takes(self, name: str, value: str) -> bool:
        """Return whether a limit of our own empty group takes a value."""
        try:
            with self.path(name).open("r+", encoding="ascii") as file:
                file.write(value)
        except OSError:
            return False
        return True
