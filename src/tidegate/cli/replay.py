"""`tidegate replay`: what each policy would have reserved, and broken, on your own trace."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tidegate.app.registry import ENGINE, PLAIN_MODEL
from tidegate.cli.asked_trace import asked_trace
from tidegate.cli.durations import parse_duration_seconds
from tidegate.cli.files import check_writable, write_atomically
from tidegate.cli.numbers import LEAD_MAX, checked_seed
from tidegate.cli.policy_names import parse_policies
from tidegate.cli.run_bars import run_bars
from tidegate.lab.replay import (
    ReplaySettings,
    check,
    gap_closed,
    replay_all,
    runs_of,
)
from tidegate.lab.series_record import check_ending, encoded, rows
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tidegate.lab.measures import Measures
    from tidegate.lab.replay import Run, RunResult
    from tidegate.model.trace import Trace

WIDE = 110
"""Columns of a screen from which on every figure is shown."""
DEFAULT_POLICIES = "vpa,calibrated_reactive,tidegate,oracle"


def command(
    traces: Annotated[list[Path], typer.Argument(help="Trace files: Parquet or CSV in Tidegate's schema.")],
    policy: Annotated[str, typer.Option(help="Policies to compare, comma-separated.")] = DEFAULT_POLICIES,
    resource: Annotated[str, typer.Option(help="Resources, comma-separated.")] = "cpu,memory",
    sla: Annotated[float, typer.Option(help="Share of samples that may run short, in (0, 0.5].")] = 0.01,
    censored: Annotated[
        bool, typer.Option("--censored", help="Hide demand above the grant, as production does.")
    ] = False,
    model: Annotated[str, typer.Option(help="Forecaster behind tidegate.")] = ENGINE,
    forecasting: Annotated[
        bool, typer.Option("--forecast/--no-forecast", help="Whether tidegate may use its forecast.")
    ] = True,
    warmup: Annotated[str, typer.Option(help="Time at the start that is not measured.")] = "7d",
    decide_every: Annotated[
        str | None, typer.Option(help="Time between decisions; the step by default.")
    ] = None,
    step: Annotated[str | None, typer.Option(help="The grid's step; inferred by default.")] = None,
    lead: Annotated[int, typer.Option(help="Steps until a decision takes effect.", min=1, max=LEAD_MAX)] = 1,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report here.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures here, for machines.")] = None,
    per_vm: Annotated[
        Path | None,
        typer.Option(help="Write each VM's figures, model, skill and coverage here (.csv, .parquet)."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", min=0, callback=checked_seed)] = 0,
    engine: Annotated[str, typer.Option(help="local: all cores of this machine.")] = "local",
    processes: Annotated[
        int | None, typer.Option(help="Processes to use; all cores by default.", min=1)
    ] = None,
) -> None:
    """Replay TRACES through policies and compare what they reserve and what they break."""
    if engine != "local":
        raise InputError(f"--engine {engine} is not available yet; use --engine local")
    policies = parse_policies(policy)
    check_ending(per_vm)
    check_writable(json, per_vm, report)
    warmup_seconds = parse_duration_seconds(warmup)
    decide_seconds = None if decide_every is None else parse_duration_seconds(decide_every)
    console = Console(stderr=True)
    trace = asked_trace(traces, resource, step, console)
    settings = ReplaySettings(
        sla=sla,
        warmup_seconds=warmup_seconds,
        decide_every_seconds=trace.step_seconds if decide_seconds is None else decide_seconds,
        lead_steps=lead,
        censored=censored,
        seed=seed,
        model=model if forecasting else PLAIN_MODEL,
    )
    check(settings, trace)
    runs = runs_of(policies, settings, frontier=report is not None)
    results = _replayed(trace, runs, settings, processes, console)
    _write(trace, results, settings, json=json, per_vm=per_vm, report=report)
    screen = Console()
    for row, measured in enumerate(trace.resources):
        screen.print(_table(measured, row, results, settings, screen.width))


def _replayed(
    trace: Trace, runs: Sequence[Run], settings: ReplaySettings, processes: int | None, console: Console
) -> list[RunResult]:
    """Make the runs with a progress bar each."""
    names = [f"{run.policy} at {run.sla:g}" for run in runs]
    with run_bars(names, trace.ticks, console) as show:
        return replay_all(trace, runs, settings, processes=processes, progress=show)


def _write(
    trace: Trace,
    results: Sequence[RunResult],
    settings: ReplaySettings,
    *,
    json: Path | None,
    per_vm: Path | None,
    report: Path | None,
) -> None:
    """Write each file that was asked for, whole or not at all."""
    if json is not None:
        write_atomically(json, msgspec.json.format(msgspec.json.encode(figures(trace, results, settings))))
    if per_vm is not None:
        write_atomically(per_vm, encoded(rows(trace, results), per_vm))
    if report is not None:
        _write_report(report, trace, results, settings)


def figures(trace: Trace, results: Sequence[RunResult], settings: ReplaySettings) -> dict[str, object]:
    """Return the figures of the requested SLA in the form that machines read."""
    asked = [result for result in results if result.run.sla == settings.sla]
    policies = [
        {"name": result.run.policy, "resource": resource.label, "sla": settings.sla}
        | asdict(result.measures[row])
        | {"gap_closed": _gap_closed(asked, row, result.measures[row]), "seconds": round(result.seconds, 3)}
        for result in asked
        for row, resource in enumerate(trace.resources)
    ]
    return {
        "trace": trace.name,
        "vms": len(trace.vms),
        "ticks": trace.ticks,
        "step_seconds": trace.step_seconds,
        "warmup_seconds": settings.warmup_seconds,
        "seed": settings.seed,
        "model": settings.model,
        "policies": policies,
    }


def _gap_closed(results: Sequence[RunResult], row: int, of: Measures) -> float | None:
    by_name = {result.run.policy: result.measures[row] for result in results}
    return gap_closed(of, by_name.get("calibrated_reactive"), by_name.get("oracle"))


def _write_report(path: Path, trace: Trace, results: Sequence[RunResult], settings: ReplaySettings) -> None:
    from tidegate.lab.report import report_html

    write_atomically(path, report_html(trace, results, settings).encode())


def _table(
    resource: Resource, row: int, results: Sequence[RunResult], settings: ReplaySettings, width: int
) -> Table:
    """Return one resource's figures; a narrow screen gets the columns that matter most."""
    asked = [result for result in results if result.run.sla == settings.sla]
    title = f"{resource.label}, SLA {settings.sla:.4g}: {settings.sla:.4%} of samples may run short"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown = [column for column in _COLUMNS if column.narrow or width >= WIDE]
    table.add_column("policy", no_wrap=True)
    for column in shown:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for result in asked:
        closed = _gap_closed(asked, row, result.measures[row])
        table.add_row(result.run.policy, *(column.text(result, row, closed) for column in shown))
    return table


class _Column(NamedTuple):
    heading: str
    narrow: bool
    text: Callable[[RunResult, int, float | None], str]


_COLUMNS: Final = (
    _Column("reserved", True, lambda of, row, _: f"{of.measures[row].reserved_ratio:.2%}"),
    _Column("violations", True, lambda of, row, _: f"{of.measures[row].violation_ratio:.3%}"),
    _Column("in SLA", True, lambda of, row, _: f"{of.measures[row].vms_within_sla_ratio:.1%}"),
    _Column("unmet", True, lambda of, row, _: f"{of.measures[row].unmet_ratio:.3%}"),
    _Column("slack", False, lambda of, row, _: f"{of.measures[row].slack_ratio:.1%}"),
    _Column("changes p50", False, lambda of, row, _: f"{of.measures[row].changes_per_vm_day_p50:.1f}"),
    _Column("p99/day", True, lambda of, row, _: f"{of.measures[row].changes_per_vm_day_p99:.1f}"),
    _Column("gap closed", False, lambda _of, _row, closed: "-" if closed is None else f"{closed:.1%}"),
    _Column("seconds", False, lambda of, _row, _: f"{of.seconds:.1f}"),
)
