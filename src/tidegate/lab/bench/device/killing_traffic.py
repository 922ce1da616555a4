"""A client of each application that writes all the time, and knows what was acknowledged."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator

EVERY_SECONDS: Final = 0.1
ANSWER_SECONDS: Final = 1.0
"""Who does not answer by then waits on standby, or is not there."""
LATEST: Final = 100
"""Keys that are looked at each time, the last written; of those before some, drawn anew each time."""
OLDER: Final = 20


@dataclass(slots=True, kw_only=True)
class Client:
    """One client of one application, which may be on any card."""

    application: str
    hosts: Sequence[str]
    port: int
    acknowledged: list[str] = field(default_factory=list)
    """Keys of which it was said that they are written; each was written once, its value is its name."""
    writes: bool = False
    redirects: int = 0
    _at: int = 0
    _number: int = 0
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def forget(self) -> None:
        """Expect nothing that was written until now, and write no more: it may be ended."""
        self.writes = False
        self.acknowledged = []

    async def run(self) -> None:
        """Write until cancelled."""
        try:
            while True:
                await asyncio.sleep(EVERY_SECONDS)
                if self.writes:
                    await self._write()
        finally:
            self._hang_up()

    async def _write(self) -> None:
        self._number += 1
        key = f"{self.application}-{self._number}"
        # A key is written once: what an earlier request still does on its way can't spoil it.
        if await self._once(f"SET {key} {key}") == "OK" and self.writes:
            self.acknowledged.append(key)

    async def missing(self, random: Generator) -> list[str]:
        """Return acknowledged keys that are not there; empty too where nobody answers."""
        sample = self.acknowledged[-LATEST:]
        older = self.acknowledged[:-LATEST]
        if older:
            sample += [older[at] for at in random.integers(len(older), size=OLDER)]
        gone = []
        own = Client(application=self.application, hosts=self.hosts, port=self.port, _at=self._at)
        for key in sample:
            answer = None
            for _ in range(2 * len(self.hosts)):
                answer = await own._once(f"GET {key}")
                if answer is not None:
                    break
            if answer is not None and answer != f"VALUE {key}":
                gone.append(key)
        own._hang_up()
        return gone

    async def _once(self, request: str) -> str | None:
        """Return the answer of whoever serves; None where it has to be looked for elsewhere."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if self._streams is None:
                    self._streams = await asyncio.open_connection(self.hosts[self._at], self.port)
                reader, writer = self._streams
                writer.write(request.encode() + b"\n")
                line = (await reader.readuntil(b"\n")).decode().strip()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            self._hang_up()
            self._at = (self._at + 1) % len(self.hosts)
            return None
        if not line.startswith("MOVED"):
            return line
        self.redirects += 1
        self._hang_up()
        with suppress(IndexError, ValueError):
            self._at = self.hosts.index(line.split()[1].rpartition(":")[0])
        return None

    def _hang_up(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def serves(host: str, port: int, seconds: float = ANSWER_SECONDS) -> bool:
    """Return whether somebody carries out requests at an address; who is on standby or released does not."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"PING\n")
                return await reader.readline() == b"PONG\n"
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


__all__ = ["Client", "serves"]
