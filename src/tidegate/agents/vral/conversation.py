"""One connection of one guest: reads lines at the pace it is allowed, has them answered, sends notices.

Whatever comes in, only this connection bears it: it is not read from while its VM is ahead of its rate, and
not answered further while it does not read.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tidegate.vral import lines
from tidegate.vral.fairness import FairQueue
from tidegate.vral.lines import LINE_BYTES_MAX, Garbled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tidegate.agents.vral.desk import Desk
    from tidegate.vral.claims import Notice
    from tidegate.vral.fairness import TokenBucket

READ_BYTES: Final = LINE_BYTES_MAX
WRITE_BYTES_MAX: Final = 64 * 1024
"""Answers that wait to be read; beyond, nothing is read either."""
NOTICES_BYTES_MAX: Final = 16 * 1024
"""Notices are left out while more than this waits to be read: `list` says the same."""
LINE_COST: Final = 1.0
"""Of a request in tokens, and of as many bytes without the end of a line as are read at once."""
BLANK_COST: Final = 0.25
"""Of a line with nothing in it: not nothing, since it is work."""
WAITING_MAX: Final = 16
"""Requests of one VM that wait their turn: one of each of its connections."""


class Lines:
    """Cuts what comes in into lines; of one that is too long nothing is kept."""

    def __init__(self) -> None:
        """Begin at the start of a line."""
        self._rest = b""
        self._skips = False

    def cut(self, data: bytes) -> Iterator[bytes | None]:
        """Yield whole lines without their ends; None for each that was too long, once it is known to be."""
        *whole, rest = (self._rest + data).split(b"\n")
        for line in whole:
            if self._skips:
                self._skips = False  # it was told of already
            elif len(line) >= LINE_BYTES_MAX:
                yield None
            else:
                yield line
        if self._skips:
            self._rest = b""
        elif len(rest) >= LINE_BYTES_MAX:
            self._rest, self._skips = b"", True
            yield None
        else:
            self._rest = rest


class Turns:
    """Answers requests, one VM's after the other's."""

    def __init__(self, desk: Desk) -> None:
        """Wait for requests."""
        self._desk = desk
        self._queue: FairQueue[tuple[bytes, asyncio.Future[tuple[bytes, float]]]] = FairQueue(
            waiting_max=WAITING_MAX
        )
        self._woken = asyncio.Event()

    async def ask(self, vm: str, line: bytes) -> tuple[bytes, float]:
        """Return the answer once it is this VM's turn."""
        answer: asyncio.Future[tuple[bytes, float]] = asyncio.get_running_loop().create_future()
        if not self._queue.put(vm, (line, answer)):
            return lines.garbled(Garbled("busy", "too many requests wait; send one after the other")), 0.0
        self._woken.set()
        return await answer

    async def run(self) -> None:
        """Answer for ever."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while (item := self._queue.pop()) is not None:
                vm, (line, answer) = item
                if answer.done():  # its connection is gone
                    continue
                answer.set_result(self._desk.answer(vm, line))
                await asyncio.sleep(0)


class Conversation:
    """One connection."""

    def __init__(
        self,
        vm: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        turns: Turns,
        bucket: TokenBucket,
        forwards_seconds: Callable[[], float],
    ) -> None:
        """Speak with a VM; all of its connections share one ``bucket``."""
        self.vm = vm
        self._reader, self._writer, self._turns = reader, writer, turns
        self._bucket, self._now = bucket, forwards_seconds
        self._watches_until = -1.0
        writer.transport.set_write_buffer_limits(high=WRITE_BYTES_MAX)

    async def run(self) -> None:
        """Speak until the other end hangs up."""
        cutter = Lines()
        try:
            while data := await self._reader.read(READ_BYTES):
                for line in cutter.cut(data):
                    await self._take_in(line)
                if b"\n" not in data:
                    await self._pay(LINE_COST)
        except OSError:
            pass  # hung up in the middle of something
        finally:
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()

    def tell(self, notices: Sequence[Notice]) -> None:
        """Send notices of this VM's leases, where it asked for any, and reads."""
        now = self._now()
        for notice in notices:
            waits = self._writer.transport.get_write_buffer_size()
            if now < self._watches_until and waits <= NOTICES_BYTES_MAX and not self._writer.is_closing():
                self._writer.write(lines.notice_line(notice, now))

    async def _take_in(self, line: bytes | None) -> None:
        if line is not None and not line.strip():
            await self._pay(BLANK_COST)
            return  # a guest ends what its predecessor left half said
        await self._pay(LINE_COST)
        if line is None:
            answer = lines.garbled(Garbled("too_long", f"a line has at most {LINE_BYTES_MAX} bytes"))
        else:
            answer, watch_seconds = await self._turns.ask(self.vm, line)
            if watch_seconds:
                self._watches_until = self._now() + watch_seconds
        self._writer.write(answer)
        await self._writer.drain()

    async def _pay(self, cost: float) -> None:
        """Wait until this VM is within its rate again."""
        wait = self._bucket.take(self._now(), cost)
        if wait:
            await asyncio.sleep(wait)


__all__ = ["WAITING_MAX", "Conversation", "Lines", "Turns"]
