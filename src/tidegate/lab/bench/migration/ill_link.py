"""A link gets ill and well again: how many ticks of the fleet manager until applications leave, and return?

A server does its work on two cards, one near and one far. Real devices probe the way to it, over links that a
relay makes as slow and lossy as is wanted. Nothing else tells the cards apart.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Final

from tidegate.agents.fleet.program import EVERY_SECONDS
from tidegate.drivers.probes.responder import Responder
from tidegate.lab.bench.cards.cell import KeyValue
from tidegate.lab.bench.migration.three_cards import fleet
from tidegate.lab.bench.result import Row, row
from tidegate.model.errors import TidegateError
from tidegate.testing.links import EmulatedLink, LinkShape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tidegate.lab.bench.cards.cell import Cell

NEAR, FAR, SERVER = "a", "b", "s"
"""Both cards, and the server's end of both links."""
SERVER_NAME: Final = "server-1"
PROBE_PORT: Final = 7071
SHAPES: Final = {NEAR: LinkShape(delay_seconds=0.001), FAR: LinkShape(delay_seconds=0.015)}
"""Each way: a rack's distance, and that of a neighbouring region, where one goes only for a reason."""
ILL: Final = LinkShape(delay_seconds=0.06, loss_ratio=0.05)
"""Each way: a request then takes half of the quarter of a second that is usual."""
TICKS_LIMIT: Final = 3
TICKS_MAX: Final = 12
"""Who has not moved by then does not."""
KNOWN_SECONDS_MAX: Final = 60.0
"""How long devices may take to have measured their links."""
LOOK_SECONDS: Final = 0.2
FIRST_PORT: Final = 7501
APPLICATION_CORES: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How the fleet manager is run."""

    every_seconds: float = EVERY_SECONDS
    dwell_seconds: float = 30.0
    workers: int = 2
    """Applications that do the server's work; beside them is one that does nobody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifted:
    """What came of it, in seconds; infinite where it did not come."""

    left_seconds: float
    """From when the link got ill until all who work for the server were on the other card."""
    stayed_seconds: float
    """From then until all were back."""
    recovered_seconds: float
    """From then until the link was well again."""
    strayed: int
    """Applications that moved though no link is theirs, or while all links were well."""
    fleet_said: tuple[str, ...]

    def rows(self, asked: Asked) -> list[Row]:
        """Return it as figures: ticks are counted until an application serves, not until it is decided on."""
        due = max(self.recovered_seconds, asked.dwell_seconds)
        beyond = max(self.stayed_seconds - due, 0.0)
        return [
            row("link_shift_ticks", _ticks(self.left_seconds, asked), "ticks", TICKS_LIMIT),
            row("link_back_after_dwell", _ticks(beyond, asked), "ticks", TICKS_LIMIT),
            row("link_shift_seconds", self.left_seconds, "s"),
            row("link_strayed_applications", self.strayed, "applications", 0.0),
        ]


def _ticks(seconds: float, asked: Asked) -> float:
    return math.ceil(seconds / asked.every_seconds) if math.isfinite(seconds) else math.inf


@dataclass(slots=True)
class ServerLinks:
    """The links from both cards to the server; `beside` them is where a cell is to be made."""

    seed: int = 0
    links: dict[str, EmulatedLink] = field(default_factory=dict)
    namespace: str = ""
    """The server's."""

    @contextmanager
    def beside(self, namespaces: Mapping[str, str]) -> Iterator[Mapping[str, Sequence[str]]]:
        """Make the links; yields what each card's device is told of its own."""
        with ExitStack() as stack:
            self.namespace = namespaces[SERVER]
            for letter, shape in SHAPES.items():
                link = EmulatedLink(shape, between=(namespaces[letter], self.namespace), seed=self.seed)
                self.links[letter] = stack.enter_context(link)
            yield {
                letter: ("--peer", f"{SERVER_NAME}={link.addresses[1]}:{PROBE_PORT}")
                for letter, link in self.links.items()
            }

    async def shifted(
        self, cell: Cell, asked: Asked, *, progress: Callable[[str, int, int], None]
    ) -> Shifted:
        """Make the near link ill and well again, and see where applications go.

        Raises:
            TidegateError: an application does not start, a card is not heard, or has not measured its link.

        """
        workers = [_service(f"worker-{at}", FIRST_PORT + at, SERVER_NAME) for at in range(asked.workers)]
        other = _service("idle", FIRST_PORT + asked.workers, "")
        services = [*workers, other]
        async with AsyncExitStack() as stack:
            # Every address of the server answers, as it has one on each link.
            answers = Responder(f"0.0.0.0:{PROBE_PORT}", namespace=self.namespace)
            await stack.enter_async_context(answers)
            try:
                progress("links: starting applications", 0, len(services))
                await asyncio.gather(*(cell.run(one, NEAR) for one in services))
                await _known(cell)
                return await self._watched(cell, asked, [one.name for one in workers], progress)
            finally:
                for one in services:
                    await cell.remove(one.name)

    async def _watched(
        self, cell: Cell, asked: Asked, workers: Sequence[str], progress: Callable[[str, int, int], None]
    ) -> Shifted:
        with fleet(cell, f"{asked.dwell_seconds:g}s", every=f"{asked.every_seconds:g}s") as manager:
            progress("links: all are well", 0, 3)
            await asyncio.sleep(asked.dwell_seconds + 2 * asked.every_seconds)
            strayed = _not_at(await cell.where(), NEAR)
            progress("links: one is ill", 1, 3)
            self.links[NEAR].change(ILL)
            most = TICKS_MAX * asked.every_seconds
            left = await _until_all(cell, workers, FAR, most)
            arrived = perf_counter()
            self.links[NEAR].change(SHAPES[NEAR])
            recovered = perf_counter() - arrived
            progress("links: all are well again", 2, 3)
            stayed = await _until_all(cell, workers, NEAR, asked.dwell_seconds + most)
            strayed += _not_at(await cell.where(), NEAR, besides=workers)
            said = tuple(manager.log.read_text("utf-8", "replace").splitlines())
        return Shifted(
            left_seconds=left,
            stayed_seconds=stayed if math.isfinite(left) else math.inf,
            recovered_seconds=recovered,
            strayed=strayed,
            fleet_said=said,
        )


def _service(name: str, port: int, server: str) -> KeyValue:
    return KeyValue(name=name, port=port, cpu_cores=APPLICATION_CORES, server=server)


async def _known(cell: Cell) -> None:
    """Wait until both cards have measured their link."""
    deadline = perf_counter() + KNOWN_SECONDS_MAX
    while not all(SERVER_NAME in card.links for card in (await cell.look()).values()):
        if perf_counter() > deadline:
            raise TidegateError(f"no device has measured its link after {KNOWN_SECONDS_MAX:g} s")
        await asyncio.sleep(LOOK_SECONDS)


async def _until_all(cell: Cell, names: Sequence[str], letter: str, seconds: float) -> float:
    """Return after how many seconds all were on a card; infinite where they were not in time."""
    began = perf_counter()
    while (waited := perf_counter() - began) <= seconds:
        where = await cell.where()
        if all(where.get(name) == letter for name in names):
            return waited
        await asyncio.sleep(LOOK_SECONDS)
    return math.inf


def _not_at(where: Mapping[str, str], letter: str, *, besides: Sequence[str] = ()) -> int:
    return sum(at != letter for name, at in where.items() if name not in besides)


__all__ = ["FAR", "NEAR", "SERVER", "Asked", "ServerLinks", "Shifted"]
