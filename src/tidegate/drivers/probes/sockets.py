"""UDP sockets that say when the kernel received a packet, and at which of this machine's addresses.

The kernel's stamp is of the moment the packet arrived: a program that is kept waiting for a core measures
links all the same. Elsewhere than on Linux it is the moment of reading.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from tidegate.drivers.namespaces.inside import Inside
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ON_LINUX: Final = sys.platform == "linux"
SO_TIMESTAMPNS: Final = 35
"""Of Linux's asm-generic/socket.h: the stamp is a timespec on the wall clock."""
IP_PKTINFO: Final = 8
IPV6_RECVPKTINFO: Final = 49
IPV6_PKTINFO: Final = 50
TIMESPEC: Final = struct.Struct("@ll")
STAMP_AGE_NANOSECONDS_MAX: Final = 10_000_000_000
"""A stamp that seems older, or from the future, tells that the wall clock was set meanwhile."""
READ_MAX: Final = 256
"""Packets read at once: others want their turn too."""
RECEIVE_BYTES: Final = 1 << 18
"""Asked for as the socket's buffer: some hundred packets while this program waits for a core."""
HEADER_BYTES: Final = {socket.AF_INET: 28, socket.AF_INET6: 48}
"""Of IP and UDP."""


class Received(NamedTuple):
    """A packet, whose it is, and when it came."""

    data: bytes
    address: tuple[object, ...]
    arrived_nanoseconds: int
    """On the clock of `time.monotonic_ns`."""
    answer_from: list[tuple[int, int, bytes]]
    """What `sendmsg` wants to be told to answer from where it was asked."""


def host_and_port(address: str) -> tuple[str, int]:
    """Return the two parts of ``host:port`` or ``[host]:port``.

    Raises:
        InputError: it is neither.

    """
    host, colon, port = address.rpartition(":")
    inner = host.removeprefix("[").removesuffix("]")
    bare = ":" in inner and not host.startswith("[")
    if not colon or not inner or bare or not port.isdecimal() or int(port) > 65535:
        raise InputError(f"'{address}' is no address of probes; write host:port, or [host]:port for IPv6")
    return inner, int(port)


def asking_socket(address: str, namespace: str | None) -> socket.socket:
    """Return a socket of a namespace that sends to an address and hears nobody else.

    Raises:
        InputError: the address or the namespace is none.
        TidegateError: the name is unknown there, or no way leads to it.

    """
    host, port = host_and_port(address)

    def connected() -> socket.socket:
        family, kind, protocol, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        return _opened(family, kind, protocol, lambda made: made.connect(found))

    with Inside(namespace) as inside:
        try:
            return inside.do(connected)
        except OSError as error:
            raise TidegateError(f"probes can't be sent to {address}: {error}") from error


def answering_socket(address: str, namespace: str | None) -> socket.socket:
    """Return a socket that listens at an address of a namespace; port 0 is any that is free.

    Raises:
        InputError: the address or the namespace is none; a name is none either.
        TidegateError: the address is taken, or not this machine's.

    """
    host, port = host_and_port(address)
    try:
        version = ipaddress.ip_address(host).version
    except ValueError as error:
        raise InputError(f"probes are answered at a number, such as 0.0.0.0, and not at '{host}'") from error
    family = socket.AF_INET if version == 4 else socket.AF_INET6

    def bound() -> socket.socket:
        return _opened(family, socket.SOCK_DGRAM, 0, lambda made: made.bind((host, port)))

    with Inside(namespace) as inside:
        try:
            return inside.do(bound)
        except OSError as error:
            raise TidegateError(f"probes can't be answered at {address}: {error.strerror}") from error


def received(source: socket.socket) -> Iterator[Received]:
    """Return what has arrived, a bounded number of packets."""
    for _ in range(READ_MAX):
        try:
            data, told, _, address = source.recvmsg(2048, 256)
        except BlockingIOError:
            return
        except OSError:
            continue  # an earlier packet found nobody: this one may be an answer
        yield Received(data, address, *_told(told))


def _opened(family: int, kind: int, protocol: int, place: Callable[[socket.socket], None]) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        made.setblocking(False)  # noqa: FBT003 - the standard library's
        with contextlib.suppress(OSError):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        if ON_LINUX:
            made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            if family == socket.AF_INET:
                made.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            else:
                made.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
        place(made)
    except OSError:
        made.close()
        raise
    return made


def _told(told: list[tuple[int, int, bytes]]) -> tuple[int, list[tuple[int, int, bytes]]]:
    """Return when a packet arrived and from where to answer it, by what the kernel tells beside it."""
    arrived = time.monotonic_ns()
    answer_from: list[tuple[int, int, bytes]] = []
    for level, kind, data in told:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS) and len(data) >= TIMESPEC.size:
            seconds, nanoseconds = TIMESPEC.unpack_from(data)
            age = time.time_ns() - (seconds * 1_000_000_000 + nanoseconds)
            arrived -= age if 0 <= age <= STAMP_AGE_NANOSECONDS_MAX else 0
        elif (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            # From the address it was sent to, by whichever interface leads back.
            answer_from.append((level, kind, struct.pack("@i4s4s", 0, data[4:8], bytes(4))))
        elif (level, kind) == (socket.IPPROTO_IPV6, IPV6_PKTINFO):
            answer_from.append((level, kind, data))
    return arrived, answer_from
