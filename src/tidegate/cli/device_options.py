"""What `tidegate device` may be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Card = Annotated[str, typer.Option(metavar="NAME", help="What the card is called, in the whole fleet.")]
Listen = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="unix:/PATH or tcp:HOST:PORT to serve on; a socket in the state's folder by default.",
    ),
]
State = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="What it remembers; in $XDG_STATE_HOME/tidegate by default."),
]
Certs = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Its certificates, of 'tidegate certs issue --role device'."),
]
Cores = Annotated[
    float | None, typer.Option(metavar="N", help="Cores it has; those of this machine by default.")
]
Memory = Annotated[
    str | None,
    typer.Option(metavar="BYTES", help="Memory it has, as 16GiB; that of this machine by default."),
]
Has = Annotated[
    str, typer.Option(metavar="AMOUNTS", help="What else it has, as gpu=1,network=25Gb,storage=1GB.")
]
Reserve = Annotated[
    str, typer.Option(metavar="AMOUNTS", help="What its system keeps, as cpu=0.5,memory=1GiB.")
]
Namespace = Annotated[
    str | None,
    typer.Option(metavar="NS", help="Network namespace of applications; traffic is limited only there."),
]
Host = Annotated[str, typer.Option(help="Where clients reach its applications' ports.")]
CoreWorth = Annotated[float, typer.Option(help="What one of its cores is worth, in a server's cores.")]
Probe = Annotated[
    str,
    typer.Option(metavar="HOST:PORT", help="Answer probes of links here, over UDP; in NS if there is one."),
]
Peer = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=HOST:PORT", help="A card or server and where it answers probes. Repeatable."),
]
LinkCapacity = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=RATE",
        help="What the link to a server or card carries, as 25Gb, where nobody can measure it. Repeatable.",
    ),
]
Autonomy = Annotated[
    str, typer.Option(help="Autonomy of workloads that no rule names: observe, recommend, auto.")
]
Journal = Annotated[
    bool, typer.Option(help="Write each turn of its fast loop down before what it orders is done.")
]
