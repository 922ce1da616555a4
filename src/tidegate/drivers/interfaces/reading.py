"""Reads interface counters of a network namespace from /proc, which is that of the reading thread.

/sys/class/net would not do: it shows the namespace of whoever mounted it.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import psutil

from tidegate.drivers.interfaces.ethtool import bytes_per_second_max, is_up
from tidegate.drivers.namespaces.inside import Inside
from tidegate.model.errors import TidegateError
from tidegate.model.links import InterfaceCounters

if TYPE_CHECKING:
    from types import TracebackType

COUNTERS: Final = Path("/proc/thread-self/net/dev")
INTERFACES_MAX: Final = 4096
SENT_COLUMN: Final = 8
"""Of /proc/net/dev, after the name: eight columns of what was received, then bytes sent."""


class InterfaceReader:
    """Interfaces of this machine, or of one of its network namespaces."""

    def __init__(self, namespace: str | None = None) -> None:
        """Read those of a namespace.

        Raises:
            InputError: there is none of that name.
            TidegateError: this process may not enter it.

        """
        self._inside = Inside(namespace)

    def close(self) -> None:
        """Read no more."""
        self._inside.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self) -> InterfaceCounters:
        """Return all counters as they are now; an interface that was made anew counts anew.

        Raises:
            TidegateError: this system has no /proc/net/dev.

        """
        return self._inside.do(_read)

    def owning(self, host: str) -> str | None:
        """Return the interface that has an address, such as the one a link's probes leave from."""
        return self._inside.do(lambda: _owning(host))


def _read() -> InterfaceCounters:
    try:
        text = COUNTERS.read_text("ascii", "replace")
    except OSError as error:
        raise TidegateError(f"interface counters can't be read: {error}; they need Linux") from error
    counted = counters_of(text)
    now = time.monotonic()
    return InterfaceCounters(
        time_seconds=now,
        names=tuple(counted),
        received_bytes=np.array([received for received, _ in counted.values()], dtype=np.uint64),
        sent_bytes=np.array([sent for _, sent in counted.values()], dtype=np.uint64),
        known=np.ones(len(counted), dtype=np.bool_),
        bits=np.full(len(counted), 64, dtype=np.uint8),
        since=np.array([_number(name) for name in counted], dtype=np.int64),
        is_up=np.array([is_up(name) for name in counted], dtype=np.bool_),
        bytes_per_second_max=np.array([bytes_per_second_max(name) for name in counted], dtype=np.float64),
    )


def counters_of(text: str) -> dict[str, tuple[int, int]]:
    """Return bytes received and sent by interface, from the text of /proc/net/dev; broken lines are none."""
    found: dict[str, tuple[int, int]] = {}
    for line in text.splitlines()[2 : 2 + INTERFACES_MAX]:
        name, _, rest = line.partition(":")
        columns = rest.split()
        if len(columns) > SENT_COLUMN and columns[0].isdecimal() and columns[SENT_COLUMN].isdecimal():
            found[name.strip()] = int(columns[0]), int(columns[SENT_COLUMN])
    return found


def _number(name: str) -> int:
    """Return the kernel's number of an interface: one that is made anew gets another; 0 if just gone."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def _owning(host: str) -> str | None:
    for name, addresses in psutil.net_if_addrs().items():
        # The kernel adds the interface's name to addresses that hold on one link only.
        if any(one.address.partition("%")[0] == host.partition("%")[0] for one in addresses):
            return name
    return None
