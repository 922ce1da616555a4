"""Every command under its name; `tidegate.cli.main` runs what stands here."""

from __future__ import annotations

import typer

from tidegate.cli import bench, doctor, replay, score, trace, up

USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]
"""Typer's own usage error: its class lives in click or in Typer's copy of it, by version."""

app = typer.Typer(
    name="tidegate",
    help="Forecasts what every VM will need next and moves it there before it runs short.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command("up")(up.command)
app.command("replay")(replay.command)
app.command("score")(score.command)
app.command("doctor")(doctor.command)
app.command("bench")(bench.command)
app.add_typer(trace.app, name="trace")
