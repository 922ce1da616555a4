"""`tidegate up`: everything on this machine: a simulated fleet to watch, and this very machine.

A policy and the safe baseline run side by side over the simulated world; this machine is observed, and
acted on only where its owner said so. Both keep a journal and go on from it.
"""

from __future__ import annotations

import math
import re
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.live import Live

from tidegate.app.machine import MachineOptions, running
from tidegate.app.side_by_side import SideBySide, identity_of
from tidegate.app.state import MACHINE, SIMULATED, state_folder
from tidegate.app.threads import one_blas_thread
from tidegate.cli.durations import parse_duration_seconds
from tidegate.cli.files import check_writable, write_atomically
from tidegate.cli.live_view import Header
from tidegate.cli.numbers import checked_seed
from tidegate.cli.turning import stopped_by_signals, turn_all
from tidegate.cli.watched import Board, WatchedFleet, WatchedMachine
from tidegate.cli.worlds import made_world
from tidegate.drivers.simulated.build import read_scenario
from tidegate.journal.sql.opening import location, moved_aside
from tidegate.journal.sql.retention import Retention
from tidegate.journal.sql.writer import is_of, opened
from tidegate.model.autonomy import level
from tidegate.model.byte_amounts import parse_bytes
from tidegate.model.errors import InputError
from tidegate.score.card_pressure import CardPressure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.app.machine import Machine
    from tidegate.app.metrics import StageMetrics
    from tidegate.drivers.simulated.build import World
    from tidegate.journal.sql.opening import Location

JOURNAL_BYTES_LEAST = 16 * 1024**2
SVG_SIZE = (124, 36)
"""Columns and rows of a saved view of the simulated fleet."""


class Only(StrEnum):
    """What to run alone."""

    SIMULATED = "simulated"
    MACHINE = "machine"


def command(
    trace: Annotated[
        list[Path] | None, typer.Option(help="Your own trace; the installed series by default. Repeatable.")
    ] = None,
    scenario: Annotated[Path | None, typer.Option(help="Scenario TOML; one comes with Tidegate.")] = None,
    only: Annotated[Only | None, typer.Option(help="Run one of the two alone.")] = None,
    policy: Annotated[str, typer.Option(help="Policy to watch.")] = "tidegate",
    sla: Annotated[
        float | None, typer.Option(help="Share of samples that may run short, for every class of workloads.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed instead of the scenario's.", min=0, callback=checked_seed)
    ] = None,
    speed: Annotated[
        float, typer.Option(help="Simulated ticks per second; 0: as fast as it goes.", min=0)
    ] = 10.0,
    step: Annotated[str, typer.Option(help="How often this machine is looked at, like 1s.")] = "1s",
    ticks: Annotated[int | None, typer.Option(help="End after so many ticks.", min=1)] = None,
    act: Annotated[
        bool, typer.Option("--act", help="Set limits of workloads whose autonomy is auto; needs root.")
    ] = False,
    autonomy: Annotated[
        str, typer.Option(help="Autonomy of this machine's workloads that no rule names.")
    ] = "observe",
    workload: Annotated[
        list[str] | None,
        typer.Option(help="Which cgroups or process groups are workloads, by pattern. Repeatable."),
    ] = None,
    journal: Annotated[
        str | None, typer.Option(help="Journal: a file, or a postgresql URL; with --only.")
    ] = None,
    keep: Annotated[str, typer.Option(help="How long a journal keeps what was decided, like 7d.")] = "7d",
    keep_samples: Annotated[
        str, typer.Option(help="How long it keeps every sample, by far the most of it.")
    ] = "1d",
    journal_size: Annotated[
        str, typer.Option(help="Most a journal may take; the oldest goes first.")
    ] = "2GiB",
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew; the journal is moved aside.")] = False,
    json: Annotated[
        Path | None, typer.Option(help="Write the figures here at the end, for machines.")
    ] = None,
    metrics: Annotated[
        int | None, typer.Option(help="Serve Prometheus metrics on this port of 127.0.0.1.", min=0, max=65535)
    ] = None,
    svg: Annotated[Path | None, typer.Option(hidden=True, help="Save the last view here.")] = None,
) -> None:
    """Watch a simulated fleet with prediction and without, and this very machine; Ctrl-C ends."""
    check_writable(json, svg)
    _check(only, speed, journal, act=act)
    retention = _retention(keep, keep_samples, journal_size)
    asked = MachineOptions(
        policy=policy,
        step_seconds=parse_duration_seconds(step),
        acts=act,
        chosen=tuple(workload or ()),
        autonomy=level(autonomy),
        violation_rate=0.01 if sla is None else sla,
        seed=seed or 0,
        retention=retention,
    )
    wanted = (
        None if only is Only.MACHINE else _wanted(scenario, trace or (), policy=policy, sla=sla, seed=seed)
    )
    fleet: WatchedFleet | None = None
    machine: WatchedMachine | None = None
    with ExitStack() as stack:
        stack.enter_context(one_blas_thread())
        stop = stack.enter_context(stopped_by_signals())
        board = Board(Console(), None, None)
        if wanted is not None:
            run = _gone_on(
                wanted,
                _location(journal, SIMULATED),
                stack,
                retention,
                fresh=fresh,
                named=journal is not None,
            )
            fleet = WatchedFleet(board, run, wanted.header(speed), ticks_per_second=speed, ticks=ticks)
        if only is not Only.SIMULATED:
            where = _location(journal, MACHINE)
            if fresh:
                _move_aside(where)
            mine = stack.enter_context(running(where, asked))
            machine = WatchedMachine(board, mine, ticks=ticks if only is Only.MACHINE else None)
        _light(board, metrics, stack)
        turn_all([loop for loop in (fleet, machine) if loop is not None], stop)
    why = f"Stopped by {stop.name}" if stop.name else "Done"
    content: dict[str, object] = {}
    if fleet is not None and wanted is not None:
        board.console.print(fleet.summary(why))
        content = figures(fleet.run, seed=wanted.seed, sla=sla, seconds=fleet.seconds)
        if svg is not None:
            write_atomically(svg, _svg(fleet).encode())
    if machine is not None:
        board.console.print(machine.summary())
        content["machine"] = machine_figures(machine.machine)
    if json is not None:
        write_atomically(json, msgspec.json.format(msgspec.json.encode(content)))


def figures(run: SideBySide, *, seed: int, sla: float | None, seconds: float) -> dict[str, object]:
    """Return the figures of both loops in the form that machines read; ``sla`` null: as the classes say."""
    places = run.world.fleet.places
    rows = [
        {
            "name": name,
            "resource": resource.label,
            "samples": int(totals.samples[row]),
            "violation_ratio": float(totals.short_ratio[row]),
            "reserved_ratio": float(totals.reserved_ratio[row]),
            "prediction": prediction,
        }
        for name, totals, prediction in (
            (run.policy_name, run.totals, True),
            (run.shadow_name, run.shadow_totals, False),
        )
        for row, resource in enumerate(run.world.trace.resources)
    ]
    return {
        "trace": run.world.trace.name,
        "vms": len(run.world.trace.vms),
        "servers": int((~places.is_card).sum()),
        "cards": int(places.is_card.sum()),
        "ticks": run.ticks,
        "step_seconds": run.world.trace.step_seconds,
        "seed": seed,
        "sla": sla,
        "seconds": round(seconds, 3),
        "policies": rows,
    }


def machine_figures(machine: Machine) -> dict[str, object]:
    """Return this machine's figures in the form that machines read: since this start, league of today."""
    resources = machine.server.resources
    behaviour = machine.server.behaviour
    return {
        "policy": machine.options.policy,
        "ticks": machine.ticks,
        "step_seconds": machine.options.step_seconds,
        "workloads": 0 if machine.last is None else len(machine.last.snapshot.roster),
        "throttled_seconds": {}
        if behaviour is None
        else {
            name: float(seconds)
            for name, seconds in zip(behaviour.roster.names, behaviour.throttled_seconds_total, strict=True)
            if math.isfinite(seconds)
        },
        "policies": [
            {"name": standing.policy, "resource": resource.label}
            | {
                "samples": standing.samples,
                "violation_ratio": standing.violation_ratio,
                "reserved_ratio": standing.reserved_ratio,
                "regret_ratio": standing.regret_ratio,
            }
            for row, resource in enumerate(resources)
            for standing in (machine.company.league.standings(row) if machine.last else ())
        ],
    }


def _check(only: Only | None, speed: float, journal: str | None, *, act: bool) -> None:
    if math.isnan(speed):
        raise InputError("--speed nan is no number of ticks per second; give one of 0 or more")
    if journal is not None and only is None:
        raise InputError("--journal is one loop's; add --only machine or --only simulated")
    if act and only is Only.SIMULATED:
        raise InputError("--act is for this machine; leave out --only simulated")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The simulated run that was asked for."""

    world: World
    scenario: str
    policy: str
    seed: int

    def header(self, speed: float) -> Header:
        return Header(
            scenario=self.scenario,
            policy=self.policy,
            sla=_sla_text(self.world.fleet.roster.violation_rate.tolist()),
            speed=f"{speed:g} ticks/s" if speed else "full speed",
        )


def _wanted(
    scenario: Path | None, traces: Sequence[Path], *, policy: str, sla: float | None, seed: int | None
) -> _Wanted:
    read = read_scenario(scenario)
    used_seed = read.seed if seed is None else seed
    world = made_world(read, traces, scenario=scenario, step_seconds=None, sla=sla, seed=used_seed)
    name = "default scenario" if scenario is None else scenario.stem
    return _Wanted(world=world, scenario=name, policy=policy, seed=used_seed)


def _gone_on(
    wanted: _Wanted,
    where: Location,
    stack: ExitStack,
    retention: Retention,
    *,
    fresh: bool,
    named: bool,
) -> SideBySide:
    """Return the run, gone on from its journal; one of another fleet is moved aside unless it was named."""
    identity = identity_of(wanted.world, policy_name=wanted.policy, seed=wanted.seed)
    if fresh or not (named or is_of(where, identity)):
        _move_aside(where)
    journal = stack.enter_context(opened(where, identity, retention))
    run = SideBySide(
        wanted.world, policy_name=wanted.policy, seed=wanted.seed, scorer=CardPressure(), journal=journal
    )
    run.go_on(where)
    if run.fleet.ticks_left == 0:
        raise InputError(f"the journal {where.name} has reached the trace's end; begin anew with --fresh")
    return run


def _retention(keep: str, keep_samples: str, journal_size: str) -> Retention:
    bytes_max = int(parse_bytes(journal_size))
    if bytes_max < JOURNAL_BYTES_LEAST:
        raise InputError(f"--journal-size {journal_size} is too little for a journal; give 16MiB or more")
    return Retention(
        keep_seconds=parse_duration_seconds(keep),
        samples_seconds=parse_duration_seconds(keep_samples),
        bytes_max=bytes_max,
    )


def _location(journal: str | None, name: str) -> Location:
    return location(str(state_folder() / name) if journal is None else journal)


def _move_aside(where: Location) -> None:
    aside = moved_aside(where)
    if aside is not None:
        sys.stderr.write(f"the journal before this one is now {aside}\n")


def _light(board: Board, metrics: int | None, stack: ExitStack) -> None:
    """Show what is to come live, where there is a terminal, and to Prometheus, where that was asked for."""
    board.metrics = None if metrics is None else _served(metrics, stack)
    if board.console.is_terminal:
        board.live = stack.enter_context(Live(console=board.console, screen=True, auto_refresh=False))


def _served(port: int, stack: ExitStack) -> StageMetrics:
    from tidegate.app.metrics import StageMetrics

    served = StageMetrics(port)
    stack.callback(served.close)
    sys.stderr.write(f"metrics on http://127.0.0.1:{served.port}/metrics\n")
    return served


def _sla_text(rates: list[float]) -> str:
    low, high = (f"{100 * rate:.3g}" for rate in (min(rates), max(rates)))
    return f"{low} %" if low == high else f"{low} to {high} %"


def _svg(fleet: WatchedFleet) -> str:
    columns, rows = SVG_SIZE
    console = Console(
        record=True,
        width=columns,
        height=rows,
        file=StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )
    console.print(fleet.drawn(SVG_SIZE))
    # A picture fetches nothing: the font is whatever monospace the reader has.
    return re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="tidegate up"), flags=re.DOTALL)


__all__ = ["command", "figures", "machine_figures"]
