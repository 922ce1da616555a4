"""A process that says everything wrong that can be said on one channel, as fast as it is let.

Garbage, lines without end, nested beyond reason, half requests, requests by the thousand; on more connections
than there may be, some of which never read an answer.
"""

from __future__ import annotations

import json
import random
import selectors
import socket
import sys
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS: Final = 12
"""More than one VM may have."""
DEAF: Final = 3
"""Of them, those that never read."""
PIECE_BYTES: Final = 16_384
WAIT_SECONDS: Final = 0.2
KINDS: Final = ("cpu", "memory", "gpu", "", "cpu\u0000")


def pieces(seed: int) -> Iterator[bytes]:
    """Yield what is sent, for ever."""
    chance = random.Random(seed)  # noqa: S311 - noise, not secrets
    while True:
        match chance.randrange(7):
            case 0:
                yield chance.randbytes(chance.randrange(PIECE_BYTES))
            case 1:
                yield b"x" * PIECE_BYTES
            case 2:
                yield b"[" * chance.randrange(4000) + b"\n"
            case 3:
                yield b"\n" * PIECE_BYTES
            case 4:
                yield b"".join(_request(chance) for _ in range(50))
            case 5:
                yield _request(chance)[: chance.randrange(40)]
            case _:
                yield b'{"v":1,"id":"' + b"\xf0\x9f\x98\x80" * chance.randrange(900) + b'"}\n'


def _request(chance: random.Random) -> bytes:
    fields = {
        "v": chance.choice([1, 1, 1, 2, "1"]),
        "id": str(chance.randrange(10**6)),
        "do": chance.choice(["claim", "claim", "renew", "release", "list", "watch", "dance"]),
        "kind": chance.choice(KINDS),
        "wanted": chance.choice([0.01, 1, 1e9, -1, "1", 1e308]),
        "lease": f"lease-{chance.randrange(100)}",
        "seconds": 300,
    }
    wanted = {"claim": ("kind", "wanted"), "renew": ("lease",), "release": ("lease",), "watch": ("seconds",)}
    keep = ("v", "id", "do", *wanted.get(str(fields["do"]), ()))
    return json.dumps({name: fields[name] for name in keep}).encode() + b"\n"


def flood(path: str, seconds: float, seed: int) -> int:
    """Flood a channel for so many seconds; returns the bytes that were taken."""
    noise, sent, until = pieces(seed), 0, perf_counter() + seconds
    with selectors.DefaultSelector() as ready:
        opened = [_opened(path, ready, reads=at >= DEAF) for at in range(CONNECTIONS)]
        while perf_counter() < until:
            for key, events in ready.select(WAIT_SECONDS):
                connection = key.fileobj
                assert isinstance(connection, socket.socket), "nothing else is waited for"
                try:
                    if events & selectors.EVENT_READ and not connection.recv(PIECE_BYTES):
                        raise ConnectionError
                    if events & selectors.EVENT_WRITE:
                        sent += connection.send(next(noise))
                except BlockingIOError:
                    pass
                except OSError:
                    ready.unregister(connection)
                    connection.close()
                    opened.append(_opened(path, ready, reads=True))
        for connection in opened:
            connection.close()
    return sent


def _opened(path: str, ready: selectors.BaseSelector, *, reads: bool) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    with suppress(OSError):
        connection.connect(path)
    connection.setblocking(False)  # noqa: FBT003 - its own signature
    ready.register(connection, selectors.EVENT_WRITE | (selectors.EVENT_READ if reads else 0))
    return connection


if __name__ == "__main__":
    sys.stdout.write(f"{flood(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))}\n")
