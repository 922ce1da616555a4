"""What stands on this machine because of a pair of hypervisors: to see what a cycle left behind."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tidegate.lab.bench.guests.pair import Pair

NUMBER: Final = re.compile(r"-\d+-")
"""libvirt numbers what it starts; a guest that came back is the next one."""
QUIET: Final = (".log", ".console", ".pid", ".xml", ".new", ".lock")
"""What libvirt keeps in a folder at all times, and what is appended to."""


def standing(pair: Pair, name: str, tap: str) -> frozenset[str]:
    """Return all there is of a guest and of moves: processes, sockets, taps and what is on them, groups."""
    found = {f"process of {one}" for one in _processes(pair)}
    found |= {f"tap {one}" for one in Path("/sys/class/net").iterdir() if one.name.startswith(tap)}
    found |= {f"class on {one}" for one in _classes(tap)}
    found |= {f"group {NUMBER.sub('-N-', str(one))}" for one in _groups(name)}
    for host in (pair.first, pair.second):
        found |= {f"socket {NUMBER.sub('-N-', str(one))}" for one in _sockets(host.folder)}
        found |= {f"domain {one.name()} at {host.folder}" for one in host.connection.listAllDomains()}
    found |= {f"note {one}" for one in (pair.first.folder / "moves").glob("*.json")}
    return frozenset(found)


def _processes(pair: Pair) -> list[str]:
    """Return the emulators that have a file of either host, each as often as it is there."""
    found: list[Path] = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if "qemu-system" in words.partition("\0")[0]:
            found += [host.folder for host in (pair.first, pair.second) if str(host.folder) in words]
    return [f"{folder}, {found.count(folder)} of them" for folder in set(found)]


def _classes(tap: str) -> list[str]:
    """Return queueing that somebody put on a tap: all but what a kernel has by itself."""
    said = subprocess.run(["tc", "qdisc", "show"], capture_output=True, check=False, text=True).stdout  # noqa: S607
    ours = [line for line in said.splitlines() if f" dev {tap}" in line]
    return [line for line in ours if any(f"qdisc {kind} " in line for kind in ("tbf", "htb", "ingress"))]


def _groups(name: str) -> list[Path]:
    top = Path("/sys/fs/cgroup")
    found = [*top.glob("machine/*"), *top.glob("*/machine/*")]
    return [one for one in found if f"-{name}" in one.name]


def _sockets(folder: Path) -> list[Path]:
    return [one for one in folder.rglob("*") if one.is_socket() and one.suffix not in QUIET]
