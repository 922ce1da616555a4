"""Every command under its name; `tidegate.cli.main` runs what stands here.

A command's module is imported when that command is asked for, and no other's: an agent loads no trainer. Only
`tidegate --help` and completions import all, for the sentence that each begins with.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

if TYPE_CHECKING:
    from types import ModuleType

USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]
"""Typer's own usage error: its class lives in click or in Typer's copy of it, by version."""

COMMANDS: Final = {
    "up": ("up", "command"),
    "replay": ("replay", "command"),
    "forecast": ("forecast", "command"),
    "score": ("score", "command"),
    "explain": ("explain", "command"),
    "profile": ("profile", "command"),
    "league": ("league", "command"),
    "pause": ("autonomy", "pause"),
    "resume": ("autonomy", "resume"),
    "release": ("release", "command"),
    "migrate": ("migrate", "command"),
    "doctor": ("doctor", "command"),
    "bench": ("bench", "command"),
    "agent": ("agent", "command"),
    "fleet": ("fleet", "command"),
    "device": ("device", "command"),
    "train": ("train", "command"),
    "plan": ("plan", "plan_app"),
    "autonomy": ("autonomy", "autonomy_app"),
    "trace": ("trace", "app"),
    "certs": ("certs", "certs_app"),
    "card": ("card", "card_app"),
    "vral": ("vral", "vral_app"),
    "models": ("model_commands", "models_app"),
}
"""By name, in the order of `--help`: the module in `tidegate.cli`, and what in it is the command."""
MARKUP: Final = "markdown"


class WhenAsked(MutableMapping[str, Any]):
    """Commands by name, each built from its module when it is first asked for."""

    def __init__(self) -> None:
        """Build none yet."""
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - a class of click, or of Typer's copy of it
        if name not in self._built:
            self._built[name] = _built(name)
        return self._built[name]

    def __setitem__(self, name: str, command: Any) -> None:  # noqa: ANN401 - as above
        self._built[name] = command

    def __delitem__(self, name: str) -> None:
        raise NotImplementedError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Commands(TyperGroup):
    """The group of all commands."""

    def __init__(self, **given: Any) -> None:  # noqa: ANN401 - Typer's own arguments
        """Know names only."""
        super().__init__(**given)
        self.commands = WhenAsked()

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - click's context
        """Return all names, and import nothing."""
        return list(self.commands)


app = typer.Typer(
    name="tidegate",
    cls=Commands,
    help="Forecasts what every VM will need next and moves it there before it runs short.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=MARKUP,
)


@app.callback()
def _tidegate() -> None:
    """Let Typer see a group: its commands are not registered, they come when they are asked for."""


def _built(name: str) -> Any:  # noqa: ANN401 - as above
    """Return a command as click has it.

    Raises:
        KeyError: nothing goes by that name.

    """
    where, what = COMMANDS[name]
    module: ModuleType = import_module(f"tidegate.cli.{where}")
    of = getattr(module, what)
    one = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=MARKUP)
    if isinstance(of, typer.Typer):
        one.add_typer(of, name=name)
    else:
        one.command(name)(of)
    return get_group(one).commands[name]
