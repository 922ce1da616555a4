"""The cgroups of a card: one below the card's for each application, in every tree there is."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tidegate.drivers.cgroups.kernel_files import read_text, write_text
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.drivers.cgroups.hierarchy import Hierarchy, Mount

KILL_SECONDS_MAX: Final = 10.0
"""How long a killed program may take to be gone; what waits for a dead disk can take for ever."""
FREEZE_SECONDS_MAX: Final = 0.5
"""How long to wait until everyone stands still; killing goes on without."""
STEP_SECONDS: Final = 0.005
CONTROLLERS: Final = ("cpu", "memory", "io", "pids")
"""What version 2 has to hand down to a card and its applications."""
OUTSIDE: Final = 0
"""How a version 1 tree names a process of another process namespace: nobody to be killed."""


class Groups:
    """The cgroups of one card's applications."""

    def __init__(self, hierarchy: Hierarchy, card: str) -> None:
        """Keep them below ``tidegate-card-NAME`` in each tree.

        Raises:
            InputError: this machine has no cgroups for CPU.

        """
        self.hierarchy = hierarchy
        self._parent = f"tidegate-card-{card}"
        if hierarchy.cpu is None:
            raise InputError("this machine has no cgroups for CPU; a card needs them to limit applications")
        self._first = hierarchy.cpu
        mounts = (
            hierarchy.cpu, hierarchy.usage, hierarchy.memory, hierarchy.disk, hierarchy.pids,
            hierarchy.freezer, hierarchy.pressure,
        )  # fmt: skip
        self._mounts = tuple(dict.fromkeys(mount for mount in mounts if mount is not None))

    def path(self, name: str) -> str:
        """Return an application's cgroup, below every mount."""
        return f"{self._parent}/{name}"

    def members_files(self, name: str) -> list[str]:
        """Return where a process writes itself to be in all of an application's cgroups."""
        return [f"{mount.of(self.path(name))}/cgroup.procs" for mount in self._mounts]

    def names(self) -> list[str]:
        """Return the applications that have a cgroup, with or without processes."""
        try:
            with os.scandir(self._first.of(self._parent)) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []

    def everywhere(self) -> set[str]:
        """Return the applications that have a cgroup in any tree: of a half made or removed one too."""
        found: set[str] = set()
        for mount in self._mounts:
            with contextlib.suppress(OSError), os.scandir(mount.of(self._parent)) as entries:
                found |= {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
        return found

    def members(self, name: str) -> list[int]:
        """Return the processes of an application; empty where it is gone."""
        text = read_text(f"{self._first.of(self.path(name))}/cgroup.procs") or ""
        return [pid for pid in map(int, text.split()) if pid != OUTSIDE]

    def make(self, name: str) -> None:
        """Make an application's cgroups, and those of the card above them.

        Raises:
            InputError: this process may not.

        """
        for mount in self._mounts:
            try:
                self._make_below(mount, name)
            except OSError as error:
                with contextlib.suppress(TidegateError):
                    self.remove(name)
                raise InputError(
                    f"cgroup {mount.of(self.path(name))} can't be made ({error.strerror}); use root"
                ) from error

    def _make_below(self, mount: Mount, name: str) -> None:
        Path(mount.of(self._parent)).mkdir(exist_ok=True)
        if mount.version == 2:
            for upper in ("", self._parent):
                offered = (read_text(f"{mount.of(upper)}/cgroup.controllers") or "").split()
                for controller in CONTROLLERS:
                    if controller in offered:
                        write_text(f"{mount.of(upper)}/cgroup.subtree_control", f"+{controller}")
        Path(mount.of(self.path(name))).mkdir(exist_ok=True)

    def close(self) -> None:
        """Remove the card's own cgroups, where no application is left in them."""
        for mount in self._mounts:
            with contextlib.suppress(OSError):
                Path(mount.of(self._parent)).rmdir()

    def kill(self, name: str) -> None:
        """End all processes of an application, also those that appear meanwhile.

        Raises:
            TidegateError: some are still there after `KILL_SECONDS_MAX`.

        """
        deadline = time.monotonic() + KILL_SECONDS_MAX
        while self.members(name):
            if not self._kill_at_once(name):
                self._freeze(name)
                for pid in self.members(name):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self._set_frozen(name, frozen=False)
            if time.monotonic() > deadline:
                left = ", ".join(map(str, self.members(name)))
                raise TidegateError(
                    f"processes {left} of application {name} were killed, and after {KILL_SECONDS_MAX:g} s "
                    "did not end: they wait for a device that does not answer"
                )
            time.sleep(STEP_SECONDS)

    def _kill_at_once(self, name: str) -> bool:
        """Have the kernel kill them all, where it can (version 2, Linux 5.14)."""
        tree = self.hierarchy.pressure
        if tree is None:
            return False
        try:
            write_text(f"{tree.of(self.path(name))}/cgroup.kill", "1")
        except OSError:
            return False
        return True

    def _freeze(self, name: str) -> None:
        """Have everyone stand still, so that nobody makes children while being killed."""
        deadline = time.monotonic() + FREEZE_SECONDS_MAX
        self._set_frozen(name, frozen=True)
        while time.monotonic() < deadline and not self._is_frozen(name):
            time.sleep(STEP_SECONDS)

    def _set_frozen(self, name: str, *, frozen: bool) -> None:
        file, words = self._freezer(name)
        with contextlib.suppress(OSError):
            write_text(file, words[frozen])

    def _is_frozen(self, name: str) -> bool:
        file, _ = self._freezer(name)
        if file.endswith("freezer.state"):
            return (read_text(file) or "FROZEN").strip() == "FROZEN"
        events = read_text(f"{file.rpartition('/')[0]}/cgroup.events")
        return events is None or "frozen 1" in events

    def _freezer(self, name: str) -> tuple[str, tuple[str, str]]:
        """Return the file that freezes, and what to write for no and yes."""
        freezer = self.hierarchy.freezer
        if freezer is not None:
            return f"{freezer.of(self.path(name))}/freezer.state", ("THAWED", "FROZEN")
        tree = self.hierarchy.pressure or self._first
        return f"{tree.of(self.path(name))}/cgroup.freeze", ("0", "1")

    def remove(self, name: str) -> None:
        """Remove an application's cgroups, which nobody is in any more.

        Raises:
            TidegateError: somebody still is.

        """
        deadline = time.monotonic() + KILL_SECONDS_MAX
        left: Sequence[Mount] = self._mounts
        while left := [mount for mount in left if not _removed(mount.of(self.path(name)))]:
            if time.monotonic() > deadline:
                raise TidegateError(
                    f"cgroup {left[0].of(self.path(name))} is still in use; end its processes, then remove it"
                )
            time.sleep(STEP_SECONDS)


def _removed(folder: str) -> bool:
    """Remove a cgroup, and those that programs made below it; what is dying holds it a moment longer."""
    try:
        for below, _, _ in os.walk(folder, topdown=False):
            os.rmdir(below)  # noqa: PTH106 - walk gives text
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
