"""All parts of a running device, and the threads on which they may wait."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tidegate.agents.device.card import SECOND
from tidegate.agents.device.lifecycle import Lifecycle
from tidegate.agents.device.moves import Moves
from tidegate.agents.device.outlook import Outlook
from tidegate.agents.device.profiling import Profiling
from tidegate.agents.device.sizing import Sizing
from tidegate.agents.device.taking_in import TakingIn
from tidegate.agents.device.tending import Tending
from tidegate.model.refusals import Because, Refusal
from tidegate.telemetry.link_ledger import LinkLedger, with_uses

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import ThreadPoolExecutor

    from tidegate.agents.device.card import Card
    from tidegate.agents.device.moving import Moving
    from tidegate.model.links import LinkTelemetry

THREADS: Final = 32
"""Calls that may wait for programs at once; more wait for these."""

Said = TypeVar("Said")


@dataclass(slots=True)
class Device:
    """One card's core, with all that is asked of it."""

    card: Card
    moving: Moving
    threads: ThreadPoolExecutor
    architecture: str = ""
    core_worth: float = 1.0
    """What one of its cores is worth, in a server's cores."""
    outlook: Outlook = field(default_factory=Outlook)
    links: tuple[LinkTelemetry, ...] = ()
    """As measured from here, the latest; `ways` says more."""
    forwards: Callable[[], float] | None = None
    """Seconds on a clock that only runs forwards; the card's own, which people may put back, without."""
    link_capacity: Mapping[str, float] = field(default_factory=dict)
    """Bytes per second by peer, as configured, where nobody else says."""
    pci: Callable[[], Mapping[str, float]] = dict
    """The same by server, as those tell whose PCI device the card is."""
    probe_address: str = ""
    """Where the card answers probes of its links."""
    asked: set[asyncio.Future[Any]] = field(default_factory=set)
    """What is not answered yet."""
    lifecycle: Lifecycle = field(init=False)
    sizing: Sizing = field(init=False)
    moves: Moves = field(init=False)
    taking_in: TakingIn = field(init=False)
    profiling: Profiling = field(init=False)
    tending: Tending = field(init=False)
    ledger: LinkLedger = field(init=False)
    """What goes over its links now."""

    def __post_init__(self) -> None:
        """Make what can be asked."""
        self.lifecycle = Lifecycle(self.card)
        self.sizing = Sizing(self.card)
        self.moves = Moves(self.card)
        self.taking_in = TakingIn(self.card)
        self.profiling = Profiling(self.card)
        self.tending = Tending(self.card)
        self.ledger = LinkLedger(self.forwards or (lambda: self.card.now() / SECOND))

    def ways(self) -> tuple[LinkTelemetry, ...]:
        """Return all links of which anything is known, with what they carry and who uses them now."""
        uses = self.ledger.uses()
        return with_uses(self.links, uses, pci=self.pci(), configured=self.link_capacity)

    def way_to(self, peer: str) -> LinkTelemetry | None:
        """Return the link to a server or card; None where nothing is known of it."""
        return next((one for one in self.ways() if one.peer == peer), None)

    async def do(self, ask: Callable[[], Said]) -> Said:
        """Ask the core, which may wait for programs, and let other calls go on meanwhile."""
        asked = asyncio.get_running_loop().run_in_executor(self.threads, ask)
        self.asked.add(asked)
        asked.add_done_callback(self.asked.discard)
        return await asked

    async def end(self, seconds: float) -> None:
        """Let what was asked come to its end, for a while; what does not is found by the next start."""
        if self.asked:
            await asyncio.wait(self.asked, timeout=seconds)
        self.threads.shutdown(wait=False, cancel_futures=True)

    def require_here(self, card: str, field_name: str = "name") -> None:
        """Refuse what is meant for another card.

        Raises:
            Refusal: it is.

        """
        if card != self.card.name:
            raise Refusal(
                Because.NOT_FOUND,
                f"{field_name}: this is card {self.card.name}, not {card}; ask the device of that card",
                field=field_name,
            )


__all__ = ["Device"]
