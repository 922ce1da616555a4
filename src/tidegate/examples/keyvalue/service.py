"""The service: lines of text in, lines of text out, all in memory.

    PING              PONG
    SET KEY VALUE     OK
    GET KEY           VALUE ... or NONE
    DEL KEY           OK or NONE
    anything else     ERROR ...

After its state was handed out, every answer is ``MOVED HOST:PORT ...``, and the request was not carried out.
Who asked nothing until the service ends is told the same then, unasked: it would not know where to go.
On standby no answer comes until a state did.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections import deque
from time import monotonic, process_time
from typing import Final, TypeAlias, cast

from tidegate.examples.keyvalue import contract

REQUEST_BYTES_MAX: Final = 1 << 16
"""A longer request ends its connection."""
WAITING_MAX: Final = 256
"""Requests of one connection that wait to be answered; then it is read no further."""
LATENCIES_MAX: Final = 16_384
"""The last so many are remembered."""
LATENCY_SECONDS: Final = 60.0
"""Over which the 99th percentile is told."""
FLUSH_SECONDS_MAX: Final = 2.0
"""How long the last answers may take to be sent when the service ends."""


Waiting: TypeAlias = "asyncio.Queue[tuple[Connection, float, str]]"
"""Requests of all, in the order they came: from whom, when, and what."""


class Store:
    """Keys and values, whether they are served here, and how fast."""

    def __init__(self, *, standby: bool, work_seconds: float) -> None:
        """Start empty; on standby serve nothing before a state came."""
        self._values: dict[str, str] = {}
        self._work_seconds = work_seconds
        self._moved_to: list[str] | None = None
        self.ready = asyncio.Event()
        """Set unless on standby: until then every request waits."""
        if not standby:
            self.ready.set()
        self._requests = 0
        self._latencies: deque[tuple[float, float]] = deque(maxlen=LATENCIES_MAX)

    @property
    def farewell(self) -> str | None:
        """Where everyone has to go; None while it serves here."""
        return None if self._moved_to is None else " ".join(["MOVED", *self._moved_to])

    def answer(self, request: str) -> str:
        """Carry a request out, or tell where it has to go."""
        if (farewell := self.farewell) is not None:
            return farewell
        until = process_time() + self._work_seconds
        while process_time() < until:
            pass
        kind, _, rest = request.partition(" ")
        key, _, value = rest.partition(" ")
        if kind == "PING":
            return "PONG"
        if kind == "SET" and key:
            self._values[key] = value
            return "OK"
        if kind == "GET" and key:
            return f"VALUE {self._values[key]}" if key in self._values else "NONE"
        if kind == "DEL" and key:
            return "NONE" if self._values.pop(key, None) is None else "OK"
        return "ERROR say PING, GET KEY, SET KEY VALUE or DEL KEY"

    def took(self, seconds: float) -> None:
        """Remember how long an answer took, from the request's arrival."""
        self._requests += 1
        self._latencies.append((monotonic(), seconds))

    # --- The hand-off contract ----------------------------------------------------------------

    def release(self, moved_to: list[str]) -> bytes:
        """Answer no more requests, and return all keys and values.

        Raises:
            ValueError: there is no state here yet.

        """
        if not self.ready.is_set():
            raise ValueError("on standby: there is no state here")
        self._moved_to = moved_to
        return json.dumps(self._values).encode()

    def resume(self) -> None:
        """Serve on."""
        self._moved_to = None

    def take(self, state: bytes) -> None:
        """Serve with this state, unless we serve already.

        Raises:
            ValueError: it is no state of ours.

        """
        values = json.loads(state)
        if not isinstance(values, dict):
            raise ValueError("a state is one JSON object")  # noqa: TRY004 - it is the value that is wrong
        if not self.ready.is_set() or self._moved_to is not None:
            self._values = values
        self._moved_to = None
        self.ready.set()

    def stats(self) -> dict[str, float]:
        """Return how fast and how often we answered."""
        since = monotonic() - LATENCY_SECONDS
        seconds = sorted(took for at, took in self._latencies if at >= since)
        said: dict[str, float] = {"requests": self._requests}
        if seconds:
            said["latency_p99_seconds"] = seconds[int(0.99 * (len(seconds) - 1))]
        return said


class Connection(asyncio.Protocol):
    """One client: its lines are stamped as they arrive and answered in their order."""

    def __init__(self, waiting: Waiting, open_ones: set[Connection]) -> None:
        """Put what is asked into the queue of all."""
        self._waiting = waiting
        self._open = open_ones
        self._rest = b""
        self._pending = 0
        self.transport: asyncio.Transport | None = None
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note who is there."""
        self.transport = cast("asyncio.Transport", transport)
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget who is gone."""
        self._open.discard(self)
        self.transport = None
        self.gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Take in the lines that are whole."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        now = monotonic()
        for line in lines:
            self._waiting.put_nowait((self, now, line.decode("utf-8", "replace").rstrip("\r")))
        self._pending += len(lines)
        if self.transport is not None and len(self._rest) > REQUEST_BYTES_MAX:
            self.transport.close()
        elif self.transport is not None and self._pending > WAITING_MAX:
            self.transport.pause_reading()

    def told(self, line: str) -> None:
        """Send what was not asked for."""
        if self.transport is not None:
            self.transport.write(line.encode() + b"\n")

    def answered(self, line: str) -> None:
        """Send an answer, and read on where we had stopped."""
        self._pending -= 1
        if self.transport is not None:
            self.transport.write(line.encode() + b"\n")
            if self._pending == WAITING_MAX // 2:
                self.transport.resume_reading()


async def serve(
    host: str, port: int, *, work_seconds: float = 0.0, control: str | None = None, standby: bool = False
) -> None:
    """Serve until told to end by SIGTERM or SIGINT; movable where there is a control socket."""
    store = Store(standby=standby and control is not None, work_seconds=work_seconds)
    waiting: Waiting = asyncio.Queue()
    open_ones: set[Connection] = set()
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    clients = await loop.create_server(lambda: Connection(waiting, open_ones), host, port, reuse_address=True)
    movable: contract.Movable = store
    servers = [clients] + ([await contract.listen(control, movable)] if control else [])
    answering = asyncio.create_task(_answer_all(store, waiting))
    await ended.wait()
    for server in servers:
        server.close()
    answering.cancel()
    if (farewell := store.farewell) is not None:
        for connection in open_ones:
            connection.told(farewell)
    await _flushed(open_ones)


async def _answer_all(store: Store, waiting: Waiting) -> None:
    """Answer one request after the other; between two of them others can come in."""
    while True:
        connection, arrived, request = await waiting.get()
        await store.ready.wait()
        connection.answered(store.answer(request))
        store.took(monotonic() - arrived)
        await asyncio.sleep(0)


async def _flushed(connections: set[Connection]) -> None:
    """Send what was answered, then hang up."""
    gone = [connection.gone for connection in connections]
    for connection in connections:
        if connection.transport is not None:
            connection.transport.close()
    if gone:
        await asyncio.wait(gone, timeout=FLUSH_SECONDS_MAX)
