"""`tidegate device`: runs a card, with the applications on it, until it is told to end."""

from __future__ import annotations

import os
import platform
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from tidegate.cli.card_amounts import parse_amounts
from tidegate.cli.doctor import printable
from tidegate.cli.named_addresses import named_addresses
from tidegate.model.application import Amounts, checked_name

if TYPE_CHECKING:
    from tidegate.agents.device.neighbours import Links
    from tidegate.agents.device.program import Configuration, Outside

CARDS: Final = "cards"
"""Folder of what cards remember, among what Tidegate keeps."""
SOCKET: Final = "device.sock"
RUN_ON: Final = "The device has ended; its applications run on, and the next start takes them over."


def command(
    card: Annotated[str, typer.Option(metavar="NAME", help="What the card is called, in the whole fleet.")],
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="unix:/PATH or tcp:HOST:PORT to serve on; a socket in the state's folder by default.",
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What it remembers; in $XDG_STATE_HOME/tidegate by default."),
    ] = None,
    certs: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Its certificates, of 'tidegate certs issue --role device'."),
    ] = None,
    cores: Annotated[
        float | None, typer.Option(metavar="N", help="Cores it has; those of this machine by default.")
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(metavar="BYTES", help="Memory it has, as 16GiB; that of this machine by default."),
    ] = None,
    has: Annotated[
        str, typer.Option(metavar="AMOUNTS", help="What else it has, as gpu=1,network=25Gb,storage=1GB.")
    ] = "",
    reserve: Annotated[
        str, typer.Option(metavar="AMOUNTS", help="What its system keeps, as cpu=0.5,memory=1GiB.")
    ] = "",
    namespace: Annotated[
        str | None,
        typer.Option(metavar="NS", help="Network namespace of applications; traffic is limited only there."),
    ] = None,
    host: Annotated[str, typer.Option(help="Where clients reach its applications' ports.")] = "localhost",
    core_worth: Annotated[
        float, typer.Option(help="What one of its cores is worth, in a server's cores.")
    ] = 1.0,
    probe: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", help="Answer probes of links here, over UDP; in NS if one is named."
        ),
    ] = "",
    peer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=HOST:PORT", help="A card and where it answers probes. Repeatable."),
    ] = None,
    journal: Annotated[
        bool, typer.Option(help="Write each turn of its fast loop down before what it orders is done.")
    ] = True,
) -> None:
    """Run an offload card: start, size, watch and move its applications, as asked over the network.

    Applications are processes of their own: they run on when this program ends, by Ctrl-C or by a kill, and
    the next start takes them over.
    """
    configuration = _configuration(
        checked_name("a card", card),
        listen,
        state,
        certs,
        _capacity(cores, memory, has),
        parse_amounts(reserve),
        host,
        core_worth,
        journal=journal,
        links=_links(probe, peer or [], namespace, host),
    )
    try:
        _run(configuration, namespace)
    finally:
        _say(RUN_ON)


def _configuration(
    name: str,
    listen: str | None,
    state: Path | None,
    certificates: Path | None,
    capacity: Amounts,
    reserved: Amounts,
    host: str,
    core_worth: float,
    *,
    journal: bool,
    links: Links,
) -> Configuration:
    from tidegate.agents.device.deciding import Sizes
    from tidegate.agents.device.program import Configuration
    from tidegate.agents.device.room import Room
    from tidegate.app.state import state_folder

    folder = (state_folder() / CARDS / name if state is None else state).absolute()
    return Configuration(
        name=name,
        room=Room(capacity=capacity, reserved=reserved),
        listen=f"unix:{folder / SOCKET}" if listen is None else listen,
        state=folder,
        certificates=certificates,
        host=host,
        architecture=platform.machine(),
        core_worth=core_worth,
        sizes=Sizes(journalled=journal),
        links=links,
    )


def _links(probe: str, peers: list[str], namespace: str | None, host: str) -> Links:
    from tidegate.agents.device.neighbours import Links

    return Links(probe=probe, cards=named_addresses("--peer", peers), namespace=namespace, host=host)


def _capacity(cores: float | None, memory: str | None, has: str) -> Amounts:
    import psutil

    given = parse_amounts(f"memory={memory}") if memory is not None else Amounts()
    here = Amounts(
        cpu_cores=float(len(os.sched_getaffinity(0)) if cores is None else cores),
        memory_bytes=psutil.virtual_memory().total if given.memory_bytes is None else given.memory_bytes,
    )
    return parse_amounts(has).over(here)


def _run(configuration: Configuration, namespace: str | None) -> None:
    from tidegate.agents.device.program import Outside
    from tidegate.agents.device.store import opened
    from tidegate.agents.running import run
    from tidegate.drivers.card.runtime import ProcessRuntime
    from tidegate.drivers.local.clock import SystemClock

    link = configuration.room.capacity.network_bytes_per_second
    with opened(configuration.state) as store:
        runtime = ProcessRuntime(
            configuration.name, namespace=namespace, network_bytes_per_second=link if namespace else None
        )
        try:
            outside = Outside(
                store=store,
                runtime=runtime,
                clock=SystemClock(),
                now=time.time_ns,
                new_id=lambda: str(uuid.uuid4()),
                forwards=time.monotonic,
            )
            run(lambda: _serve(configuration, outside))
        finally:
            runtime.close()


async def _serve(configuration: Configuration, outside: Outside) -> int:
    from tidegate.agents.device.program import serving_device

    async with serving_device(configuration, outside) as listening:
        _say(f"Card {configuration.name} serves on {listening.address}; look: tidegate card show")
        await listening.ended()
    return 0


def _say(text: str) -> None:
    console = Console(highlight=False)
    console.print(Text(printable(text)), soft_wrap=True)


__all__ = ["command"]
