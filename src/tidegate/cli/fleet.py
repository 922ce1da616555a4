"""`tidegate fleet`: looks at all cards of a cell, and moves applications to where they are served best."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from tidegate.agents.fleet.program import FleetOptions, run_fleet
from tidegate.agents.running import run
from tidegate.app.state import FLEET, state_folder
from tidegate.app.threads import one_blas_thread
from tidegate.cli.durations import parse_duration_seconds
from tidegate.cli.named_addresses import named_addresses
from tidegate.cli.until_eof import UntilEof
from tidegate.model.application import checked_name
from tidegate.model.autonomy import level
from tidegate.plan.cards import CardPlanner

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.agents.fleet.records import FleetTick


def command(
    card: Annotated[
        list[str], typer.Option(help="A card and where its device listens, NAME=ADDRESS. Repeatable.")
    ],
    listen: Annotated[
        str, typer.Option(help="Where to serve: unix:/path or tcp:host:port.")
    ] = "tcp:127.0.0.1:7420",
    state: Annotated[Path | None, typer.Option(help="Folder where placement is written down.")] = None,
    certs: Annotated[Path | None, typer.Option(help="Folder of the fleet manager's certificate.")] = None,
    every: Annotated[str, typer.Option(help="From one look at the cards to the next, like 10s.")] = "10s",
    dwell: Annotated[
        str, typer.Option(help="How long who has moved, or was just found, stays where it is, like 2m.")
    ] = "2m",
    fenced: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A card that left for good and surely runs nothing: what it had is placed anew. Repeatable.",
        ),
    ] = None,
    autonomy: Annotated[
        str, typer.Option(help="Autonomy of applications that no rule names: observe, recommend, auto.")
    ] = "auto",
    ticks: Annotated[int | None, typer.Option(min=1, help="End after so many looks.")] = None,
    until_eof: UntilEof = False,
) -> None:
    """Own which card each application is on: take in, move to where it is served best, empty what is drained.

    Cards go on without it. Ctrl-C ends.
    """
    options = FleetOptions(
        cards=named_addresses("--card", card),
        folder=state if state is not None else state_folder() / FLEET,
        listen=listen,
        every_seconds=parse_duration_seconds(every),
        certificates=certs,
        autonomy=level(autonomy),
        fenced=frozenset(checked_name("a card", name) for name in fenced or ()),
        planner=CardPlanner(dwell_seconds=parse_duration_seconds(dwell)),
    )
    console = Console(stderr=True)

    def listening(address: str) -> None:
        console.print(
            f"fleet of {len(options.cards)} cards, serving on {address}; Ctrl-C ends", highlight=False
        )

    with one_blas_thread():
        code = run(
            lambda: run_fleet(options, listening=listening, seen=_seen(console), ticks=ticks),
            until_eof=until_eof,
        )
    raise typer.Exit(code)


def _seen(console: Console) -> Callable[[FleetTick], None]:
    """Return what tells people what is new after each look."""
    silent: dict[str, str] = {}

    def seen(tick: FleetTick) -> None:
        for event in tick.events:
            console.print(f"{escape(event.about)}: {escape(event.sentence)}", highlight=False)
        for name in tick.silent.keys() - silent.keys():
            console.print(f"card {escape(name)} is silent: {escape(tick.silent[name])}", highlight=False)
        for name in silent.keys() - tick.silent.keys():
            console.print(f"card {escape(name)} is heard", highlight=False)
        silent.clear()
        silent.update(tick.silent)

    return seen
