"""Hand-offs under load: is any request lost, and how long does nobody serve?

Applications under a steady load are handed from card to card, one after the other, and back. Each load
writes and reads keys of its own and looks at the end whether all that was acknowledged is there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.agents.fleet.records import Moving
from tidegate.lab.bench.cards.cell import KeyValue
from tidegate.lab.bench.cards.loads import Load
from tidegate.lab.bench.result import Row, row
from tidegate.model.card_fleet import Strategy
from tidegate.model.errors import TidegateError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tidegate.agents.fleet.records import Ended
    from tidegate.examples.keyvalue.load import Found
    from tidegate.lab.bench.cards.cell import Cell

PAUSE_MS_LIMIT: Final = 150.0
MIGRATIONS: Final = 20
REQUESTS: Final = 100_000
MARGIN_RATIO: Final = 1.05
"""Of requests that are sent, over those wanted: the last ones may be due after the end."""
APPLICATION_CORES: Final = 0.5
CLIENTS: Final = 8
PATIENCE_SECONDS: Final = 30.0
MIGRATION_SECONDS_MAX: Final = 60.0
LOOK_SECONDS: Final = 0.05
FIRST_PORT: Final = 7301


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How much of it."""

    applications: int = 2
    migrations: int = MIGRATIONS
    """Of all applications together."""
    requests: int = REQUESTS
    """Of all applications together."""
    seconds: float = 90.0
    """How long the loads last: the migrations must end within."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOff:
    """What came of it."""

    ended: tuple[Ended, ...]
    loads: tuple[Found, ...]

    @property
    def lost(self) -> int:
        """Requests without an answer, and acknowledged writes that are not there or were not read."""
        return sum(one.lost + one.acknowledged_writes_missing + one.wrong_reads for one in self.loads)

    def rows(self, asked: Asked) -> list[Row]:
        """Return it as figures."""
        pauses = [one.pause_seconds * 1e3 for one in self.ended if one.succeeded]
        sent = sum(one.requests for one in self.loads)
        return [
            row("handoff_requests_lost", self.lost, "requests", 0.0),
            row("handoff_requests", sent, "requests", asked.requests, "min"),
            row("handoff_migrations", len(pauses), "migrations", asked.migrations, "min"),
            row("handoff_pause_ms_p99", _p99(pauses), "ms", PAUSE_MS_LIMIT),
            row("handoff_pause_ms_p50", float(np.median(pauses)) if pauses else np.inf, "ms"),
            row("handoff_request_ms_max", max(one.latency_max_seconds for one in self.loads) * 1e3, "ms"),
            row("handoff_redirects", sum(one.redirects for one in self.loads), "redirects"),
        ]


async def handed_off(cell: Cell, asked: Asked, *, progress: Callable[[str, int, int], None]) -> HandedOff:
    """Hand applications around all cards of a cell in turn, each under load.

    Raises:
        TidegateError: an application or a load does not start, or a migration does not end.

    """
    letters = list(cell.cards)
    services = [
        KeyValue(name=f"handed-{at}", port=FIRST_PORT + at, cpu_cores=APPLICATION_CORES)
        for at in range(asked.applications)
    ]
    at_card = {one.name: letters[at % len(letters)] for at, one in enumerate(services)}
    loads: list[Load] = []
    try:
        for one in services:
            await cell.run(one, at_card[one.name])
        rate = asked.requests * MARGIN_RATIO / asked.seconds / asked.applications
        for one in services:
            host = cell.cards[at_card[one.name]].host
            loads.append(
                Load(
                    at=f"{host}:{one.port}",
                    seconds=asked.seconds,
                    clients=CLIENTS,
                    rate=rate,
                    patience_seconds=PATIENCE_SECONDS,
                    log=cell.folder / f"{one.name}.load",
                )
            )
        ended = await _around(cell, asked, services, at_card, progress)
        progress("loads after the hand-offs", asked.migrations, asked.migrations)
        return HandedOff(ended=ended, loads=tuple(await asyncio.gather(*(one.found() for one in loads))))
    finally:
        for load in loads:
            load.end()
        for one in services:
            await cell.remove(one.name)


async def _around(
    cell: Cell,
    asked: Asked,
    services: Sequence[KeyValue],
    at_card: dict[str, str],
    progress: Callable[[str, int, int], None],
) -> tuple[Ended, ...]:
    letters = list(cell.cards)
    done: list[Ended] = []
    for number in range(asked.migrations):
        progress("hand-offs under load", number, asked.migrations)
        one = services[number % len(services)]
        here = at_card[one.name]
        there = letters[(letters.index(here) + 1) % len(letters)]
        ended = await moved(cell, one.name, here, there, epoch=number // len(services) + 1)
        done.append(ended)
        if ended.succeeded:
            at_card[one.name] = there
    return tuple(done)


async def moved(cell: Cell, name: str, here: str, there: str, *, epoch: int) -> Ended:
    """Hand one application over and return how that ended.

    Raises:
        TidegateError: it does not end in time.

    """
    source, target = cell.cards[here], cell.cards[there]
    moving = Moving(
        application=name,
        card_from=source.name,
        card_to=target.name,
        epoch=epoch,
        strategy=Strategy.HANDOFF,
        reason="a benchmark",
        began_seconds=0.0,
    )
    migration = await source.wire.move(moving, target_address=target.address)
    try:
        async with asyncio.timeout(MIGRATION_SECONDS_MAX):
            while (ended := await source.wire.ended(migration)) is None:  # noqa: ASYNC110 - nobody sets an event
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError as error:
        raise TidegateError(f"{name} is not on card {there} after {MIGRATION_SECONDS_MAX:g} s") from error
    return ended


def _p99(values: Sequence[float]) -> float:
    return float(np.percentile(values, 99)) if values else np.inf


__all__ = ["Asked", "HandedOff", "handed_off", "moved"]
