"""What can be said of a move of a VM on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

VmArgument = Annotated[str | None, typer.Argument(help="The VM, by name.")]
ToOption = Annotated[
    str, typer.Option("--to", metavar="URI", help="libvirt at the target, as the source reaches it.")
]
FromOption = Annotated[str, typer.Option("--from", metavar="URI", help="libvirt where it runs.")]
BandwidthOption = Annotated[
    str,
    typer.Option("--bandwidth", help="What it may take of the link a second, like 100MB; all by default."),
]
LinkOption = Annotated[str, typer.Option("--link", help="What the link carries a second, for the forecast.")]
DowntimeOption = Annotated[float, typer.Option("--downtime", help="Most seconds to stand still.", min=0.001)]
PostCopyOption = Annotated[
    str,
    typer.Option(
        "--post-copy",
        metavar="DURATION",
        help="Let it run at the target after so long, before its memory is there.",
    ),
]
WithinOption = Annotated[str, typer.Option("--within", metavar="DURATION", help="Give up after so long.")]
SharedStorageOption = Annotated[
    bool, typer.Option("--shared-storage", help="Both hosts see its disks, whatever it looks like.")
]
ThroughOption = Annotated[
    str,
    typer.Option(
        "--through", metavar="URI", help="Where its memory goes, like tcp://10.0.0.2; libvirt's choice."
    ),
]
XmlOption = Annotated[
    Path | None, typer.Option("--xml", help="File with its XML for the target, where paths or taps differ.")
]
NameOption = Annotated[
    str, typer.Option("--name", help="What it is called at the target; as here by default.")
]
ReconcileOption = Annotated[
    bool, typer.Option("--reconcile", help="Only put right what movers that were killed left.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check and forecast, and move nothing.")]
LedgerOption = Annotated[Path, typer.Option("--ledger", help="Where owners' settings are noted.")]
NotesOption = Annotated[Path, typer.Option("--notes", help="Folder in which moves are noted.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write what came of it here, for machines.")]
