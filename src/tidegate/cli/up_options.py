"""The options of `tidegate up`, by name."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tidegate.cli.numbers import checked_seed


class Alone(StrEnum):
    """What to run alone."""

    SIMULATED = "simulated"
    MACHINE = "machine"


Trace = Annotated[
    list[Path] | None, typer.Option(help="Your own trace; the installed series by default. Repeatable.")
]
Scenario = Annotated[Path | None, typer.Option(help="Scenario TOML; one comes with Tidegate.")]
Only = Annotated[Alone | None, typer.Option(help="Run one of the two alone.")]
Policy = Annotated[str, typer.Option(help="Policy to watch.")]
Sla = Annotated[
    float | None, typer.Option(help="Share of samples that may run short, for every class of workloads.")
]
Seed = Annotated[
    int | None, typer.Option(help="Seed instead of the scenario's.", min=0, callback=checked_seed)
]
Speed = Annotated[float, typer.Option(help="Simulated ticks per second; 0: as fast as it goes.", min=0)]
Step = Annotated[str, typer.Option(help="How often this machine is looked at, like 1s.")]
Ticks = Annotated[int | None, typer.Option(help="End after so many ticks.", min=1)]
Act = Annotated[
    bool, typer.Option("--act", help="Set limits of workloads whose autonomy is auto; needs root.")
]
Autonomy = Annotated[str, typer.Option(help="Autonomy of this machine's workloads that no rule names.")]
Workload = Annotated[
    list[str] | None,
    typer.Option(help="Which cgroups or process groups are workloads, by pattern. Repeatable."),
]
Journal = Annotated[str | None, typer.Option(help="Journal: a file, or a postgresql URL; with --only.")]
Keep = Annotated[str, typer.Option(help="How long a journal keeps what was decided, like 7d.")]
KeepSamples = Annotated[str, typer.Option(help="How long it keeps every sample, by far the most of it.")]
JournalSize = Annotated[str, typer.Option(help="Most a journal may take; the oldest goes first.")]
DayAhead = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Path model that says the coming day; 'off', or by default those active in the model store.",
    ),
]
RefitSecondsMax = Annotated[
    float, typer.Option(help="Most seconds of one core an hour of a loop's time may take of it.", min=0)
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Begin anew; the journal is moved aside.")]
InProcess = Annotated[
    bool,
    typer.Option(
        "--in-process", help="Play every part in this one process, without agents and a fleet manager."
    ),
]
Json = Annotated[Path | None, typer.Option(help="Write the figures here at the end, for machines.")]
Metrics = Annotated[
    int | None, typer.Option(help="Serve Prometheus metrics on this port of 127.0.0.1.", min=0, max=65535)
]
Svg = Annotated[Path | None, typer.Option(hidden=True, help="Save the last view here.")]
