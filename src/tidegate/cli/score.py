"""`tidegate score`: how hard each server will press on its cards, and why.

Runs the loop over a simulated fleet as `tidegate up` does, without waiting between ticks, and prints the
scores of the last tick.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tidegate.app.threads import one_blas_thread
from tidegate.app.wiring import simulated
from tidegate.cli.durations import duration_text, parse_duration_seconds
from tidegate.cli.files import check_writable, write_atomically
from tidegate.cli.numbers import checked_seed
from tidegate.cli.worlds import made_world
from tidegate.drivers.simulated.build import read_scenario
from tidegate.model.errors import InputError
from tidegate.score.card_pressure import CardPressure

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.drivers.simulated.build import World
    from tidegate.model.scores import Scores
    from tidegate.model.tick import Tick

DAY_SECONDS = 86_400


def command(
    traces: Annotated[
        list[Path] | None,
        typer.Argument(metavar="TRACE", help="Your own traces; the installed series by default."),
    ] = None,
    scenario: Annotated[Path | None, typer.Option(help="Scenario TOML; one comes with Tidegate.")] = None,
    policy: Annotated[str, typer.Option(help="Policy that holds the grants meanwhile.")] = "tidegate",
    ticks: Annotated[
        int | None,
        typer.Option(help="Score after so many ticks; one day or the trace's end by default.", min=1),
    ] = None,
    sla: Annotated[
        float | None, typer.Option(help="Share of samples that may run short, for every class of workloads.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed instead of the scenario's.", min=0, callback=checked_seed)
    ] = None,
    step: Annotated[str | None, typer.Option(help="The trace's step, like 5m; inferred by default.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the scores here, for machines.")] = None,
) -> None:
    """Score each server 0-100: what it will ask of its cards at its peak, of what they can give."""
    check_writable(json)
    wanted = read_scenario(scenario)
    if not wanted.cards:
        raise InputError(
            f"{scenario} has no cards, and a score is what servers will ask of cards; "
            "add a [[cards]] table whose 'serves' names servers"
        )
    if step is not None and not traces:
        raise InputError("--step is the step of a trace, and none was given; name one, or leave --step out")
    used_seed = wanted.seed if seed is None else seed
    world = made_world(
        wanted,
        traces or (),
        scenario=scenario,
        step_seconds=None if step is None else parse_duration_seconds(step),
        sla=sla,
        seed=used_seed,
    )
    count = min(world.trace.ticks, ticks or max(1, DAY_SECONDS // world.trace.step_seconds))
    with _progress() as bar, one_blas_thread():
        task = bar.add_task("ticks", total=count)
        tick = last_tick(world, policy, seed=used_seed, ticks=count, progress=lambda: bar.advance(task))
    if tick.scores is None:  # the scorer answers None only without cards, which was refused above
        raise InputError(f"{world.trace.name}: no server of the fleet has a card; mend 'serves' of the cards")
    if json is not None:
        content = figures(tick, world, tick.scores, policy=policy, seed=used_seed, sla=sla)
        write_atomically(json, msgspec.json.format(msgspec.json.encode(content)))
    _print(tick, world, tick.scores, Console())


def last_tick(
    world: World, policy: str, *, seed: int, ticks: int, progress: Callable[[], None] = lambda: None
) -> Tick:
    """Return the last of ``ticks`` turns of a policy's loop over the world, with scores.

    Raises:
        InputError: nobody goes by the policy's name, or the trace has fewer ticks.

    """
    loop = simulated(world, world.start(), policy_name=policy, seed=seed, scorer=CardPressure())
    for _ in range(ticks - 1):
        loop.tick()
        progress()
    last = loop.tick()
    progress()
    return last


def figures(
    tick: Tick, world: World, scores: Scores, *, policy: str, seed: int, sla: float | None
) -> dict[str, object]:
    """Return the scores in the form that machines read, highest first; a part that no card has is null."""
    rows = [
        {
            "server": scores.names[row],
            "score": float(scores.value[row]),
            "parts": {
                resource.label: _finite(scores.parts[part, row])
                for part, resource in enumerate(scores.resources)
            },
            "because": scores.because(row),
            "horizon_seconds": scores.horizon_seconds,
            "level": round(float(scores.level[row]), 6),
        }
        for row in _highest_first(scores)
    ]
    return {
        "time": f"{_when(tick):%Y-%m-%dT%H:%M:%SZ}",
        "trace": world.trace.name,
        "vms": len(world.trace.vms),
        "ticks": tick.number + 1,
        "step_seconds": world.trace.step_seconds,
        "policy": policy,
        "seed": seed,
        "sla": sla,
        "servers": rows,
    }


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _print(tick: Tick, world: World, scores: Scores, console: Console) -> None:
    span = duration_text((tick.number + 1) * world.trace.step_seconds)
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("server", no_wrap=True)
    table.add_column("score", justify="right")
    for resource in scores.resources:
        table.add_column(resource.label, justify="right")
    order = _highest_first(scores)
    for row in order:
        parts = (_part_text(float(part)) for part in scores.parts[:, row])
        table.add_row(scores.names[row], f"{scores.value[row]:.0f}", *parts)
    console.print(f"{_when(tick):%Y-%m-%d %H:%M} UTC, after {span}", highlight=False)
    console.print(table)
    for row in order:
        console.print(
            f"{scores.names[row]}: {scores.because(row)}",
            highlight=False,
            markup=False,
            soft_wrap=not console.is_terminal,
        )


def _highest_first(scores: Scores) -> list[int]:
    """Return the rows by score, then by largest part: 100 is where scores are clipped, and parts go on."""
    largest = scores.parts.max(axis=0)
    return sorted(range(scores.value.size), key=lambda row: (-scores.value[row], -largest[row], row))


def _when(tick: Tick) -> datetime:
    return datetime.fromtimestamp(tick.snapshot.time_seconds, tz=UTC)


def _finite(part: float) -> float | None:
    return float(part) if math.isfinite(part) else None


def _part_text(part: float) -> str:
    return f"{part:.0f}" if math.isfinite(part) else "no card has it"


__all__ = ["command", "figures", "last_tick"]
