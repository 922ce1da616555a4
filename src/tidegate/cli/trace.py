"""``tidegate trace``: import, describe and make up traces.

The work is done in `tidegate.lab.trace_files`; this asks for it and prints what comes back.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich import progress as bars
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidegate.cli.durations import duration_text, parse_duration_seconds
from tidegate.cli.files import check_writable, write_atomically
from tidegate.cli.journals import JournalOption, opened, with_ticks
from tidegate.cli.numbers import checked_seed
from tidegate.cli.resource_names import parse_resources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tidegate.lab.describe import Description, ResourceDescription
    from tidegate.lab.trace_files import Written

app = typer.Typer(no_args_is_help=True, help="Import, export, describe and make up traces of what VMs used.")

OutOption = Annotated[Path, typer.Option("--out", "-o", help="Parquet file to write.", dir_okay=False)]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Also write the result here, as JSON.")]


@app.command("import")
def import_command(
    source: Annotated[Path, typer.Argument(metavar="PATH", help="File or folder as downloaded.")],
    out: OutOption,
    format_name: Annotated[
        str, typer.Option("--format", help="One of azure2017, bitbrains, planetlab, prometheus.")
    ],
    json_path: JsonOption = None,
) -> None:
    """Convert a public or own archive to a trace."""
    from tidegate.lab.trace_files import import_trace

    check_writable(out, json_path)
    with _bar("importing") as progress:
        written = import_trace(source, out, format_name=format_name, progress=progress)
    _tell_written(written, json_path)


@app.command()
def generate(
    out: OutOption,
    vms: Annotated[int, typer.Option(help="Number of VMs.", min=1)] = 100,
    days: Annotated[float, typer.Option(help="Length in days.")] = 14.0,
    step: Annotated[str, typer.Option(help="Time between samples, like 5m.")] = "5m",
    seed: Annotated[
        int, typer.Option(help="The same seed gives the same trace.", min=0, callback=checked_seed)
    ] = 0,
    json_path: JsonOption = None,
) -> None:
    """Make up a synthetic trace, for trying things out: nothing in it was measured."""
    from tidegate.lab.trace_files import make_trace

    check_writable(out, json_path)
    written = make_trace(out, vms=vms, days=days, step_seconds=parse_duration_seconds(step), seed=seed)
    _tell_written(written, json_path)


@app.command()
def export(
    out: OutOption,
    last: Annotated[
        str | None, typer.Option(help="Only the last of it, like 6h; all samples kept by default.")
    ] = None,
    journal: JournalOption = None,
    json_path: JsonOption = None,
) -> None:
    """Write the samples of a journal as a trace, to be replayed under other policies."""
    from tidegate.lab.journal_trace import export_trace

    check_writable(out, json_path)
    with opened(journal) as journals:
        where = with_ticks(journals).where
    with _bar("reading") as progress:
        written = export_trace(
            where,
            out,
            last_seconds=None if last is None else parse_duration_seconds(last),
            progress=progress,
        )
    _tell_written(written, json_path)


@app.command()
def describe(
    traces: Annotated[list[Path], typer.Argument(metavar="TRACE...", help="Trace files, taken as one.")],
    resource: Annotated[
        str | None, typer.Option(help="Resources, like cpu,memory; all that the trace holds if not given.")
    ] = None,
    step: Annotated[
        str | None, typer.Option(help="Time between samples, like 5m; inferred if not given.")
    ] = None,
    json_path: JsonOption = None,
) -> None:
    """Tell what a trace holds and how predictable its VMs are."""
    from tidegate.lab.trace_files import describe_files

    check_writable(json_path)
    with _bar("reading") as progress:
        description = describe_files(
            traces,
            resources=None if resource is None else parse_resources(resource),
            step_seconds=None if step is None else parse_duration_seconds(step),
            progress=progress,
        )
    _write_json(description, json_path)
    _print_description(description, Console())


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr, where there is a person to see it, and take it away at the end."""
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("files"),
        bars.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with bars.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _tell_written(written: Written, json_path: Path | None) -> None:
    _write_json(written, json_path)
    Console(highlight=False, soft_wrap=True).print(
        escape(f"wrote {written.path}: {written.rows:,} rows of {written.vms:,} VMs")
    )


def _write_json(result: Written | Description, path: Path | None) -> None:
    if path is not None:
        write_atomically(path, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")


def _print_description(description: Description, console: Console) -> None:
    start = datetime.fromtimestamp(description.start_seconds, tz=UTC)
    facts = Table(show_header=False, box=None, pad_edge=False, title=escape(description.name))
    facts.title_justify = "left"
    facts.add_row("from", f"{start:%Y-%m-%d %H:%M} UTC")
    facts.add_row("span", duration_text(description.span_seconds))
    facts.add_row("step", duration_text(description.step_seconds))
    left_out = description.vms_without_capacity
    facts.add_row(
        "VMs", f"{description.vms:,}" + (f" ({left_out:,} without capacity left out)" if left_out else "")
    )
    if description.servers:
        facts.add_row("servers", f"{description.servers:,}")
    facts.add_row("samples present", f"{description.completeness_ratio:.1%}")
    console.print(facts)
    console.print()
    console.print(_resource_table(description.resources))
    console.print(
        "Autocorrelation: median over VMs. Time of day: share of a VM's variance that the mean of each time "
        "of day explains, at four levels over VMs.",
        style="dim",
    )


def _resource_table(resources: tuple[ResourceDescription, ...]) -> Table:
    """Return a table with a column per resource, which fits a terminal whatever the names."""
    table = Table(title="How busy and how predictable", title_justify="left")
    table.add_column("")
    for one in resources:
        table.add_column(one.resource, justify="right")
    rows: list[tuple[str, Callable[[ResourceDescription], str]]] = [
        ("samples present", lambda one: _ratio(one.completeness_ratio)),
        ("mean use", lambda one: _amount(one.used_mean, one.unit)),
        ("use of capacity", lambda one: _ratio(one.use_ratio)),
        ("VMs that vary", lambda one: f"{one.vms_varying:,}"),
        ("autocorr. 1 step", lambda one: _number(one.autocorrelation_step)),
        ("autocorr. 1 hour", lambda one: _number(one.autocorrelation_hour)),
        ("autocorr. 1 day", lambda one: _number(one.autocorrelation_day)),
        ("autocorr. 7 days", lambda one: _number(one.autocorrelation_week)),
        ("time of day, p25", lambda one: _ratio(one.time_of_day_ratio_p25)),
        ("time of day, median", lambda one: _ratio(one.time_of_day_ratio_p50)),
        ("time of day, p75", lambda one: _ratio(one.time_of_day_ratio_p75)),
        ("time of day, p90", lambda one: _ratio(one.time_of_day_ratio_p90)),
    ]
    for label, cell in rows:
        table.add_row(label, *(cell(one) for one in resources))
    return table


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _amount(value: float | None, unit: str) -> str:
    """Return an amount in the unit people read, such as 1.5 GiB."""
    if value is None:
        return "-"
    if not unit.startswith("bytes"):
        return f"{value:.3g} {unit}" if unit == "cores" else f"{value:.3g}"
    for prefix in ("", "Ki", "Mi", "Gi"):
        if value < 1024:
            return f"{value:.3g} {prefix}B{unit.removeprefix('bytes')}"
        value /= 1024
    return f"{value:,.3g} TiB{unit.removeprefix('bytes')}"
