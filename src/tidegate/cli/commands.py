"""Every command under its name; `tidegate.cli.main` runs what stands here."""

from __future__ import annotations

import typer

from tidegate.cli import (
    agent,
    autonomy,
    bench,
    card,
    certs,
    device,
    doctor,
    explain,
    fleet,
    forecast,
    judge,
    league,
    migrate,
    models,
    plan,
    profile,
    release,
    replay,
    score,
    trace,
    train,
    up,
)

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
app.command("forecast")(forecast.command)
app.command("score")(score.command)
app.command("explain")(explain.command)
app.add_typer(plan.plan_app, name="plan")
app.command("profile")(profile.command)
app.command("league")(league.command)
app.add_typer(autonomy.autonomy_app, name="autonomy")
app.command("pause")(autonomy.pause)
app.command("resume")(autonomy.resume)
app.command("release")(release.command)
app.command("migrate")(migrate.command)
app.command("doctor")(doctor.command)
app.command("bench")(bench.command)
app.command("agent")(agent.command)
app.command("fleet")(fleet.command)
app.add_typer(trace.app, name="trace")
app.add_typer(certs.certs_app, name="certs")
app.command("device")(device.command)
app.add_typer(card.card_app, name="card")
app.command("train")(train.command)
models.models_app.command("judge")(judge.command)
app.add_typer(models.models_app, name="models")
