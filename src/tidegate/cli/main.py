"""`tidegate`: the entry point. Turns errors into one sentence on stderr and an exit code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from tidegate.cli import bench, replay, score, trace, up
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
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
app.command("bench")(bench.command)
app.add_typer(trace.app, name="trace")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; never shows a traceback for something the user can mend."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 wrong usage or bad input."""
    try:
        result = app(args=arguments, standalone_mode=False, prog_name="tidegate")
    except USAGE_ERROR as error:
        return _fail(_sentence(error), EXIT_USAGE)
    except typer.Abort:
        return _fail("interrupted; nothing was left half-written", EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was left half-written", EXIT_INTERRUPTED)
    except InputError as error:
        return _fail(str(error), EXIT_USAGE)
    except TidegateError as error:
        return _fail(str(error), EXIT_FAILED)
    return result if isinstance(result, int) else 0


def _sentence(error: Exception) -> str:
    """Return what Typer says of wrong usage, and where to read on."""
    said = str(getattr(error, "format_message", lambda: error)())
    return f"{said.rstrip('.')}; tidegate --help lists commands, tidegate COMMAND --help their options"


def _fail(sentence: str, code: int) -> int:
    sys.stderr.write(f"tidegate: {sentence}\n")
    return code


if __name__ == "__main__":
    main()
