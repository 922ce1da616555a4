"""`tidegate models`: which trained models there are, and which of them decide."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from tidegate.app.artefacts import Stage, model_store, open_model
from tidegate.cli.doctor import printable
from tidegate.cli.files import check_writable, write_atomically
from tidegate.cli.model_views import in_order, listed, shown
from tidegate.drivers.local.clock import SystemClock
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from tidegate.app.artefacts import Held, ModelStore, Moved

COLUMNS_MAX: Final = 1000
"""Width where nobody looks on, as of `| grep`: a model stays on one line."""

models_app = typer.Typer(help="Trained models: look, compare, promote, roll back.", no_args_is_help=True)

ModelsOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where models are kept; in $XDG_STATE_HOME/tidegate by default."),
]
JsonOption = Annotated[Path | None, typer.Option(help="Write what is there now here, for machines.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="What the model is called.")]


@models_app.callback()
def _models() -> None:
    """Look after trained models."""


@models_app.command("list")
def list_command(models: ModelsOption = None, json: JsonOption = None) -> None:
    """List all models by kind and resource, those that decide first."""
    check_writable(json)
    store = model_store(models, SystemClock())
    held = in_order(store.held())
    if json is not None:
        _write(json, {"models": [figures(one) for one in held]})
    console = _console()
    if not held:
        where = printable(str(store.folder))
        _say(console, f"There is no trained model in {where} yet. Train one:")
        _say(console, "  tidegate train --model lstm TRACE -o NAME")
        return
    for part in listed(held, console.width):
        console.print(part)


@models_app.command("show")
def show(name: NameArgument, models: ModelsOption = None, json: JsonOption = None) -> None:
    """Show what a model is, what it learned from, how good it was, and how it came to its stage."""
    check_writable(json)
    store = model_store(models, SystemClock())
    card = open_model(store.path(name)).card
    one = _one(store, name)
    record = store.record(name)
    if json is not None:
        _write(json, {**figures(one), "card": card, "life": one.life, "record": record})
    console = _console()
    if one.life is not None:
        for part in shown(card, one.life, record):
            console.print(part)


@models_app.command("promote")
def promote(name: NameArgument, models: ModelsOption = None, json: JsonOption = None) -> None:
    """Move a model on: a candidate into shadow, then to active if it was better there than what is active."""
    check_writable(json)
    store = model_store(models, SystemClock())
    moved = store.promote(name)
    _tell(store, moved, json)
    if moved.other is not None:
        _say(_console(), f"'tidegate models rollback {name}' brings '{moved.other.name}' back.")
    elif moved.life.stage is Stage.SHADOW:
        _say(_console(), f"Next: 'tidegate models judge {name} TRACE', on a trace of after what it has seen.")


@models_app.command("retire")
def retire(name: NameArgument, models: ModelsOption = None, json: JsonOption = None) -> None:
    """Put a model out of use for good; where it was active, no trained model decides then."""
    check_writable(json)
    store = model_store(models, SystemClock())
    _tell(store, store.retire(name), json)


@models_app.command("rollback")
def rollback(name: NameArgument, models: ModelsOption = None, json: JsonOption = None) -> None:
    """Take an active model back: the one it replaced is active again, exactly as it was."""
    check_writable(json)
    store = model_store(models, SystemClock())
    _tell(store, store.rollback(name), json)


@models_app.command("verify")
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Only these; all by default.")
    ] = None,
    models: ModelsOption = None,
    json: JsonOption = None,
) -> None:
    """Read every byte of every model and say which were altered; exit 1 if any was."""
    check_writable(json)
    store = model_store(models, SystemClock())
    wanted = list(dict.fromkeys(names)) if names else store.names()
    found = {name: _problem(store, name) for name in wanted}
    if json is not None:
        _write(json, {"models": [{"name": name, "problem": problem} for name, problem in found.items()]})
    console = _console()
    for name, problem in found.items():
        line = Text(f"{printable(name)}: ")
        line.append("whole" if problem is None else printable(problem), "green" if problem is None else "red")
        console.print(line, soft_wrap=not console.is_terminal)
    damaged = [name for name, problem in found.items() if problem is not None]
    if damaged:
        raise TidegateError(
            f"{len(damaged)} of {len(found)} models can't be used: {', '.join(damaged)}; "
            "restore them from a copy, or train anew"
        )
    if not found:
        _say(console, f"There is no trained model in {printable(str(store.folder))} yet.")


def figures(one: Held) -> dict[str, object]:
    """Return a model in the form that machines read."""
    card, life = one.card, one.life
    return {
        "name": one.name,
        "stage": None if life is None else life.stage,
        "kind": None if card is None else card.kind,
        "resource": None if card is None else card.resource,
        "step_seconds": None if card is None else card.step_seconds,
        "created": None if card is None else card.created,
        "size_bytes": None if card is None else card.weights_bytes,
        "scores": [] if card is None else card.scores,
        "problem": one.problem,
    }


def _tell(store: ModelStore, moved: Moved, json: Path | None) -> None:
    """Say what a change came to."""
    lives = [moved.life] if moved.other is None else [moved.life, moved.other]
    if json is not None:
        _write(json, {"models": [figures(_one(store, life.name)) for life in lives]})
    console = _console()
    for life in lives:
        _say(
            console,
            f"'{life.name}' is now {life.stage} ({life.kind}, {life.resource}): {life.history[-1].why}.",
        )


def _one(store: ModelStore, name: str) -> Held:
    return next(one for one in store.held() if one.name == name)


def _problem(store: ModelStore, name: str) -> str | None:
    try:
        open_model(store.path(name))
        store.record(name)
    except InputError as error:
        return str(error)
    return None


def _console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = COLUMNS_MAX
    return console


def _say(console: Console, text: str) -> None:
    console.print(Text(printable(text)), soft_wrap=not console.is_terminal)


def _write(path: Path, content: dict[str, object]) -> None:
    write_atomically(path, msgspec.json.format(msgspec.json.encode(content)))


__all__ = ["ModelsOption", "figures", "models_app"]
