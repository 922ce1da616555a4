"""`tidegate device`: runs a card, with the applications on it, until it is told to end."""

from __future__ import annotations

import os
import platform
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from tidegate.cli import device_options as options
from tidegate.cli.card_amounts import parse_amounts
from tidegate.cli.doctor import printable
from tidegate.cli.named_addresses import named_addresses
from tidegate.model.application import Amounts, checked_name
from tidegate.model.autonomy import level
from tidegate.model.byte_amounts import parse_bytes
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from tidegate.agents.device.deciding import Sizes
    from tidegate.agents.device.neighbours import Links
    from tidegate.agents.device.program import Configuration, Outside

SOCKET: Final = "device.sock"
RUN_ON: Final = "The device has ended; its applications run on, and the next start takes them over."


def command(
    card: options.Card,
    listen: options.Listen = None,
    state: options.State = None,
    certs: options.Certs = None,
    cores: options.Cores = None,
    memory: options.Memory = None,
    has: options.Has = "",
    reserve: options.Reserve = "",
    namespace: options.Namespace = None,
    host: options.Host = "localhost",
    core_worth: options.CoreWorth = 1.0,
    probe: options.Probe = "",
    peer: options.Peer = None,
    link_capacity: options.LinkCapacity = None,
    autonomy: options.Autonomy = "auto",
    journal: options.Journal = True,
) -> None:
    """Run an offload card: start, size, watch and move its applications, as asked over the network.

    Applications are processes of their own: they run on when this program ends, by Ctrl-C or by a kill, and
    the next start takes them over.
    """
    from tidegate.agents.device.deciding import Sizes

    configuration = _configuration(
        checked_name("a card", card),
        listen,
        state,
        certs,
        _capacity(cores, memory, has),
        parse_amounts(reserve),
        host,
        core_worth,
        sizes=Sizes(journalled=journal, autonomy=level(autonomy)),
        links=_links(probe, peer or [], link_capacity or [], namespace, host),
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
    sizes: Sizes,
    links: Links,
) -> Configuration:
    from tidegate.agents.device.program import Configuration
    from tidegate.agents.device.room import Room
    from tidegate.app.state import CARDS, state_folder

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
        sizes=sizes,
        links=links,
    )


def _links(probe: str, peers: list[str], capacity: list[str], namespace: str | None, host: str) -> Links:
    from tidegate.agents.device.neighbours import Links

    rates = named_addresses("--link-capacity", capacity)
    return Links(
        probe=probe,
        cards=named_addresses("--peer", peers),
        capacity={name: _rate(name, rate) for name, rate in rates.items()},
        namespace=namespace,
        host=host,
    )


def _rate(name: str, text: str) -> float:
    rate = parse_bytes(text)
    if rate <= 0:
        raise InputError(f"--link-capacity {name}={text} carries nothing; give a rate above 0, as 25Gb")
    return rate


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
    from tidegate.app.threads import one_blas_thread
    from tidegate.drivers.card.runtime import ProcessRuntime
    from tidegate.drivers.local.clock import SystemClock

    link = configuration.room.capacity.network_bytes_per_second
    with opened(configuration.state) as store, one_blas_thread():
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
