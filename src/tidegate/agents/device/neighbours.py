"""A card's links: answers the probes of others, and probes its servers and the cards it was told of."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from tidegate.agents.links.watch import LinkWatch, Peer
from tidegate.drivers.interfaces.reading import InterfaceReader
from tidegate.drivers.probes.responder import Responder
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

    from tidegate.agents.device.services.device import Device
    from tidegate.agents.servers.servers import Told

EVERY: Final = frozenset({"0.0.0.0", "[::]"})  # noqa: S104 - compared with, not bound to
SEED: Final = 1
"""Probes are spread in time by chance; any seed will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """How a card's links are measured."""

    probe: str = ""
    """Where to answer probes, ``host:port``; empty: nowhere."""
    cards: Mapping[str, str] = field(default_factory=dict)
    """Where other cards answer probes, by name."""
    namespace: str | None = None
    """The network namespace that links begin in."""
    capacity: Mapping[str, float] = field(default_factory=dict)
    """What links carry, bytes per second by the name at the other end, where that can't be measured."""
    host: str = ""
    """By which name others reach it, where it answers on every address."""


@asynccontextmanager
async def neighbours(
    device: Device,
    links: Links,
    servers: Callable[[], Iterable[Told]],
    *,
    now_seconds: Callable[[], float],
    monotonic_seconds: Callable[[], float],
) -> AsyncIterator[None]:
    """Answer and probe inside the context; what is measured is the device's `links`.

    Raises:
        InputError: an address or the namespace is none.
        TidegateError: the address is taken, or not this machine's.

    """
    async with _answering(links) as address:
        device.probe_address = address
        with InterfaceReader(links.namespace) as interfaces:
            watch = LinkWatch(
                seed=SEED,
                now_seconds=now_seconds,
                monotonic_seconds=monotonic_seconds,
                namespace=links.namespace,
                interfaces=interfaces,
            )
            async with watch:
                task = asyncio.create_task(_follow(device, links, servers, watch))
                try:
                    yield
                finally:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task


@asynccontextmanager
async def _answering(links: Links) -> AsyncIterator[str]:
    if not links.probe:
        yield ""
        return
    async with Responder(links.probe, namespace=links.namespace) as responder:
        yield reached_at(responder.address, links.host)


def reached_at(address: str, host: str) -> str:
    """Return where others reach an address that was bound: every address is that of ``host``."""
    bound, _, port = address.rpartition(":")
    return f"{host}:{port}" if host and bound in EVERY else address


async def _follow(
    device: Device, links: Links, servers: Callable[[], Iterable[Told]], watch: LinkWatch
) -> None:
    """Probe whoever there is now, and note what is known, each second."""
    before: tuple[Peer, ...] = ()
    async for latest in watch.turns():
        peers = peers_of(links, servers())
        if peers != before:
            before = peers
            try:
                await watch.follow(peers)
            except InputError as error:
                structlog.get_logger(__name__).warning("links can't be probed", why=str(error))
        device.links = latest


def peers_of(links: Links, servers: Iterable[Told]) -> tuple[Peer, ...]:
    """Return who is to be probed: the cards that were named, and the servers that say where they answer."""
    found: dict[str, str] = {one.server: one.probe_address for one in servers if one.probe_address}
    return tuple(Peer(name=name, address=address) for name, address in {**found, **links.cards}.items())


__all__: Sequence[str] = ["Links", "neighbours", "peers_of"]
