"""Uses the service as its clients would, follows it where it moves, and tells what was lost on the way."""

from __future__ import annotations

import asyncio
import itertools
import random
from bisect import bisect
from dataclasses import dataclass
from time import monotonic
from typing import Final

KEYS_PER_CLIENT: Final = 64
"""Each client writes its own keys, so it knows what has to be in them."""
SETS_OF_REQUESTS: Final = 2
"""Every second request writes, the others read."""
REDIRECTS_AT_ONCE: Final = 4
"""Of one request: more are a circle, as while nobody listens yet where the service went; it is gone round in
steps of `RETRY_SECONDS`, for as long as the patience lasts."""
RETRY_SECONDS: Final = 0.05
"""Between two attempts where nobody answered."""
LINE_BYTES_MAX: Final = 1 << 16
CLIENTS_MAX: Final = 1 << 16
"""Of one load: each has a chance of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to ask for."""

    at: str
    """HOST:PORT where the service is at first."""
    seconds: float = 10.0
    clients: int = 4
    requests_per_second: float = 0.0
    """Of all clients together; 0: each asks again once it has an answer."""
    patience_seconds: float = 30.0
    """A request that has no answer after so long is lost."""
    skip_seconds: float = 0.0
    """A request that could not be sent so long after it was due is not sent at all, and counts as that
    late; 0: all are sent."""
    marks: tuple[float, ...] = ()
    """Seconds from the start, rising, between which the latency is told apart."""
    seed: int | None = None
    """Each client asks at a random moment of each of its turns, drawn from it; None: at even ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of it."""

    requests: int
    lost: int
    """Got no answer, at no address they were sent to."""
    redirects: int
    reconnects: int
    acknowledged_writes: int
    acknowledged_writes_missing: int
    """Keys that at the end did not hold the last value that was acknowledged."""
    wrong_reads: int
    """Reads on the way that did not find it."""
    latency_p50_seconds: float
    """From when a request was due until its answer: what waits behind others counts."""
    latency_p99_seconds: float
    latency_max_seconds: float
    seconds: float
    skipped: int = 0
    """Could not be sent in time, and were not."""
    latency_p99_between: tuple[float, ...] = ()
    """Of what was due before the first mark, between it and the second, and so on; 0 where nothing was."""


class Addresses:
    """Where the service may be, as all clients of one load have heard: the newest first."""

    def __init__(self, first: str) -> None:
        """Know one."""
        self.known = [first]

    def learn(self, address: str) -> None:
        """Put an address in front."""
        self.known = [address, *(other for other in self.known if other != address)]


class Client:
    """Asks, one request after the other, and follows."""

    def __init__(self, addresses: Addresses, patience_seconds: float) -> None:
        """Start at the newest address."""
        self._addresses = addresses
        self._patience_seconds = patience_seconds
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.redirects = 0
        self.reconnects = 0

    async def ask(self, request: str) -> str | None:
        """Return the answer, wherever it came from; None where none came in time: the request is lost."""
        redirected = 0
        try:
            async with asyncio.timeout(self._patience_seconds):
                for attempt in itertools.count():
                    answer = await self._attempt(request, attempt)
                    if answer is None:
                        self.reconnects += 1
                        await asyncio.sleep(RETRY_SECONDS)
                        continue
                    if not answer.startswith("MOVED"):
                        return answer
                    redirected += 1
                    self.redirects += 1
                    if redirected > REDIRECTS_AT_ONCE:
                        await asyncio.sleep(RETRY_SECONDS)
                    await self._follow(answer.split()[1:])
        except TimeoutError:
            await self.close()
        return None

    async def close(self) -> None:
        """Hang up."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()

    async def _follow(self, addresses: list[str]) -> None:
        """Go where the answer says; where it says nothing, it is not known there yet: ask again."""
        await self.close()
        if addresses:
            self._addresses.learn(addresses[0])
        else:
            await asyncio.sleep(RETRY_SECONDS)

    async def _attempt(self, request: str, attempt: int) -> str | None:
        """Ask once, at the connection there is or the next address in turn; None where nobody answers."""
        try:
            if self._streams is None:
                known = self._addresses.known
                host, _, port = known[attempt % len(known)].rpartition(":")
                self._streams = await asyncio.open_connection(host, int(port), limit=LINE_BYTES_MAX)
            reader, writer = self._streams
            writer.write(request.encode() + b"\n")
            await writer.drain()
            line = await reader.readuntil(b"\n")
        except (OSError, asyncio.IncompleteReadError):
            await self.close()
            return None
        return line.decode().rstrip("\n")


@dataclass(slots=True)
class _Tally:
    """What one client counts."""

    latencies: list[float]
    due: list[float]
    """When each of those was due, from the start."""
    acknowledged: dict[str, str]
    skipped: int = 0
    writes: int = 0
    lost: int = 0
    wrong: int = 0

    def took(self, due: float, latency: float) -> None:
        """Note how late an answer came."""
        self.due.append(due)
        self.latencies.append(latency)


async def run(load: Load) -> Found:
    """Ask for as long as was said, then look whether every acknowledged write is still there."""
    start = monotonic()
    addresses = Addresses(load.at)
    clients = [Client(addresses, load.patience_seconds) for _ in range(load.clients)]
    tallies = [_Tally([], [], {}) for _ in clients]
    pairs = list(zip(clients, tallies, strict=True))
    await asyncio.gather(*(_use(load, start, at, client, tally) for at, (client, tally) in enumerate(pairs)))
    seconds = monotonic() - start
    missing = sum(await asyncio.gather(*(_missing(client, tally) for client, tally in pairs)))
    for client in clients:
        await client.close()
    latencies = sorted(itertools.chain.from_iterable(tally.latencies for tally in tallies)) or [0.0]
    return Found(
        requests=sum(len(tally.latencies) + tally.lost for tally in tallies),
        lost=sum(tally.lost for tally in tallies),
        redirects=sum(client.redirects for client in clients),
        reconnects=sum(client.reconnects for client in clients),
        acknowledged_writes=sum(tally.writes for tally in tallies),
        acknowledged_writes_missing=missing,
        wrong_reads=sum(tally.wrong for tally in tallies),
        latency_p50_seconds=latencies[len(latencies) // 2],
        latency_p99_seconds=_p99(latencies),
        latency_max_seconds=latencies[-1],
        seconds=seconds,
        skipped=sum(tally.skipped for tally in tallies),
        latency_p99_between=_between(load.marks, tallies),
    )


def _between(marks: tuple[float, ...], tallies: list[_Tally]) -> tuple[float, ...]:
    parts: list[list[float]] = [[] for _ in range(len(marks) + 1)]
    for tally in tallies:
        for due, latency in zip(tally.due, tally.latencies, strict=True):
            parts[bisect(marks, due)].append(latency)
    return tuple(_p99(sorted(part) or [0.0]) for part in parts)


def _p99(rising: list[float]) -> float:
    return rising[int(0.99 * (len(rising) - 1))]


async def _use(load: Load, start: float, at: int, client: Client, tally: _Tally) -> None:
    """Write and read in turn, at the wanted pace."""
    every = load.clients / load.requests_per_second if load.requests_per_second > 0 else 0.0
    chance = None if load.seed is None else random.Random(load.seed * CLIENTS_MAX + at)  # noqa: S311 - draws moments
    for turn in itertools.count():
        within = at / load.clients if chance is None else chance.random()
        due = start + (turn + within) * every if every else monotonic()
        if due > start + load.seconds:
            return
        await asyncio.sleep(max(due - monotonic(), 0.0))
        if monotonic() > start + load.seconds + load.patience_seconds:
            return
        if load.skip_seconds and monotonic() - due > load.skip_seconds:
            tally.took(due - start, monotonic() - due)
            tally.skipped += 1
            continue
        key, value = f"client-{at}-{turn // SETS_OF_REQUESTS % KEYS_PER_CLIENT}", f"{turn}"
        writes = turn % SETS_OF_REQUESTS == 0
        answer = await client.ask(f"SET {key} {value}" if writes else f"GET {key}")
        if answer is None:
            tally.lost += 1
            if writes:
                tally.acknowledged.pop(key, None)  # it may hold the one or the other now
            continue
        tally.took(due - start, monotonic() - due)
        if writes and answer == "OK":
            tally.acknowledged[key] = value
            tally.writes += 1
        elif not writes and key in tally.acknowledged:
            tally.wrong += answer != f"VALUE {tally.acknowledged[key]}"


async def _missing(client: Client, tally: _Tally) -> int:
    """Return how many keys do not hold what was acknowledged last."""
    missing = 0
    for key, value in tally.acknowledged.items():
        missing += await client.ask(f"GET {key}") != f"VALUE {value}"
    return missing
