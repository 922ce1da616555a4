"""Carries packets between two TUN devices as a link of a given shape would; a process of its own.

Run by `links`, with nothing of Tidegate imported, so that whoever measures the link does not wait for it, nor
it for them:

    python -I -S link_relay.py DESCRIPTOR DESCRIPTOR SEED

Each line it reads is a shape for each way, as JSON, which it answers with what it has carried so far. It ends
when nobody writes any more. `select` wakes with the precision that a link of 0.1 ms needs; epoll, which
asyncio would use, rounds up to a millisecond.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import selectors
import sys
from typing import Any

PACKET_BYTES_MAX = 65_536
READ_MAX = 64
"""Packets taken at once from one end before the other has its turn."""
WAITING_MAX = 20_000
"""Packets under way in one direction; more are dropped, as by a switch without memory left."""


class Way:
    """One direction of a link."""

    def __init__(self, loop: asyncio.AbstractEventLoop, source: int, target: int, seed: int) -> None:
        """Carry from one descriptor to another."""
        self._loop, self._source, self._target = loop, source, target
        self._chance = random.Random(seed)  # noqa: S311 - draws what a link loses
        self._free_at = self._last_at = 0.0
        self._waiting = 0
        self.shape = {"delay_seconds": 0.0, "jitter_seconds": 0.0, "loss_ratio": 0.0, "queue_seconds": 0.1}
        self.carried = {"packets": 0, "bytes": 0, "lost": 0, "dropped": 0}

    def read(self) -> None:
        """Take in what has come."""
        for _ in range(READ_MAX):
            try:
                packet = os.read(self._source, PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError:  # the device is down
                return
            self._take(packet)

    def _take(self, packet: bytes) -> None:
        now, shape = self._loop.time(), self.shape
        if self._chance.random() < shape["loss_ratio"]:
            self.carried["lost"] += 1
            return
        rate = shape.get("bytes_per_second")
        free_at = max(self._free_at, now)
        if self._waiting >= WAITING_MAX or (rate and free_at - now > shape["queue_seconds"]):
            self.carried["dropped"] += 1
            return
        self._free_at = free_at + (len(packet) / rate if rate else 0.0)
        arrives = self._free_at + shape["delay_seconds"] + self._chance.uniform(0, shape["jitter_seconds"])
        # A queue keeps the order: who comes after a late one is late as well.
        self._last_at = max(self._last_at, arrives)
        self._waiting += 1
        self._loop.call_at(self._last_at, self._give, packet)

    def _give(self, packet: bytes) -> None:
        self._waiting -= 1
        self.carried["packets"] += 1
        self.carried["bytes"] += len(packet)
        with contextlib.suppress(OSError):  # the device is down, or has no room
            os.write(self._target, packet)


def main(one: int, other: int, seed: int) -> None:
    """Carry both ways until standard input ends, before whatever else runs here, as a link would."""
    with contextlib.suppress(OSError):
        os.nice(-20)
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    ways = Way(loop, one, other, seed), Way(loop, other, one, seed + 1)
    loop.add_reader(one, ways[0].read)
    loop.add_reader(other, ways[1].read)
    rest = b""

    def order() -> None:
        nonlocal rest
        data = os.read(0, PACKET_BYTES_MAX)
        if not data:
            loop.stop()
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            shapes: list[dict[str, Any]] = json.loads(line)
            for way, shape in zip(ways, shapes, strict=True):
                way.shape = way.shape | shape
            os.write(1, json.dumps([way.carried for way in ways]).encode() + b"\n")

    loop.add_reader(0, order)
    try:
        loop.run_forever()
    finally:
        loop.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
