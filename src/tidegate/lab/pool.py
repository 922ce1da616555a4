"""Makes independent runs side by side on a process pool, with progress, and ends cleanly on Ctrl-C."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

POLL_SECONDS = 0.2
"""How often progress is read."""

Given = TypeVar("Given")
Run = TypeVar("Run")
Result = TypeVar("Result")

_worker: dict[str, Any] = {}
"""What one worker process was given at its start; empty in the parent."""


def run_all(
    work: Callable[[Given, Run, Callable[[int], None]], Result],
    given: Given,
    runs: Sequence[Run],
    *,
    processes: int | None = None,
    progress: Callable[[Sequence[int]], None] = lambda _: None,
) -> list[Result]:
    """Make every run and return the results in the order of ``runs``.

    ``work`` is a function of a module, called with ``given`` (which every process gets once), one of the
    runs, and where to note how much of it is done; ``progress`` gets what was noted of each run. One
    process, or one run, stays in this process.
    """
    count = min(len(runs), processes or os.cpu_count() or 1)
    if count <= 1:
        return _one_by_one(work, given, runs, progress)
    context = multiprocessing.get_context("spawn")
    done = context.Array("q", len(runs), lock=False)
    with ProcessPoolExecutor(
        count, mp_context=context, initializer=_start_worker, initargs=(work, given, done)
    ) as pool:
        try:
            with _interrupts_held():
                futures = [pool.submit(_run_in_worker, at, run) for at, run in enumerate(runs)]
            _follow(futures, lambda: progress(list(done)))
        except BaseException:
            _end(pool)  # before the shutdown, which forgets who they are
            pool.shutdown(cancel_futures=True)
            raise
    progress(list(done))
    return [future.result() for future in futures]


@contextmanager
def _interrupts_held() -> Iterator[None]:
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


def _one_by_one(
    work: Callable[[Given, Run, Callable[[int], None]], Result],
    given: Given,
    runs: Sequence[Run],
    progress: Callable[[Sequence[int]], None],
) -> list[Result]:
    done = [0] * len(runs)
    results = []
    for at, run in enumerate(runs):

        def note(much: int, at: int = at) -> None:
            done[at] = much
            progress(done)

        results.append(work(given, run, note))
    return results


def _follow(futures: Sequence[Future[Any]], report: Callable[[], None]) -> None:
    """Report progress until every run is done; raises what a run raised."""
    pending = set(futures)
    while pending:
        finished, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
        for future in finished:
            future.result()
        report()


def _end(pool: ProcessPoolExecutor) -> None:
    """End the workers of our own pool; they hold nothing that needs saving."""
    for process in list((pool._processes or {}).values()):  # noqa: SLF001 - no public way before 3.14
        process.terminate()


def _start_worker(work: Any, given: Any, done: Any) -> None:  # noqa: ANN401
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker.update(work=work, given=given, done=done)


def _run_in_worker(at: int, run: Any) -> Any:  # noqa: ANN401
    def note(much: int) -> None:
        _worker["done"][at] = much

    return _worker["work"](_worker["given"], run, note)
