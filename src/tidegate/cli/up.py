"""`tidegate up`: everything on this machine: a simulated fleet to watch, and this very machine.

A policy and the safe baseline run side by side over the simulated world; this machine is observed, and
acted on only where its owner said so. Both keep a journal and go on from it.
"""

from __future__ import annotations

import math
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.live import Live

from tidegate.app.day_ahead import REFIT_SECONDS_MAX, DayAheadOptions
from tidegate.app.machine import MachineOptions, in_this_process, running
from tidegate.app.registry import policy as known_policy
from tidegate.app.side_by_side import SideBySide, identity_of
from tidegate.app.state import MACHINE, SIMULATED, state_folder
from tidegate.app.threads import one_blas_thread
from tidegate.cli import up_options as options
from tidegate.cli.durations import parse_duration_seconds
from tidegate.cli.files import check_writable, write_atomically
from tidegate.cli.live_view import Header
from tidegate.cli.turning import stopped_by_signals, turn_all
from tidegate.cli.up_beside import beside, simulated_arguments
from tidegate.cli.up_figures import figures, machine_figures, picture
from tidegate.cli.up_options import Alone
from tidegate.cli.watched import Board, WatchedFleet, WatchedMachine
from tidegate.cli.worlds import made_world
from tidegate.drivers.simulated.build import read_scenario
from tidegate.journal.sql.aside import moved_aside
from tidegate.journal.sql.identity import is_of
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.retention import Retention
from tidegate.journal.sql.writer import opened
from tidegate.model.autonomy import level
from tidegate.model.byte_amounts import parse_bytes
from tidegate.model.errors import InputError
from tidegate.score.card_pressure import CardPressure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from tidegate.app.metrics import StageMetrics
    from tidegate.cli.turning import Stop
    from tidegate.cli.up_beside import Beside
    from tidegate.drivers.simulated.build import World
    from tidegate.journal.sql.opening import Location

JOURNAL_BYTES_LEAST = 16 * 1024**2
SLA_USUAL = 0.01
"""Of this machine's workloads, where none is given."""


def command(
    trace: options.Trace = None,
    scenario: options.Scenario = None,
    only: options.Only = None,
    policy: options.Policy = "tidegate",
    sla: options.Sla = None,
    seed: options.Seed = None,
    speed: options.Speed = 10.0,
    step: options.Step = "1s",
    ticks: options.Ticks = None,
    act: options.Act = False,
    autonomy: options.Autonomy = "observe",
    workload: options.Workload = None,
    journal: options.Journal = None,
    keep: options.Keep = "7d",
    keep_samples: options.KeepSamples = "1d",
    journal_size: options.JournalSize = "2GiB",
    day_ahead: options.DayAhead = None,
    refit_seconds_max: options.RefitSecondsMax = REFIT_SECONDS_MAX,
    fresh: options.Fresh = False,
    in_process: options.InProcess = False,
    json: options.Json = None,
    metrics: options.Metrics = None,
    svg: options.Svg = None,
) -> None:
    """Watch a simulated fleet with prediction and without, and this very machine; Ctrl-C ends."""
    check_writable(json, svg)
    _check(only, speed, journal, act=act, trace=trace, scenario=scenario, workload=workload)
    known_policy(policy)
    retention = _retention(keep, keep_samples, journal_size)
    ahead = DayAheadOptions(model=day_ahead, refit_seconds_max=refit_seconds_max)
    machine = MachineOptions(
        policy=policy,
        step_seconds=parse_duration_seconds(step),
        acts=act,
        chosen=tuple(workload or ()),
        autonomy=level(autonomy),
        violation_rate=SLA_USUAL if sla is None else sla,
        seed=seed or 0,
        retention=retention,
        day_ahead=ahead,
    )
    asked = _Asked(
        fleet=None
        if only is Alone.MACHINE
        else _wanted(scenario, trace or (), policy=policy, sla=sla, seed=seed),
        machine=None if only is Alone.SIMULATED else machine,
        retention=retention,
        day_ahead=ahead,
        journal=journal,
        fresh=fresh,
        in_process=in_process,
        ticks=ticks,
        ticks_per_second=speed,
    )
    ran = _run(asked, metrics)
    content = _summed_up(ran, asked, sla)
    if json is not None:
        write_atomically(json, msgspec.json.format(msgspec.json.encode(content)))
    if svg is not None and ran.fleet is not None:
        write_atomically(svg, picture(ran.fleet).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What to run, and how."""

    fleet: _Wanted | None
    machine: MachineOptions | None
    retention: Retention
    day_ahead: DayAheadOptions
    journal: str | None
    fresh: bool
    in_process: bool
    ticks: int | None
    ticks_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ran:
    """What was run, and why it ended."""

    console: Console
    fleet: WatchedFleet | None
    machine: WatchedMachine | None
    why: str
    processes: list[dict[str, object]]
    """Each one's name and number; none where this is the only one."""


def _run(asked: _Asked, metrics: int | None) -> _Ran:
    """Run what was asked for until it is done, or somebody ends it."""
    fleet: WatchedFleet | None = None
    machine: WatchedMachine | None = None
    with ExitStack() as stack:
        stack.enter_context(one_blas_thread())
        stop = stack.enter_context(stopped_by_signals())
        board = Board(Console(), None, None)
        stack.callback(board.close)
        others = None if asked.in_process else stack.enter_context(_started(asked, stop, board))
        if asked.fleet is not None:
            run = _gone_on(asked.fleet, asked, stack, others)
            header = asked.fleet.header(asked.ticks_per_second)
            fleet = WatchedFleet(
                board, run, header, ticks_per_second=asked.ticks_per_second, ticks=asked.ticks
            )
            if others is not None:
                others.watch_fleet(fleet, run)
        if asked.machine is not None:
            where = _location(asked.journal, MACHINE)
            if asked.fresh:
                _move_aside(where)
            watched = in_this_process if others is None else others.machine
            mine = stack.enter_context(running(where, asked.machine, watched))
            _warn(() if fleet is not None else mine.notes)
            # Beside the fleet it goes on until that is done.
            machine = WatchedMachine(board, mine, ticks=asked.ticks if fleet is None else None)
            if others is not None:
                others.watch_machine(machine, mine)
        if others is not None:
            others.complete()
        _light(board, metrics, stack)
        turn_all([loop for loop in (fleet, machine) if loop is not None], stop, others)
        processes = [] if others is None else others.told()
    why = f"Stopped by {stop.name}" if stop.name else "Done"
    return _Ran(console=board.console, fleet=fleet, machine=machine, why=why, processes=processes)


def _started(asked: _Asked, stop: Stop, board: Board) -> AbstractContextManager[Beside]:
    """Return what runs beside this process."""
    fleet = asked.fleet
    return beside(
        stop,
        board,
        machine=asked.machine,
        world=None if fleet is None else fleet.world,
        simulated=() if fleet is None else fleet.arguments,
    )


def _summed_up(ran: _Ran, asked: _Asked, sla: float | None) -> dict[str, object]:
    """Say what came of it, and return the figures for machines."""
    content: dict[str, object] = {}
    if ran.fleet is not None and asked.fleet is not None:
        ran.console.print(ran.fleet.summary(ran.why))
        content = figures(ran.fleet.run, seed=asked.fleet.seed, sla=sla, seconds=ran.fleet.seconds)
    if ran.machine is not None:
        ran.console.print(ran.machine.summary())
        content["machine"] = machine_figures(ran.machine.machine)
    if ran.processes:
        content["processes"] = ran.processes
    return content


def _check(
    only: Alone | None,
    speed: float,
    journal: str | None,
    *,
    act: bool,
    trace: list[Path] | None,
    scenario: Path | None,
    workload: list[str] | None,
) -> None:
    if math.isnan(speed):
        raise InputError("--speed nan is no number of ticks per second; give one of 0 or more")
    if journal is not None and only is None:
        raise InputError("--journal is one loop's; add --only machine or --only simulated")
    if act and only is Alone.SIMULATED:
        raise InputError("--act is for this machine; leave out --only simulated")
    for option, given, of in (
        ("--trace", trace, Alone.SIMULATED),
        ("--scenario", scenario, Alone.SIMULATED),
        ("--workload", workload, Alone.MACHINE),
    ):
        if given and only is not None and only is not of:
            raise InputError(f"{option} says nothing to --only {only}; leave out one of them")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The simulated run that was asked for."""

    world: World
    scenario: str
    policy: str
    seed: int
    arguments: Sequence[str]
    """What tells an agent to simulate the same fleet."""

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
    arguments = simulated_arguments(scenario, traces, sla=sla, seed=used_seed)
    return _Wanted(world=world, scenario=name, policy=policy, seed=used_seed, arguments=arguments)


def _gone_on(wanted: _Wanted, asked: _Asked, stack: ExitStack, others: Beside | None) -> SideBySide:
    """Return the run, gone on from its journal; one of another fleet is moved aside unless it was named."""
    where = _location(asked.journal, SIMULATED)
    identity = identity_of(wanted.world, policy_name=wanted.policy, seed=wanted.seed)
    if asked.fresh or not (asked.journal is not None or is_of(where, identity)):
        _move_aside(where)
    journal = stack.enter_context(opened(where, identity, asked.retention))
    run = SideBySide(
        wanted.world,
        policy_name=wanted.policy,
        seed=wanted.seed,
        scorer=CardPressure(),
        journal=journal,
        day_ahead=asked.day_ahead,
        fleet=None if others is None else others.fleet,
    )
    stack.callback(run.close)
    _warn(run.notes)
    run.go_on(where)
    if run.fleet.ticks_left == 0:
        raise InputError(f"the journal {where.name} has reached the trace's end; begin anew with --fresh")
    if others is not None:
        others.begin()
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


def _warn(notes: Sequence[str]) -> None:
    for note in notes:
        sys.stderr.write(f"{note}\n")


def _light(board: Board, metrics: int | None, stack: ExitStack) -> None:
    """Show what is to come live, where there is a terminal, and to Prometheus, where that was asked for."""
    board.metrics = None if metrics is None else _served(metrics, stack)
    if board.console.is_terminal and not board.console.is_dumb_terminal:
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


__all__ = ["command"]
