"""Load with a known shape, for benchmarks and tests of real machines: bursts of CPU, memory that leaks.

`LoadCgroup` makes a cgroup of its own, runs loads in it as processes and removes it again. A load enters its
cgroup before it starts, and ends by itself: nothing runs on when whoever started it is killed.

    python -m tidegate.lab.bench.load burn --seconds 60 --period 10 --burst 3 --cores 1.5 --idle 0.1
    python -m tidegate.lab.bench.load leak --seconds 60 --rate 10e6 --bound 500e6
"""

from __future__ import annotations

import argparse
import math
import mmap
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Final, Self

from tidegate.drivers.cgroups.hierarchy import find_hierarchy
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

SECONDS_MAX: Final = 3600.0
"""No load runs longer."""
SLICE_SECONDS: Final = 0.01
"""A load alternates between work and rest this often: ten times in a quota's period."""
OWED_SECONDS_MAX: Final = 0.2
"""Work put off when there was no CPU is made up for to this much; beyond that it is not wanted any more."""
STEP_SECONDS: Final = 0.05
"""How often a leak takes more."""
NAME_START: Final = "tidegate-"
"""Only cgroups named so are made and removed."""
REMOVE_SECONDS_MAX: Final = 10.0
"""How long to wait until the processes in a cgroup are gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bursts:
    """CPU wanted over time: bursts at the start of every period."""

    seconds: float
    period_seconds: float = 1.0
    burst_seconds: float = 1.0
    cores: float = 1.0
    """Wanted in bursts."""
    idle_cores: float = 0.0
    """Wanted between them."""

    def __post_init__(self) -> None:
        """Refuse what has no end or no sense.

        Raises:
            InputError: a number is out of range.

        """
        _require_bounded(self.seconds)
        cores = os.cpu_count() or 1
        if not 0 <= self.burst_seconds <= self.period_seconds or self.period_seconds <= 0:
            raise InputError("a burst must fit into its period; shorten the burst")
        if not 0 <= self.idle_cores <= self.cores <= cores:
            raise InputError(f"this machine has {cores} cores; want at most so many, and fewer when idle")

    def cores_at(self, seconds: float) -> float:
        """Return the cores wanted at a time since the start."""
        return self.cores if seconds % self.period_seconds < self.burst_seconds else self.idle_cores

    def arguments(self) -> list[str]:
        """Return what to start this module with."""
        return [
            "burn",
            f"--seconds={self.seconds}",
            f"--period={self.period_seconds}",
            f"--burst={self.burst_seconds}",
            f"--cores={self.cores}",
            f"--idle={self.idle_cores}",
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Memory taken at a rate up to a bound, and kept until the end."""

    seconds: float
    bytes_per_second: float
    bytes_max: float

    def __post_init__(self) -> None:
        """Refuse what has no end.

        Raises:
            InputError: a number is out of range.

        """
        _require_bounded(self.seconds)
        if not (self.bytes_per_second > 0 and 0 < self.bytes_max < math.inf):
            raise InputError("a leak needs a rate and a bound above zero")

    def arguments(self) -> list[str]:
        """Return what to start this module with."""
        return [
            "leak",
            f"--seconds={self.seconds}",
            f"--rate={self.bytes_per_second}",
            f"--bound={self.bytes_max}",
        ]


def enter(folders: Sequence[str]) -> None:
    """Move this process into cgroups, one of each controller.

    Raises:
        OSError: one is gone, or this process may not.

    """
    for folder in folders:
        (Path(folder) / "cgroup.procs").write_text(str(os.getpid()), "ascii")


def burn(bursts: Bursts) -> None:
    """Want CPU as the bursts say, with one process per core, until they are over."""
    start = perf_counter()
    processes = max(1, math.ceil(bursts.cores))
    children = []
    for _ in range(processes - 1):
        child = os.fork()
        if child == 0:
            _burn_one(bursts, processes, start)
            os._exit(0)
        children.append(child)
    _burn_one(bursts, processes, start)
    for child in children:
        os.waitpid(child, 0)


def leak(plan: Leak) -> None:
    """Take memory as planned and touch every page of it, until the time is over."""
    start = perf_counter()
    rest = threading.Event()
    taken: list[mmap.mmap] = []
    held = 0
    while (passed := perf_counter() - start) < plan.seconds:
        due = int(min(passed * plan.bytes_per_second, plan.bytes_max)) - held
        if due >= mmap.PAGESIZE:
            block = mmap.mmap(-1, due)
            for page in range(0, due, mmap.PAGESIZE):
                block[page] = 1
            taken.append(block)
            held += due
        rest.wait(STEP_SECONDS)


class LoadCgroup:
    """A cgroup made for loads, under CPU and memory, and removed with them."""

    def __init__(self, name: str, *, root: Path = Path("/")) -> None:
        """Make it.

        Raises:
            InputError: the name is not one of ours or taken, or there are no cgroups to make it in.

        """
        if not name.startswith(NAME_START) or "/" in name:
            raise InputError(f"cgroup '{name}': name it '{NAME_START}...', so that no other is touched")
        self.path = name
        self._loads: list[subprocess.Popen[bytes]] = []
        self.folders: tuple[str, ...] = ()
        hierarchy = find_hierarchy(root)
        mounts = [mount for mount in (hierarchy.usage, hierarchy.cpu, hierarchy.memory) if mount is not None]
        folders = tuple(dict.fromkeys(mount.of(name) for mount in mounts))
        if not folders or hierarchy.cpu is None:
            raise InputError("this machine has no cgroups for CPU; run loads without one")
        _require_enabled([mount.folder for mount in mounts if mount.version == 2])
        for folder in folders:
            try:
                Path(folder).mkdir()
            except OSError as error:
                self.remove()
                raise InputError(f"cgroup {folder} can't be made ({error.strerror}); use root") from error
            self.folders += (folder,)

    def start(self, load: Bursts | Leak) -> subprocess.Popen[bytes]:
        """Start a load in it, in a session of its own."""
        command = [sys.executable, "-m", "tidegate.lab.bench.load", *load.arguments()]
        command += [f"--cgroup={folder}" for folder in self.folders]
        process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)  # noqa: S603
        self._loads.append(process)
        return process

    def stop(self) -> None:
        """End every load started here, and what it started."""
        for process in self._loads:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(REMOVE_SECONDS_MAX)
        self._loads.clear()

    def remove(self) -> None:
        """End its loads and remove it.

        Raises:
            TidegateError: others are in it, and stay; they are not ours to end.

        """
        self.stop()
        rest, deadline = threading.Event(), perf_counter() + REMOVE_SECONDS_MAX
        left = list(self.folders)
        while left:
            try:
                Path(left[0]).rmdir()
            except FileNotFoundError:
                pass
            except OSError as error:
                if perf_counter() > deadline:
                    raise TidegateError(
                        f"cgroup {left[0]} is still in use; end its processes, then remove it"
                    ) from error
                rest.wait(STEP_SECONDS)
                continue
            left.pop(0)
        self.folders = ()

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove it."""
        self.remove()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one load in this process."""
    parser = argparse.ArgumentParser(prog="python -m tidegate.lab.bench.load", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    burning = kinds.add_parser("burn")
    leaking = kinds.add_parser("leak")
    for kind in (burning, leaking):
        kind.add_argument("--seconds", type=float, required=True)
        kind.add_argument("--cgroup", action="append", default=[], help="folder to enter first; may repeat")
    burning.add_argument("--period", type=float, default=1.0, help="seconds")
    burning.add_argument("--burst", type=float, default=1.0, help="seconds of each period")
    burning.add_argument("--cores", type=float, default=1.0, help="wanted in bursts")
    burning.add_argument("--idle", type=float, default=0.0, help="cores wanted between bursts")
    leaking.add_argument("--rate", type=float, required=True, help="bytes a second")
    leaking.add_argument("--bound", type=float, required=True, help="bytes")
    given = parser.parse_args(arguments)
    enter(given.cgroup)
    if given.kind == "leak":
        leak(Leak(seconds=given.seconds, bytes_per_second=given.rate, bytes_max=given.bound))
    else:
        burn(
            Bursts(
                seconds=given.seconds,
                period_seconds=given.period,
                burst_seconds=given.burst,
                cores=given.cores,
                idle_cores=given.idle,
            )
        )


def _burn_one(bursts: Bursts, processes: int, start: float) -> None:
    """Use this process's part of what is wanted; what it could not get is put off, but not for long."""
    rest = threading.Event()
    at, owed, used = 0.0, 0.0, process_time()
    while at < bursts.seconds:
        while owed > process_time() - used and perf_counter() - start < bursts.seconds:
            pass
        owed, used = owed - (process_time() - used), process_time()
        rest.wait(SLICE_SECONDS * (1 - bursts.cores_at(at) / processes))
        now = perf_counter() - start
        owed = min(owed + bursts.cores_at(at) / processes * (now - at), OWED_SECONDS_MAX)
        at = now


def _require_bounded(seconds: float) -> None:
    if not 0 < seconds <= SECONDS_MAX:
        raise InputError(f"a load of {seconds:g} s; give it at most {SECONDS_MAX:g}")


def _require_enabled(folders: Sequence[str]) -> None:
    """Version 2 gives a new cgroup only the controllers that are switched on at the top."""
    for folder in folders:
        enabled = (Path(folder) / "cgroup.subtree_control").read_text("ascii").split()
        if not {"cpu", "memory"} <= set(enabled):
            raise InputError(
                f"{folder}/cgroup.subtree_control lacks cpu or memory; write '+cpu +memory' into it first"
            )


if __name__ == "__main__":
    main()
