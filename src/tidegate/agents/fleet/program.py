"""`tidegate fleet`: the fleet manager of a cell."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tidegate.agents.fleet.cell import Cell
from tidegate.agents.fleet.over_wire import WireCard
from tidegate.agents.fleet.service import served
from tidegate.agents.fleet.store import Store
from tidegate.app.state import CONTROLS
from tidegate.drivers.local.clock import SystemClock
from tidegate.journal.sql.controls import AUTONOMY_DEFAULT
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.retention import Retention
from tidegate.journal.sql.writer import opened
from tidegate.model.autonomy import Level
from tidegate.plan.cards import CardPlanner
from tidegate.plan.consent import Consent
from tidegate.wire.serving import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tidegate.agents.fleet.records import FleetTick

EVERY_SECONDS: Final = 10.0
"""From one tick to the next: moves take seconds, and pay back in minutes."""
NANOSECONDS: Final = 10**9
LOOP: Final = {"loop": "fleet"}
"""What the journal of controls is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """How a fleet manager is run."""

    cards: Mapping[str, str]
    """Where each card's device listens, by the card's name."""
    folder: Path
    """Where placement is written down."""
    listen: str
    """Where to serve people and programs."""
    every_seconds: float = EVERY_SECONDS
    certificates: Path | None = None
    planner: CardPlanner = field(default_factory=CardPlanner)
    fenced: frozenset[str] = frozenset()
    """Cards that left and surely run nothing: what they had is placed anew."""
    autonomy: Level = Level.AUTO
    """Of whom no rule names."""


async def run_fleet(
    options: FleetOptions,
    *,
    listening: Callable[[str], None],
    seen: Callable[[FleetTick], None],
    ticks: int | None = None,
) -> int:
    """Run until cancelled, or for so many ticks; returns the exit code.

    ``listening`` is told the address, ``seen`` each tick. Cards go on without it.

    Raises:
        TidegateError: the store can't be written, or the address not listened on.

    """
    clock = SystemClock()
    cards = {
        name: WireCard(name, address, clock=clock, certificates=options.certificates)
        for name, address in options.cards.items()
    }
    where = location(str(options.folder / CONTROLS))
    with closing(Store(options.folder)) as store, opened(where, LOOP, Retention()) as journal:
        controls = journal.controls(options.autonomy)
        journal.remark(AUTONOMY_DEFAULT, options.autonomy.label)
        cell = Cell(
            cards=cards,
            store=store,
            now_seconds=lambda: clock.now_nanoseconds() / NANOSECONDS,
            planner=options.planner,
            fenced=options.fenced,
            consent=Consent(controls.autonomy),
        )
        try:
            async with serving(
                options.listen, served(cell, cards), clock=clock, certificates=options.certificates
            ) as at:
                listening(at.address)
                await _turn(cell, options.every_seconds, seen, ticks)
        finally:
            await asyncio.gather(*(card.close() for card in cards.values()))
    return 0


async def _turn(
    cell: Cell, every_seconds: float, seen: Callable[[FleetTick], None], ticks: int | None
) -> None:
    loop = asyncio.get_running_loop()
    turned = 0
    while ticks is None or turned < ticks:
        began = loop.time()
        seen(await cell.tick())
        turned += 1
        if ticks is None or turned < ticks:
            await asyncio.sleep(max(every_seconds - (loop.time() - began), 0))
