"""`tidegate agent`: this very server, joined to the device of its card."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.agents.agent.agent import Agent
from tidegate.agents.agent.connection import Connection
from tidegate.agents.servers.loop import baseline_loop
from tidegate.app.servers import LOCAL, opened_server
from tidegate.drivers.interfaces.pci import pci_bytes_per_second
from tidegate.drivers.local.clock import SystemClock
from tidegate.drivers.local.server import VIOLATION_RATE
from tidegate.drivers.probes.responder import Responder
from tidegate.model.behaviour import Behaviour
from tidegate.wire.serving import serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tidegate.drivers.libvirt.server import LibvirtServer
    from tidegate.drivers.local.server import LocalServer


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """How an agent is run."""

    name: str
    """Of the server; with certificates the one in the agent's own."""
    device: str
    """Where the card's device listens."""
    folder: Path
    """Where it remembers."""
    driver: str = LOCAL
    """What reads and resizes the server's workloads: its cgroups, or libvirt."""
    step_seconds: int = 1
    chosen: tuple[str, ...] = ()
    """Which workloads there are, by pattern; the usual ones without any."""
    act: tuple[str, ...] = ()
    """Whose limits may be set, by pattern; without any, nobody's."""
    violation_rate: float = VIOLATION_RATE
    certificates: Path | None = None
    probe: str = ""
    """Where to answer probes of the link, ``host:port``; empty: nowhere."""
    listen: str = ""
    """Where to tell that it is well; empty: nowhere."""
    ledger: Path | None = None
    """Where the owner's settings are noted before they are changed; beside what it remembers by default."""
    decides_alone: bool = True
    """Whether the safe baseline decides when the device is gone."""
    card_pci: str = ""
    """The PCI address of the card, whose link says what goes through; empty: it is none."""


async def run_agent(options: AgentOptions, *, told: Callable[[str], None], ticks: int | None = None) -> int:
    """Run until cancelled, or for so many steps; returns the exit code.

    At its end what it changed is given back: nobody would change it again.

    Raises:
        TidegateError: this server can't be read, or what the agent remembers can't.

    """
    options.folder.mkdir(parents=True, exist_ok=True)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        address = ""
        if options.probe:
            address = (await stack.enter_async_context(Responder(options.probe))).address
        if options.listen:
            await stack.enter_async_context(serving(options.listen, (), clock=clock, grace_seconds=0))
        await _joined(options, clock, address, told=told, ticks=ticks)
    return 0


async def _joined(
    options: AgentOptions, clock: SystemClock, probe: str, *, told: Callable[[str], None], ticks: int | None
) -> None:
    with opened_server(
        options.driver,
        name=options.name,
        folder=options.folder,
        step_seconds=options.step_seconds,
        chosen=options.chosen,
        act=options.act,
        violation_rate=options.violation_rate,
        ledger_path=options.ledger,
    ) as server:
        agent = Agent(
            name=options.name,
            server=server,
            loop_over=lambda watched: baseline_loop(watched, step_seconds=options.step_seconds),
            folder=options.folder,
            step_seconds=options.step_seconds,
            incarnation=f"{os.getpid()}-{clock.now_nanoseconds()}",
            now_nanoseconds=clock.now_nanoseconds,
            forwards_seconds=clock.forwards_seconds,
            probe_address=probe,
            behaviour=lambda: _behaviour(server),
            settings_given_back=len(server.released.restored),
            decides_alone=options.decides_alone,
            pci_bytes_per_second=pci_bytes_per_second(options.card_pci) if options.card_pci else 0.0,
        )
        connection = Connection(
            agent,
            address=options.device,
            clock=clock,
            certificates=options.certificates,
            told=told,
            given_back=lambda: len(server.close().restored),
        )
        await connection.run(step_seconds=options.step_seconds, ticks=ticks)


def _behaviour(server: LocalServer | LibvirtServer) -> Behaviour | None:
    """Return how a server's workloads behaved; None where its driver tells it otherwise."""
    found = server.behaviour
    return found if isinstance(found, Behaviour) else None
