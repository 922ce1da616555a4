"""Runs a program's one coroutine until it ends or is asked to."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import structlog

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

YOUNG_OBJECTS: Final = 10_000
"""Objects made before Python looks for cycles among them: its usual 700 are made several times a turn."""


STDIN: Final = 0
READ_BYTES: Final = 4096


def run(main: Callable[[], Coroutine[Any, Any, int]], *, until_eof: bool = False) -> int:
    """Run to the end and return the exit code; 0 where SIGTERM ended it, on uvloop where that is installed.

    With ``until_eof`` the end of standard input, a pipe, ends it, too: whoever started it is gone then. Each
    cancels the coroutine, which cleans up in its `finally`; a second Ctrl-C does not wait for that.

    Raises:
        KeyboardInterrupt: Ctrl-C ended it.
        InputError: standard input is nothing that can be waited for.

    """
    quiet_grpc()
    gc.freeze()  # what was loaded stays; nobody need look through it again
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_until_terminated(main, until_eof=until_eof))


def quiet_grpc() -> None:
    """Log to stderr, a line each, but nothing of gRPC's core: what fails there callers are told anyway."""
    log_to_stderr()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def log_to_stderr() -> None:
    """Have what is logged written to stderr, a line each, without the values of variables in tracebacks."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


async def _until_terminated(main: Callable[[], Coroutine[Any, Any, int]], *, until_eof: bool) -> int:
    task = asyncio.current_task()
    asked = asyncio.Event()

    def terminate() -> None:
        asked.set()
        if task is not None:
            task.cancel()

    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGTERM, terminate)
    if until_eof:

        def read() -> None:
            if not os.read(STDIN, READ_BYTES):
                loop.remove_reader(STDIN)
                terminate()

        try:
            loop.add_reader(STDIN, read)
        except OSError as error:  # a file, or /dev/null, is never waited for: epoll(7)
            raise InputError(
                "--until-eof is for who starts this with a pipe as its standard input"
            ) from error
    try:
        return await main()
    except asyncio.CancelledError:
        if asked.is_set():
            return 0
        raise


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
