"""`tidegate agent`: tells the card of this server how its workloads are, and does as it is ordered."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tidegate.agents.agent.program import AgentOptions, run_agent
from tidegate.agents.running import run
from tidegate.app.servers import LOCAL, libvirt_uri
from tidegate.app.state import state_folder
from tidegate.app.threads import one_blas_thread
from tidegate.cli.durations import parse_duration_seconds
from tidegate.model.application import checked_name


def command(
    device: Annotated[
        str, typer.Option(help="Where the card's device listens: unix:/path or tcp:host:port.")
    ],
    name: Annotated[str, typer.Option(help="What this server is called; its host name by default.")] = "",
    driver: Annotated[
        str, typer.Option(help="What reads and resizes workloads: local (cgroups), libvirt, or libvirt=URI.")
    ] = LOCAL,
    state: Annotated[Path | None, typer.Option(help="Folder where the agent remembers.")] = None,
    certs: Annotated[Path | None, typer.Option(help="Folder of the agent's certificate.")] = None,
    step: Annotated[str, typer.Option(help="How often the server is looked at, like 1s.")] = "1s",
    workload: Annotated[
        list[str] | None, typer.Option(help="Which cgroups or VMs are workloads, by pattern. Repeatable.")
    ] = None,
    act: Annotated[
        list[str] | None, typer.Option(help="Whose limits may be set, by pattern; needs root. Repeatable.")
    ] = None,
    probe: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Answer the card's probes of the link here, over UDP.")
    ] = "",
    card_pci: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="The card's PCI address here, as 0000:3b:00.0: its link's speed."
        ),
    ] = "",
    vral: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Let VMs claim resources, through channels served here and VMs' own ports."
        ),
    ] = None,
    sla: Annotated[float, typer.Option(help="Share of samples that may run short.")] = 0.01,
    ticks: Annotated[int | None, typer.Option(min=1, help="End after so many samples.")] = None,
) -> None:
    """Join this server to its card: samples go there, orders come back; Ctrl-C gives limits back and ends.

    Without the device, the last limits stand for a minute; then this server's own safe baseline decides.
    """
    libvirt_uri(driver)  # a name nobody goes by is told before anything starts
    server = checked_name("a server", name or socket.gethostname())
    options = AgentOptions(
        name=server,
        device=device,
        driver=driver,
        folder=state if state is not None else state_folder() / "agent" / server,
        step_seconds=parse_duration_seconds(step),
        chosen=tuple(workload or ()),
        act=tuple(act or ()),
        violation_rate=sla,
        certificates=certs,
        probe=probe,
        card_pci=card_pci,
        vral=vral,
    )
    console = Console(stderr=True)
    console.print(f"agent of server '{server}', device at {device}; Ctrl-C ends", highlight=False)
    with one_blas_thread():
        code = run(
            lambda: run_agent(options, told=lambda said: console.print(said, highlight=False), ticks=ticks)
        )
    raise typer.Exit(code)
