"""Three cards, twelve applications, one card asked for more than it has: with the fleet manager, and without.

Each application has agreed on a latency and has clients whose load goes on all the time, at random moments;
one process plays them all. At first nobody moves anything; then the fleet manager is started and given its
time; then comes what counts. An application keeps what it agreed on where its clients' p99 of that time does.
What the application itself tells its card is a figure beside it.

What is short is the first card's own amount of CPU, by what its applications hold: all programs together, the
clients too, use half of a machine of two cores.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import accumulate
from time import perf_counter
from typing import TYPE_CHECKING, Final

from tidegate.lab.bench.cards.cell import KeyValue
from tidegate.lab.bench.cards.loads import Loads
from tidegate.lab.bench.cards.programs import Program
from tidegate.lab.bench.result import Row, row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tidegate.examples.keyvalue.load import Found
    from tidegate.lab.bench.cards.cell import Cell

CARD_CORES: Final = 0.4
"""Little, so that the cards' own quotas are what is short and not this machine."""
LATENCY_SECONDS: Final = 0.25
"""What a person takes for at once, less the network (Nielsen 1993 has 0.1 s for that and 1 s for an unbroken
thought). The kernel gives CPU out in periods of 0.1 s, so a request of an application that has what it needs
waits for a period or two at most; one that lacks CPU waits without end."""
WORK_SECONDS: Final = 0.003
RATE: Final = 16.0
"""Requests a second of each application: 0.055 cores or so."""
CLIENTS: Final = 4
APPLICATION_CORES: Final = 0.042
"""At first and always, as agreed; the cards size them above it."""
PATIENCE_SECONDS: Final = 30.0
SKIP_SECONDS: Final = 1.0
"""Clients of a service that is too slow give up on what is so overdue: nobody queues for minutes."""
AT_FIRST: Final[Mapping[str, int]] = {"a": 9, "b": 2, "c": 1}
"""Applications by card: the first is asked for a quarter more than it has, all together for half."""
KEPT_LIMIT: Final = 0.95
FIRST_PORT: Final = 7401
FLEET_EVERY: Final = "3s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How long each part lasts."""

    warm_seconds: float = 30.0
    """Before anything is measured: the cards' own forecasts begin."""
    without_seconds: float = 45.0
    fleet_seconds: float = 240.0
    """What the fleet manager is given: two minutes in which who was just found stays, and two for its moves,
    of which those that wait for room take the longest."""
    with_seconds: float = 65.0
    """More than the minute over which an application tells its own p99."""
    latency_seconds: float = LATENCY_SECONDS
    dwell: str = "2m"
    seed: int = 0
    """Of the moments at which clients ask."""

    @property
    def marks(self) -> tuple[float, ...]:
        """When each part after the first begins, in seconds from the loads' start."""
        parts = (self.warm_seconds, self.without_seconds, self.fleet_seconds, self.with_seconds)
        return tuple(accumulate(parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreeCards:
    """What came of it."""

    before: Mapping[str, str]
    """The card of each application before the fleet manager was started."""
    after: Mapping[str, str]
    loads: Mapping[str, Found]
    own_p99_seconds: Mapping[str, float | None]
    """What each application told its card at the end: over a minute, from a request's arrival there."""
    fleet_said: tuple[str, ...]

    def p99_seconds(self, part: int) -> dict[str, float]:
        """Return each application's p99 in a part, counted from 0."""
        return {name: one.latency_p99_between[part] for name, one in self.loads.items()}

    def rows(self, asked: Asked) -> list[Row]:
        """Return it as figures."""
        most = asked.latency_seconds
        without, with_fleet = self.p99_seconds(WITHOUT), self.p99_seconds(WITH)
        lost = sum(
            one.lost + one.acknowledged_writes_missing + one.wrong_reads for one in self.loads.values()
        )
        own = [late is not None and late <= most for late in self.own_p99_seconds.values()]
        return [
            row("apps_within_latency_sla_ratio", _kept(with_fleet, most), "ratio", KEPT_LIMIT, "min"),
            row("apps_within_latency_sla_ratio_own", sum(own) / len(own), "ratio"),
            row("apps_within_latency_sla_ratio_without_fleet", _kept(without, most), "ratio"),
            row("apps_latency_p99_ms_worst", max(with_fleet.values()) * 1e3, "ms"),
            row("apps_latency_p99_ms_worst_without_fleet", max(without.values()) * 1e3, "ms"),
            row("fleet_moved_applications", self.moved, "applications"),
            row("fleet_requests_lost", lost, "requests", 0.0),
        ]

    @property
    def moved(self) -> int:
        """How many applications are on another card."""
        return sum(self.after.get(name) != at for name, at in self.before.items())


WITHOUT, WITH = 1, 3
"""Parts that count."""


def _kept(p99_seconds: Mapping[str, float], most: float) -> float:
    """Return the share of applications that keep a latency; who answered nothing keeps none."""
    return sum(0 < late <= most for late in p99_seconds.values()) / len(p99_seconds)


async def with_and_without(
    cell: Cell, asked: Asked, *, progress: Callable[[str, int, int], None]
) -> ThreeCards:
    """Load, wait, let the fleet manager work, and wait again.

    Raises:
        TidegateError: an application or a load does not start, or a card is not heard.

    """
    services = _services(asked)
    letters = [letter for letter, count in AT_FIRST.items() for _ in range(count)]
    load: Loads | None = None
    try:
        progress("starting applications", 0, len(services))
        await asyncio.gather(*(cell.run(one, at) for one, at in zip(services, letters, strict=True)))
        load = _load(cell, asked, services, letters)
        whole = asked.marks[-1]
        began = perf_counter()
        await _until(began + asked.marks[1], "without the fleet manager", whole, progress)
        before = await cell.where()
        with fleet(cell, asked.dwell) as manager:
            await _until(began + asked.marks[2], "the fleet manager moves", whole, progress)
            await _until(began + asked.marks[3], "with the fleet manager", whole, progress)
            seen = await cell.look()
            after = await cell.where()
            said = tuple(manager.log.read_text("utf-8", "replace").splitlines())
            found = await load.all_found()
        own = {one.name: one.latency_p99_seconds for card in seen.values() for one in card.applications}
        return ThreeCards(
            before=before,
            after=after,
            loads={one.name: its for one, its in zip(services, found, strict=True)},
            own_p99_seconds={one.name: own.get(one.name) for one in services},
            fleet_said=said,
        )
    finally:
        if load is not None:
            load.end()
        for one in services:
            await cell.remove(one.name)


async def _until(when: float, what: str, whole: float, progress: Callable[[str, int, int], None]) -> None:
    while (left := when - perf_counter()) > 0:
        progress(f"three cards, {what}, seconds left", round(left), round(whole))
        await asyncio.sleep(min(left, 1.0))


def _load(cell: Cell, asked: Asked, services: Sequence[KeyValue], letters: Sequence[str]) -> Loads:
    return Loads(
        at=[f"{cell.cards[at].host}:{one.port}" for one, at in zip(services, letters, strict=True)],
        seconds=asked.marks[-1],
        clients=CLIENTS,
        rate=RATE,
        patience_seconds=PATIENCE_SECONDS,
        skip_seconds=SKIP_SECONDS,
        marks=asked.marks[:-1],
        seed=asked.seed,
        log=cell.folder / "loads",
    )


def fleet(cell: Cell, dwell: str, *, every: str = FLEET_EVERY) -> Program:
    """Start a fleet manager of all cards of a cell."""
    cards = [f"--card={card.name}={card.address}" for card in cell.cards.values()]
    arguments = [
        "fleet", *cards, "--listen", f"unix:{cell.folder}/fleet.sock", "--state", str(cell.folder / "fleet"),
        "--every", every, "--dwell", dwell,
    ]  # fmt: skip
    return Program(arguments, log=cell.folder / "fleet.log")


def _services(asked: Asked) -> list[KeyValue]:
    return [
        KeyValue(
            name=f"app-{at:02}",
            port=FIRST_PORT + at,
            cpu_cores=APPLICATION_CORES,
            floor_cores=APPLICATION_CORES,
            work_seconds=WORK_SECONDS,
            latency_p99_max_seconds=asked.latency_seconds,
        )
        for at in range(sum(AT_FIRST.values()))
    ]


__all__ = ["CARD_CORES", "Asked", "ThreeCards", "fleet", "with_and_without"]
