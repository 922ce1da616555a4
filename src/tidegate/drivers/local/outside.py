"""What is read of the machine by other ways than files of cgroups; tests put their own in its place."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.drivers.local.gpu import Gpus, find_gpus
from tidegate.drivers.local.machine import Machine, read_machine
from tidegate.drivers.local.processes import Process, read_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Each takes the top of the file system where it needs it."""

    root: Path = Path("/")
    """The top of the file system, or of a tree that stands for one."""
    machine: Callable[[Path], Machine] = read_machine
    processes: Callable[[Path], Sequence[Process]] = read_processes
    gpus: Callable[[], Gpus | None] = find_gpus
    monotonic_seconds: Callable[[], float] = time.monotonic
    hostname: Callable[[], str] = socket.gethostname
