"""`tidegate forecast`: which model sees what comes on your own trace, how well, and at what cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tidegate.app.path_models import without_feeds
from tidegate.cli.asked_trace import asked_trace
from tidegate.cli.durations import duration_text, parse_duration_seconds
from tidegate.cli.feed_options import FeedOptions, feeds_for, models_with, unheard
from tidegate.cli.feeds_table import feeds_table
from tidegate.cli.files import check_writable, write_atomically
from tidegate.cli.model_names import DEFAULT_MODELS, check_engine
from tidegate.cli.numbers import checked_seed
from tidegate.cli.run_bars import run_bars
from tidegate.lab.forecasts.run import ForecastSettings, forecast_all, origins_in, runs_of
from tidegate.lab.forecasts.table import figures, rows_of
from tidegate.lab.forecasts.worth import worth_figures, worth_of_feeds
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tidegate.lab.forecasts.origins import Origins
    from tidegate.lab.forecasts.run import ForecastResult, ForecastRun
    from tidegate.lab.forecasts.table import Row
    from tidegate.lab.forecasts.worth import Worth
    from tidegate.model.trace import Trace

WIDE: Final = 110
"""Columns of a screen from which on every figure is shown."""
UNKNOWN: Final = "-"


def command(
    traces: Annotated[
        list[Path],
        typer.Argument(metavar="TRACE...", help="Trace files: Parquet or CSV in Tidegate's schema."),
    ],
    model: Annotated[
        str | None,
        typer.Option(help=f"Models to compare, comma-separated; by default {','.join(DEFAULT_MODELS)}."),
    ] = None,
    horizon: Annotated[str, typer.Option(help="How far ahead to look; several, comma-separated.")] = "1h",
    origins: Annotated[int, typer.Option(help="From how many moments to look ahead.")] = 16,
    resource: Annotated[str, typer.Option(help="Resources, comma-separated.")] = "cpu",
    feed: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=WHAT", help="A feed, as events=launches.ics; may be given again."),
    ] = None,
    feeds: Annotated[bool, typer.Option("--feeds", help="Tell what each feed is worth.")] = False,
    app_metrics: Annotated[
        bool | None,
        typer.Option(help="Use the trace's app_* and memory behaviour as feeds; by default with --feeds."),
    ] = None,
    step: Annotated[str | None, typer.Option(help="The grid's step; inferred by default.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report here.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures here, for machines.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", min=0, callback=checked_seed)] = 0,
    engine: Annotated[
        str, typer.Option(help="local: this machine; ray: a cluster, for models that can spread their work.")
    ] = "local",
    processes: Annotated[
        int | None, typer.Option(help="Processes to use; all cores by default.", min=1)
    ] = None,
) -> None:
    """Look ahead on TRACE with several models, hold what they say against what came, and compare."""
    asked = FeedOptions(specs=tuple(feed or ()), judged=feeds, app_metrics=app_metrics)
    models, left_out = models_with(asked, model, seed=seed)
    check_engine(engine, models)
    check_writable(json, report)
    horizons = _horizons(horizon)
    console = Console(stderr=True)
    _tell([*(f"left out: {reason}" for reason in left_out), *unheard(asked, models)], console)
    trace = asked_trace(traces, resource, step, console)
    settings = ForecastSettings(
        horizons_seconds=horizons,
        origins=origins,
        seed=seed,
        engine=engine,
        with_fans=report is not None,
        feeds=feeds_for(trace, asked, traces),
    )
    placed = origins_in(trace, settings)
    worth = _worth(trace, models, settings, processes, console) if feeds else []
    results = _forecast(trace, runs_of(models, trace.resources), settings, processes, console)
    if json is not None:
        said = figures(results, placed, step_seconds=trace.step_seconds, seed=seed)
        said |= {"feeds": worth_figures(worth)} if feeds else {}
        write_atomically(json, msgspec.json.format(msgspec.json.encode(said)))
    if report is not None:
        _write_report(report, trace, results, settings)
    _show(results, placed, worth, trace, seed)


def _horizons(text: str) -> tuple[int, ...]:
    """Return the horizons of a list such as ``1h,24h``, in seconds.

    Raises:
        InputError: there is none, or one is no duration.

    """
    parts = [part for part in text.split(",") if part.strip()]
    if not parts:
        raise InputError("--horizon names no time; give one or more, such as --horizon 1h,24h")
    return tuple(dict.fromkeys(parse_duration_seconds(part) for part in parts))


def _tell(notes: Sequence[str], console: Console) -> None:
    for note in notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)


def _forecast(
    trace: Trace,
    runs: Sequence[ForecastRun],
    settings: ForecastSettings,
    processes: int | None,
    console: Console,
) -> list[ForecastResult]:
    """Make the runs with a progress bar each."""
    names = [f"{run.model}, {run.resource.label}" for run in runs]
    with run_bars(names, settings.origins, console) as show:
        return forecast_all(trace, runs, settings, processes=processes, progress=show)


def _worth(
    trace: Trace, models: Sequence[str], settings: ForecastSettings, processes: int | None, console: Console
) -> list[Worth]:
    with console.status("trying each feed on the past"):
        return worth_of_feeds(trace, models[0], settings, processes=processes)


def _show(
    results: Sequence[ForecastResult], origins: Origins, worth: Sequence[Worth], trace: Trace, seed: int
) -> None:
    """Print a table per resource and horizon: of models, then of feeds."""
    screen = Console()
    for measured in trace.resources:
        own = [result for result in results if result.run.resource is measured]
        for at in range(len(origins.horizons_steps)):
            rows = rows_of(own, origins, at, step_seconds=trace.step_seconds, seed=seed)
            screen.print(_table(rows, origins, trace.step_seconds, screen.width))
    for one in worth:
        screen.print(feeds_table(one, without_feeds(results[0].run.model), screen.width))


def _write_report(
    path: Path, trace: Trace, results: Sequence[ForecastResult], settings: ForecastSettings
) -> None:
    from tidegate.lab.report.models_page import models_html

    write_atomically(path, models_html(trace, results, settings).encode())


def _table(rows: Sequence[Row], origins: Origins, step_seconds: int, width: int) -> Table:
    """Return one resource's figures at one horizon; a narrow screen gets the columns that matter most."""
    first = rows[0]
    series, without = first.measures.series, first.measures.series_without_scale
    title = (
        f"{first.resource.label}, {duration_text(first.horizon_seconds)} ahead: {series:,} series, "
        f"{len(origins.steps)} origins {duration_text(origins.steps_apart * step_seconds)} apart"
    )
    caption = f"without MASE, for no day differs from the one before: {without:,} series" if without else None
    table = Table(
        title=title,
        title_justify="left",
        caption=caption,
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    shown = [column for column in _COLUMNS if column.narrow or width >= WIDE]
    table.add_column("model", no_wrap=True)
    for column in shown:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for at, row in enumerate(rows):
        best = at == 0 and row.measures.wql is not None
        name = Text(f"{row.model} *" if best else row.model)
        table.add_row(name, *(column.text(row) for column in shown), style="bold" if best else None)
    return table


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4f}" if value < 10 else f"{value:,.3g}"


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1%}"


def _ratio(row: Row) -> str:
    return UNKNOWN if row.ratio is None else f"{row.ratio:.3f}"


def _between(row: Row) -> str:
    if row.ratio_interval is None or row.ratio == 1:
        return UNKNOWN
    return "{:.3f}-{:.3f}".format(*row.ratio_interval)


def _seconds(value: float) -> str:
    return f"{value:,.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"


class _Column(NamedTuple):
    heading: str
    narrow: bool
    text: Callable[[Row], str]


_COLUMNS: Final = (
    _Column("WQL", True, lambda row: _number(row.measures.wql)),
    _Column("to best", True, _ratio),
    _Column("95 % of draws", False, _between),
    _Column("MASE p50", True, lambda row: _number(row.measures.mase_median)),
    _Column("mean", False, lambda row: _number(row.measures.mase_mean)),
    _Column("u<=q90", True, lambda row: _percent(row.measures.coverage[0.9])),
    _Column("q95", False, lambda row: _percent(row.measures.coverage[0.95])),
    _Column("q99", True, lambda row: _percent(row.measures.coverage[0.99])),
    _Column("fit/series", False, lambda row: _seconds(row.seconds_per_series_fit)),
    _Column("predict", False, lambda row: _seconds(row.seconds_per_series_predict)),
)
