"""State, driver and speed of an interface, by the kernel's own calls: they see the namespace of the thread.

Libraries look such things up below /proc/net and /sys/class/net, which are those of the process.
"""

from __future__ import annotations

import array
import math
import socket
import struct
import sys
from typing import Final

SIOCGIFFLAGS: Final = 0x8913
SIOCETHTOOL: Final = 0x8946
"""Both of linux/sockios.h."""
ETHTOOL_GSET: Final = 0x00000001
SETTINGS_BYTES: Final = 44
"""struct ethtool_cmd of linux/ethtool.h: megabits a second in two halves, at 12 and at 28."""
ETHTOOL_GDRVINFO: Final = 0x00000003
DRIVER_INFO_BYTES: Final = 196
"""struct ethtool_drvinfo: the driver's name is at 4, 32 bytes long."""
IFF_UP_AND_RUNNING: Final = 0x41
"""Switched on, and with a carrier."""
MEGABIT_BYTES: Final = 125_000
SPEEDS_UNKNOWN: Final = frozenset({0, 0xFFFF, 0xFFFFFFFF})
SOFTWARE: Final = frozenset({"bridge", "dummy", "macvlan", "tun", "veth", "vxlan"})
"""Kernel drivers of interfaces without a wire: tun says 10 Mbit/s and veth 10 Gbit/s, whatever they carry."""


def is_up(interface: str) -> bool:
    """Return whether an interface of this thread's namespace is on and has a carrier."""
    answer = _called(SIOCGIFFLAGS, struct.pack("@16s24x", interface.encode()[:15]))
    return bool(answer) and struct.unpack_from("@H", answer, 16)[0] & IFF_UP_AND_RUNNING == IFF_UP_AND_RUNNING


def bytes_per_second_max(interface: str) -> float:
    """Return an interface's speed; NaN where none is told, and where those without a wire tell one."""
    settings = _asked(interface, ETHTOOL_GSET, SETTINGS_BYTES)
    if not settings or driver_of(interface) in SOFTWARE:
        return math.nan
    low, high = struct.unpack_from("=H", settings, 12)[0], struct.unpack_from("=H", settings, 28)[0]
    megabits = high << 16 | low
    return math.nan if megabits in SPEEDS_UNKNOWN else float(megabits * MEGABIT_BYTES)


def driver_of(interface: str) -> str:
    """Return the driver of an interface in the namespace of this thread; empty where nobody tells."""
    told = _asked(interface, ETHTOOL_GDRVINFO, DRIVER_INFO_BYTES)
    return told[4:36].partition(b"\0")[0].decode("ascii", "replace")


def _asked(interface: str, question: int, length: int) -> bytes:
    """Return what the driver answers, as ethtool(8) would ask; empty where it does not."""
    found = array.array("B", struct.pack("=I", question).ljust(length, b"\0"))
    request = struct.pack("@16sP16x", interface.encode()[:15], found.buffer_info()[0])
    return found.tobytes() if _called(SIOCETHTOOL, request) else b""


def _called(number: int, request: bytes) -> bytes:
    """Return a request (struct ifreq, 40 bytes) as the kernel filled it; empty where it refused."""
    if sys.platform != "linux":
        return b""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            return fcntl.ioctl(asked, number, request)
        except OSError:
            return b""
