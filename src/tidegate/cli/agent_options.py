"""What `tidegate agent` may be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidegate.cli.numbers import checked_seed

Device = Annotated[str, typer.Option(help="Where the card's device listens: unix:/path or tcp:host:port.")]
Name = Annotated[str, typer.Option(help="What this server is called; its host name by default.")]
Driver = Annotated[
    str, typer.Option(help="What reads and resizes workloads: local (cgroups), libvirt, or libvirt=URI.")
]
State = Annotated[Path | None, typer.Option(help="Folder where the agent remembers.")]
Certs = Annotated[Path | None, typer.Option(help="Folder of the agent's certificate.")]
Step = Annotated[str, typer.Option(help="How often the server is looked at, like 1s.")]
Workload = Annotated[
    list[str] | None, typer.Option(help="Which cgroups or VMs are workloads, by pattern. Repeatable.")
]
Act = Annotated[
    list[str] | None, typer.Option(help="Whose limits may be set, by pattern; needs root. Repeatable.")
]
Probe = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="Answer the card's probes of the link here, over UDP.")
]
CardPci = Annotated[
    str,
    typer.Option(metavar="ADDRESS", help="The card's PCI address here, as 0000:3b:00.0: its link's speed."),
]
Vral = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Let VMs claim resources, through channels served here and VMs' own ports."
    ),
]
Sla = Annotated[float | None, typer.Option(help="Share of samples that may run short; 0.01 by default.")]
Ticks = Annotated[int | None, typer.Option(min=1, help="End after so many samples.")]
Listen = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Tell here that it is well, to whom asks for its health.")
]
Ledger = Annotated[
    Path | None,
    typer.Option(help="Where limits are noted before they are changed; in the state's folder by default."),
]
Baseline = Annotated[
    bool, typer.Option(help="Let this server's own safe baseline decide after a minute without the device.")
]
Simulated = Annotated[
    bool, typer.Option("--simulated", help="Be the agent of a simulated fleet, as 'tidegate up' starts it.")
]
Scenario = Annotated[Path | None, typer.Option(help="Scenario TOML of the simulated fleet.")]
Trace = Annotated[list[Path] | None, typer.Option(help="Trace of the simulated fleet. Repeatable.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the simulated fleet.", min=0, callback=checked_seed)]
