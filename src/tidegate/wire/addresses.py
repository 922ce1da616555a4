"""Where a program listens: `unix:/path` or `tcp:host:port`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from tidegate.model.errors import InputError

UNIX_PATH_BYTES_MAX: Final = 107
"""Longest path of a Unix socket: `sun_path` has 108 bytes and ends with a NUL (unix(7))."""
FORM: Final = "give unix:/path or tcp:host:port, an IPv6 host in brackets"
HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A socket in the file system: who may open it may ask."""

    path: str

    def __str__(self) -> str:
        """Return it as people type it."""
        return f"unix:{self.path}"

    @property
    def target(self) -> str:
        """Return it as gRPC wants it."""
        return f"unix:{self.path}"

    @property
    def stays_here(self) -> bool:
        """Return whether what is said can't be heard by another machine."""
        return True


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host and a port; 0 is any free one, to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as people type it."""
        return f"tcp:{self._bracketed}:{self.port}"

    @property
    def target(self) -> str:
        """Return it as gRPC wants it; `localhost` is the loopback, whatever a resolver says."""
        host = "127.0.0.1" if self.host == "localhost" else self._bracketed
        return f"{host}:{self.port}"

    @property
    def stays_here(self) -> bool:
        """Return whether what is said can't be heard by another machine: only on the loopback."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


Address = UnixAddress | TcpAddress


def address_of(text: str) -> Address:
    """Return the address that a person typed.

    Raises:
        InputError: it is none.

    """
    kind, _, rest = text.partition(":")
    if kind == "unix":
        return _unix(text, rest)
    host, _, port = rest.rpartition(":")
    if kind != "tcp" or not port.isascii() or not port.isdecimal() or int(port[:6]) > 65_535:
        raise InputError(f"{text[:200]!r} is no address; {FORM}")
    if host.startswith("[") and host.endswith("]"):
        try:
            return TcpAddress(str(ipaddress.IPv6Address(host[1:-1])), int(port))
        except ValueError as error:
            raise InputError(f"{text[:200]!r} has no IPv6 address in its brackets; {FORM}") from error
    if HOST.fullmatch(host) is None:
        raise InputError(f"{text[:200]!r} has no host; {FORM}")
    return TcpAddress(host, int(port))


def _unix(text: str, path: str) -> UnixAddress:
    if not PurePosixPath(path).is_absolute() or "\0" in path or path.endswith("/"):
        raise InputError(
            f"{text[:200]!r} needs the whole path of a socket, as in unix:/run/tidegate/card.sock"
        )
    length = len(path.encode("utf-8", "surrogateescape"))
    if length > UNIX_PATH_BYTES_MAX:
        raise InputError(
            f"the path of {text[:200]!r} has {length} bytes; choose one of {UNIX_PATH_BYTES_MAX} at most"
        )
    return UnixAddress(path)
