"""Worker processes that end with whoever started them, on Ctrl-C too."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POLL_SECONDS: Final = 0.2
"""How often progress is read."""


@contextmanager
def workers(
    count: int,
    start: Callable[..., None],
    *given: Any,  # noqa: ANN401 - whatever start takes
) -> Iterator[ProcessPoolExecutor]:
    """Hold a pool of spawned processes, each of which ran ``start(*given)``; on any error all are ended.

    ``start`` should call `leave_interrupts_to_the_parent`. Submit inside `interrupts_held`.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=start, initargs=given) as pool:
        try:
            yield pool
        except BaseException:
            _end(pool)  # before the shutdown, which forgets who they are
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while workers start: none is lost sight of, and nothing half-sent reaches one.

    Workers inherit that it is blocked. That alone would not hold it back here, where threads of numpy and
    polars may take the signal, so what Python does on it waits as well.
    """
    held: list[int] = []
    here = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda number, _: held.append(number)) if here else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if here:
            signal.signal(signal.SIGINT, handler)
    if held:
        signal.raise_signal(signal.SIGINT)


def leave_interrupts_to_the_parent() -> None:
    """Ignore Ctrl-C in a worker: whoever started it ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def keep_to_one_thread() -> None:
    """Let linear algebra use one thread in this process: its neighbours want the other cores.

    Libraries loaded already are told; those loaded later read the environment.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    threadpool_limits(limits=1)


def _end(pool: ProcessPoolExecutor) -> None:
    """End the workers of our own pool; they hold nothing that needs saving."""
    for process in list((pool._processes or {}).values()):  # noqa: SLF001 - no public way before 3.14
        process.terminate()
