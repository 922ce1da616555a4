"""A network namespace for each card, on one bridge; made by a context manager and removed by it."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SECONDS_MAX: Final = 10.0
"""How long one command of the network may take."""
MINE: Final = os.getpid() % 10_000
"""In every name, so that two runs at once do not meet; names of interfaces have 15 letters."""
FIRST_HOST: Final = 2
"""The bridge is host 1."""


@contextmanager
def namespaces(letters: Sequence[str]) -> Iterator[Mapping[str, tuple[str, str]]]:
    """Have a namespace for each letter; yields its name and its address, by letter.

    Raises:
        InputError: this process may not make any.

    """
    require_root()
    network = f"10.{200 + MINE % 50}.{MINE // 50}"
    bridge = f"tgb{MINE}"
    made = {
        letter: (f"tgb{MINE}{letter}", f"{network}.{at}") for at, letter in enumerate(letters, FIRST_HOST)
    }
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", f"{network}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for name, address in made.values():
            _ip("netns", "add", name)
            _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", name, "master", bridge)
            _ip("link", "set", name, "up")
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield made
    finally:
        for name, _ in made.values():
            _ip("link", "del", name, fails=True)
            _ip("netns", "del", name, fails=True)
        _ip("link", "del", bridge, fails=True)


def require_root() -> None:
    """Refuse where real cards can't be had.

    Raises:
        InputError: this process is not root, or this machine has no `ip`.

    """
    if os.geteuid() != 0:
        raise InputError("real cards need cgroups and network namespaces; run this as root")
    if shutil.which("ip") is None:
        raise InputError("real cards need the program 'ip'; install iproute2")


def _ip(*words: str, fails: bool = False) -> None:
    """Run `ip`; where it may fail, whatever it says is left out."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=SECONDS_MAX, check=False)  # noqa: S603, S607
    if done.returncode and not fails:
        raise InputError(
            f"'ip {' '.join(words)}' failed ({done.stderr.strip()}); is this machine a container?"
        )


__all__ = ["namespaces", "require_root"]
