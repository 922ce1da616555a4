"""What a move needs of a machine: room for the VM, and a kernel that hands page faults on."""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path
from typing import Final

from tidegate.model.refusals import Because, refusal

USERFAULTFD: Final = {"x86_64": 323, "aarch64": 282}
"""Number of the system call, by machine (asm/unistd.h)."""
SHARED_MAGIC: Final = frozenset(
    {0x6969, 0xFF534D42, 0xFE534D42, 0x65735546, 0x01161970, 0x7461636F, 0x00C36400, 0x0BD00BD0, 0x47504653}
)
"""File systems that several hosts see: NFS, CIFS, SMB2, FUSE, GFS2, OCFS2, Ceph, Lustre, GPFS (statfs(2))."""
RESERVE_RATIO: Final = 0.02
"""What an emulator takes beside the VM's memory."""
MAPPING: Final = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) ")


def require_room(name: str, needed_bytes: float, available_bytes: float | None = None) -> None:
    """Refuse where the target has no room for a VM's memory; without an amount this machine is asked.

    Raises:
        Refusal: it has not.

    """
    available = _available_bytes() if available_bytes is None else available_bytes
    whole = needed_bytes * (1 + RESERVE_RATIO)
    if whole > available:
        raise refusal(
            Because.NO_ROOM,
            f"VM {name} needs {whole / 1e6:,.0f} MB at the target, which has {available / 1e6:,.0f} MB free; "
            "free memory there, or move it elsewhere",
            limit=available,
        )


def require_userfault() -> None:
    """Refuse post-copy where this machine's kernel does not hand page faults to programs (userfaultfd).

    Raises:
        Refusal: it does not.

    """
    number = USERFAULTFD.get(os.uname().machine)
    if number is None:
        return
    found = ctypes.CDLL(None, use_errno=True).syscall(number, os.O_CLOEXEC | os.O_NONBLOCK)
    if found < 0:
        why = os.strerror(ctypes.get_errno())
        raise refusal(
            Because.UNSUPPORTED,
            f"post-copy is not to be had here: the kernel has no userfaultfd for us ({why}); "
            "set vm.unprivileged_userfaultfd=1 as root, or move without post-copy",
        )
    os.close(found)


def resident_bytes(pid: int, whole_bytes: int) -> float:
    """Return how much of a VM's memory was ever written; all, where that can't be seen.

    The smallest of its emulator's mappings that can hold the memory is the memory.
    """
    try:
        text = Path(f"/proc/{pid}/smaps").read_text(encoding="ascii", errors="replace")
    except OSError:
        return float(whole_bytes)
    found, smallest, is_memory = 0, float("inf"), False
    for line in text.splitlines():
        mapping = MAPPING.match(line)
        if mapping is not None:
            size = int(mapping[2], 16) - int(mapping[1], 16)
            is_memory = whole_bytes <= size < smallest
            smallest = size if is_memory else smallest
        elif is_memory and line.startswith("Rss:"):
            found = 1024 * int(line.split()[1])
    return float(found or whole_bytes)


def is_seen_by_others(path: Path) -> bool:
    """Whether a file lies where other hosts see it too, as far as its file system tells."""
    buffer = (ctypes.c_long * 32)()  # struct statfs begins with f_type; the rest is not looked at
    if ctypes.CDLL(None, use_errno=True).statfs(str(path).encode(), ctypes.byref(buffer)) != 0:
        return False
    return (buffer[0] & 0xFFFFFFFF) in SHARED_MAGIC


def _available_bytes() -> float:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return 1024.0 * int(line.split()[1])
    return float("inf")
