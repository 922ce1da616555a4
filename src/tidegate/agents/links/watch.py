"""Runs the probes of several links and says each second how they are.

```python
async with LinkWatch(seed=1, now_seconds=time.time, monotonic_seconds=time.monotonic, secret=secret) as watch:
    await watch.follow([Peer(name="server-1", address="10.0.0.1:7071")])
    async for links in watch.turns():
        ...  # LinkTelemetry of each peer
```
"""

from __future__ import annotations

import asyncio
import zlib
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

import numpy as np

from tidegate.drivers.probes.packets import Token
from tidegate.drivers.probes.prober import PROBES_PER_SECOND, TRAIN_EVERY_SECONDS, Prober
from tidegate.drivers.probes.sockets import host_and_port
from tidegate.model.errors import InputError, TidegateError
from tidegate.telemetry.counters import CounterWindow
from tidegate.telemetry.links import LinkWindows, with_interfaces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import TracebackType

    from tidegate.drivers.probes.budget import Budget
    from tidegate.model.links import InterfaceCounters, LinkTelemetry

PEERS_MAX: Final = 256
"""Links probed from one end: each has a socket and a budget of its own."""
TURN_SECONDS: Final = 1.0
SWITCH_SECONDS: Final = 10.0
"""Between readings of a switch: its agent looks at its own ports hardly more often."""
AGAIN_SECONDS: Final = 30.0
"""A peer whose name is unknown, or to whom no way leads, is tried again so often."""
INTERFACES: Final = "(interfaces)"
SWITCH: Final = "(switch)"
"""In `problems`, beside names of peers."""
OPEN_SECONDS: Final = 2.0
"""Whoever names peers waits so long for them to be found; looking up a name goes on beside the turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end, and where."""

    name: str
    """Of the server or card."""
    address: str
    """Where it answers probes, ``host:port``: a card's `probe_address`."""
    interface: str = ""
    """By which interface of this end; empty: the one that has the address probes leave from."""
    port: str = ""
    """By which port of the switch; empty: no switch is asked about this link."""


class Switch(Protocol):
    """Counters of the ports links go through; `drivers.snmp.SnmpInterfaces` is one."""

    async def read(self) -> InterfaceCounters:
        """Return the counters as they are now."""
        ...


class Interfaces(Protocol):
    """Counters of this end's interfaces; `drivers.interfaces.InterfaceReader` is one."""

    def read(self) -> InterfaceCounters:
        """Return all counters as they are now."""
        ...

    def owning(self, host: str) -> str | None:
        """Return the interface that has an address."""
        ...


@dataclass(slots=True, kw_only=True)
class _Watched:
    """A peer; without a prober while it can't be probed."""

    peer: Peer
    prober: Prober | None = None
    opening: asyncio.Task[None] | None = None
    interface: str = ""
    tried_seconds: float = float("-inf")
    problem: str = ""


class LinkWatch:
    """The links of this end; use it as a context manager."""

    def __init__(
        self,
        *,
        seed: int,
        now_seconds: Callable[[], float],
        monotonic_seconds: Callable[[], float],
        secret: bytes = b"",
        namespace: str | None = None,
        budget: Budget | None = None,
        probes_per_second: float = PROBES_PER_SECOND,
        train_every_seconds: float = TRAIN_EVERY_SECONDS,
        interfaces: Interfaces | None = None,
        switch: Switch | None = None,
    ) -> None:
        """Watch no link yet; ``budget`` and paces are of each link, ``interfaces`` those of the namespace.

        What a ``switch`` counts for a peer's port stands before what this end counts: it sees everybody's.

        ``now_seconds`` is since 1970 UTC; ``monotonic_seconds`` is `time.monotonic`, as probes use it.

        Raises:
            InputError: the secret is too short.

        """
        Token(secret)
        self._seed, self._secret, self._namespace, self._budget = seed, secret, namespace, budget
        self._now_seconds, self._monotonic_seconds = now_seconds, monotonic_seconds
        self._probes_per_second, self._train_every_seconds = probes_per_second, train_every_seconds
        self._interfaces = interfaces
        self._watched: dict[str, _Watched] = {}
        self._windows = LinkWindows()
        self._counters = CounterWindow()
        self._switch, self._switch_counters = switch, CounterWindow()
        self._switch_task: asyncio.Task[None] | None = None
        self._switch_due = float("-inf")
        self._problems: dict[str, str] = {}
        """Of counters, by `INTERFACES` and `SWITCH`."""
        self._latest: tuple[LinkTelemetry, ...] = ()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._switch_task is not None:
            self._switch_task.cancel()
            await asyncio.wait([self._switch_task])
        await self.follow(())

    @property
    def latest(self) -> tuple[LinkTelemetry, ...]:
        """What the last turn said; empty before."""
        return self._latest

    @property
    def problems(self) -> dict[str, str]:
        """Why a peer can't be probed, by its name, or counters not be read: one sentence each."""
        found = {name: one.problem for name, one in self._watched.items() if one.problem}
        return found | self._problems

    async def follow(self, peers: Sequence[Peer]) -> None:
        """Probe these peers from now on, and no others; those that stay as they are go on.

        Raises:
            InputError: an address is none, a name stands there twice, or there are too many; nothing was
                changed.

        """
        if len(peers) > PEERS_MAX:
            raise InputError(f"{len(peers)} peers to probe are more than {PEERS_MAX}; name fewer")
        if len({peer.name for peer in peers}) != len(peers):
            raise InputError("peers to probe name one twice; name each once")
        for peer in peers:
            host_and_port(peer.address)
        before = self._watched
        stay = {peer.name: before[peer.name] for peer in peers if _same(before.get(peer.name), peer)}
        gone = [one for name, one in before.items() if name not in stay]
        # One that answers elsewhere now is another link: what is known of the old one is forgotten.
        self._windows.follow(tuple(stay))
        self._windows.follow([peer.name for peer in peers])
        self._watched = {peer.name: stay.get(peer.name) or _Watched(peer=peer) for peer in peers}
        async with AsyncExitStack() as closing:
            for one in gone:
                if one.opening is not None:
                    one.opening.cancel()
                if one.prober is not None:
                    closing.push_async_exit(one.prober)
        opening = self._open_due()
        if opening:
            await asyncio.wait(opening, timeout=OPEN_SECONDS)

    async def turns(self) -> AsyncIterator[tuple[LinkTelemetry, ...]]:
        """Yield what is known of all links, each second, for ever."""
        due = self._monotonic_seconds()
        while True:
            due = max(due + TURN_SECONDS, self._monotonic_seconds())
            await asyncio.sleep(due - self._monotonic_seconds())
            self._open_due()
            yield self.look()

    def look(self) -> tuple[LinkTelemetry, ...]:
        """Take in what probes and counters say and return what is known of each link."""
        for name, one in self._watched.items():
            if one.prober is not None:
                self._windows.add(name, *one.prober.take())
        self._count()
        columns = self._windows.measure(self._monotonic_seconds())
        here, there = self._counters.carried(), self._switch_counters.carried()
        by_link = [
            there.of(one.peer.port) if one.peer.port in there.names else here.of(one.interface)
            for one in map(self._watched.__getitem__, columns.peers)
        ]
        used, speed = np.array(by_link, dtype=np.float64).reshape(-1, 2).T
        self._latest = with_interfaces(columns, used, speed).records(self._now_seconds())
        return self._latest

    def _count(self) -> None:
        if self._interfaces is not None:
            try:
                self._counters.add(self._interfaces.read())
                self._problems.pop(INTERFACES, None)
            except TidegateError as error:
                self._problems[INTERFACES] = str(error)
        is_idle = self._switch_task is None or self._switch_task.done()
        if self._switch is not None and is_idle and self._switch_due <= self._monotonic_seconds():
            self._switch_due = self._monotonic_seconds() + SWITCH_SECONDS
            self._switch_task = asyncio.create_task(self._ask(self._switch))

    async def _ask(self, switch: Switch) -> None:
        """Read a switch, beside the turns: it may take its time."""
        try:
            self._switch_counters.add(await switch.read())
            self._problems.pop(SWITCH, None)
        except TidegateError as error:
            self._problems[SWITCH] = str(error)
            self._switch_counters = CounterWindow()  # what it said last is not what is now

    def _open_due(self) -> list[asyncio.Task[None]]:
        """Begin to probe whoever is not probed yet; return what is under way."""
        now = self._monotonic_seconds()
        for one in self._watched.values():
            is_idle = one.prober is None and (one.opening is None or one.opening.done())
            if is_idle and one.tried_seconds <= now - AGAIN_SECONDS:
                one.opening = asyncio.create_task(self._open(one, now))
        tasks = [one.opening for one in self._watched.values()]
        return [task for task in tasks if task is not None and not task.done()]

    async def _open(self, one: _Watched, now: float) -> None:
        one.tried_seconds = now
        prober = Prober(
            one.peer.address,
            # Each link has a pace of its own, whoever else is probed.
            seed=self._seed ^ zlib.crc32(one.peer.name.encode()),
            secret=self._secret,
            namespace=self._namespace,
            budget=self._budget,
            probes_per_second=self._probes_per_second,
            train_every_seconds=self._train_every_seconds,
        )
        try:
            await prober.__aenter__()
        except TidegateError as error:
            one.problem = str(error)
            return
        if self._watched.get(one.peer.name) is not one:  # no longer wanted
            await prober.__aexit__(None, None, None)
            return
        one.prober, one.problem = prober, ""
        one.interface = one.peer.interface or self._owning(prober.local_host)

    def _owning(self, host: str) -> str:
        return "" if self._interfaces is None else self._interfaces.owning(host) or ""


def _same(one: _Watched | None, peer: Peer) -> bool:
    return one is not None and one.peer == peer
