"""Limits the rate of a guest's tap with the kernel's traffic control.

libvirt's own way (setInterfaceParameters) wants the scheduler `sfq`, which not every kernel has, and leaves
half of it behind when it fails. A token bucket on the tap limits what the guest receives; a police, where
the kernel has one, what it sends.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Final

from tidegate.model.errors import TidegateError

HANDLE: Final = "7d6a:"
"""Of the token bucket: by it ours is told from anybody else's."""
SECONDS_MAX: Final = 5.0
LATENCY: Final = "50ms"
"""How long a packet may wait for its turn before it is dropped."""
BURST_SECONDS: Final = 0.02
BURST_BYTES_MIN: Final = 65536
"""The bucket must hold a packet of any size, as taps with offloads have 64 KiB, and a tick's worth."""
DEFAULTS: Final = frozenset({"noqueue", "pfifo_fast", "fq_codel", "fq", "mq", "pfifo", "bfifo"})
"""Schedulers a kernel puts there by itself."""


def read_tap(device: str) -> int | None:
    """Return the rate that we set, bytes a second; 0 without any, None where somebody else limits it."""
    found = _tc("-j", "qdisc", "show", "dev", device)
    if found is None:
        return None
    roots = [one for one in json.loads(found or "[]") if one.get("root")]
    ours = [one for one in roots if one.get("handle") == HANDLE]
    if ours:
        return int(ours[0].get("options", {}).get("rate", 0))
    return 0 if all(one.get("kind") in DEFAULTS for one in roots) else None


def write_tap(device: str, bytes_per_second: int) -> bool:
    """Limit both ways to a rate; 0 lifts it. Says whether what the guest sends is limited too.

    Raises:
        TidegateError: the kernel has not what it takes; nothing is limited then.

    """
    _tc("qdisc", "del", "dev", device, "ingress")
    if bytes_per_second <= 0:
        _tc("qdisc", "del", "dev", device, "root")
        return True
    rate = f"{8 * bytes_per_second}bit"
    burst = str(max(int(bytes_per_second * BURST_SECONDS), BURST_BYTES_MIN))
    bucket = ("tbf", "rate", rate, "burst", burst, "latency", LATENCY)
    if _tc("qdisc", "replace", "dev", device, "root", "handle", HANDLE, *bucket) is None:
        raise TidegateError(f"the tap {device} can't be limited: there is no tc, or no tbf in the kernel")
    return _police(device, rate, burst)


def _police(device: str, rate: str, burst: str) -> bool:
    """Limit what the guest sends, where the kernel has a police; says whether it has."""
    every = ("parent", "ffff:", "protocol", "all", "prio", "1", "u32", "match", "u32", "0", "0")
    police = ("action", "police", "rate", rate, "burst", burst, "conform-exceed", "drop")
    if _tc("qdisc", "add", "dev", device, "ingress") is None:
        return False
    if _tc("filter", "add", "dev", device, *every, *police) is not None:
        return True
    _tc("qdisc", "del", "dev", device, "ingress")
    return False


def is_policed(device: str) -> bool:
    """Whether what the guest sends is limited too."""
    return "police" in (_tc("filter", "show", "dev", device, "parent", "ffff:") or "")


def _tc(*words: str) -> str | None:
    """Return what tc said; None where it failed."""
    program = shutil.which("tc") or shutil.which("tc", path="/usr/sbin:/sbin")
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603
            [program, *words], capture_output=True, check=False, text=True, timeout=SECONDS_MAX
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None
