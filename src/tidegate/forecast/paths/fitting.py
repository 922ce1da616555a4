"""Fits of many series: here when they are few, on worker processes or on Ray when they are many."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from tidegate.forecast.processes import (
    POLL_SECONDS,
    interrupts_held,
    keep_to_one_thread,
    leave_interrupts_to_the_parent,
    workers,
)
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from concurrent.futures import Future

_Job = TypeVar("_Job")
_Fitted = TypeVar("_Fitted")

Progress = Callable[[int, int], None]
"""Called with (done, whole) as fits end."""


def unheard(done: int, whole: int) -> None:
    """Tell nobody of progress."""


ENGINES: Final = ("local", "ray")
FEW: Final = 64
"""Up to so many fits stay in this process: workers take some two seconds to load their libraries."""
CHUNK: Final = 8
"""Fits a worker is given at a time: progress every second or so, and no long tail."""
WAITING_PER_WORKER: Final = 2
"""Chunks of Ray on their way per core: the rest waits here."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workforce:
    """Who fits: how many processes, on which engine, and who hears of progress."""

    processes: int | None = None
    """At most so many; None: one a core; 1: this process."""
    engine: str = "local"
    progress: Progress = unheard

    def __post_init__(self) -> None:
        """Refuse an engine nobody knows.

        Raises:
            InputError: the engine is neither of `ENGINES`, or processes is below one.

        """
        if self.engine not in ENGINES:
            raise InputError(f"unknown engine '{self.engine}'; choose from {', '.join(ENGINES)}")
        if self.processes is not None and self.processes < 1:
            raise InputError(f"processes is {self.processes}; it must be at least 1")


def fit_all(
    fit: Callable[[_Job], _Fitted], jobs: Sequence[_Job], workforce: Workforce
) -> list[_Fitted | None]:
    """Fit every job and return the results in order; None where a fit failed, which is logged.

    ``fit`` and the jobs must be picklable. On Ctrl-C the workers are ended before it goes on up.

    Raises:
        InputError: the engine is Ray and Ray is not installed.

    """
    if workforce.engine == "ray":
        return _on_ray(fit, jobs, workforce)
    count = min(workforce.processes or os.cpu_count() or 1, -(-len(jobs) // CHUNK))
    if count <= 1 or len(jobs) <= FEW:
        return _here(fit, jobs, workforce.progress)
    return _on_workers(fit, jobs, count, workforce.progress)


def fitted_or_none(fit: Callable[[_Job], _Fitted], job: _Job) -> _Fitted | None:
    """Return what one fit found; None if it failed: a series that cannot be fitted must not stop the rest."""
    try:
        return fit(job)
    except (ImportError, MemoryError):
        raise  # the next one would fail alike
    except Exception as error:  # noqa: BLE001 - libraries raise anything; the caller falls back and counts
        _log.debug("a fit failed: %r", error)
        return None


def required(package: str) -> None:
    """Say early that a package is missing, which only a fit would import.

    Raises:
        ModuleNotFoundError: it is not installed.

    """
    if find_spec(package) is None:
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)


@contextmanager
def quietly(*loggers: str) -> Iterator[None]:
    """Keep what libraries say while they search out of the log and the warnings: results are checked."""
    levels = {name: logging.getLogger(name).level for name in loggers}
    for name in loggers:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _here(fit: Callable[[_Job], _Fitted], jobs: Sequence[_Job], progress: Progress) -> list[_Fitted | None]:
    found = []
    for job in jobs:
        found.append(fitted_or_none(fit, job))
        progress(len(found), len(jobs))
    return found


def _chunks(jobs: Sequence[_Job]) -> list[Sequence[_Job]]:
    return [jobs[at : at + CHUNK] for at in range(0, len(jobs), CHUNK)]


def _chunk(fit: Callable[[_Job], _Fitted], jobs: Sequence[_Job]) -> list[_Fitted | None]:
    return [fitted_or_none(fit, job) for job in jobs]


def _start_worker() -> None:
    leave_interrupts_to_the_parent()
    keep_to_one_thread()


def _on_workers(
    fit: Callable[[_Job], _Fitted], jobs: Sequence[_Job], count: int, progress: Progress
) -> list[_Fitted | None]:
    with workers(count, _start_worker) as pool:
        with interrupts_held():
            futures = [pool.submit(_chunk, fit, chunk) for chunk in _chunks(jobs)]
        pending: set[Future[list[_Fitted | None]]] = set(futures)
        done = 0
        while pending:
            finished, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            if finished:
                done += sum(len(future.result()) for future in finished)
                progress(done, len(jobs))
    return [found for future in futures for found in future.result()]


def _on_ray(
    fit: Callable[[_Job], _Fitted], jobs: Sequence[_Job], workforce: Workforce
) -> list[_Fitted | None]:
    ray = _ray(workforce.processes)
    remote = ray.remote(num_cpus=1)(_chunk_on_ray)
    waiting = list(enumerate(_chunks(jobs)))[::-1]
    most = workforce.processes or WAITING_PER_WORKER * max(1, int(ray.cluster_resources().get("CPU", 1)))
    running: dict[Any, int] = {}
    results: dict[int, list[_Fitted | None]] = {}
    done = 0
    try:
        while waiting or running:
            while waiting and len(running) < most:
                at, chunk = waiting.pop()
                running[remote.remote(fit, chunk)] = at
            finished, _ = ray.wait(list(running), num_returns=1, timeout=POLL_SECONDS)
            for reference in finished:
                at = running.pop(reference)
                results[at] = ray.get(reference)
                done += len(results[at])
                workforce.progress(done, len(jobs))
    except BaseException:
        for reference in running:
            ray.cancel(reference, force=True)
        raise
    return [found for at in sorted(results) for found in results[at]]


def _chunk_on_ray(fit: Callable[[_Job], _Fitted], jobs: Sequence[_Job]) -> list[_Fitted | None]:
    keep_to_one_thread()
    return _chunk(fit, jobs)


def _ray(processes: int | None) -> Any:  # noqa: ANN401 - ray ships no types
    """Return Ray, connected to the cluster there is, or to one of its own on this machine.

    Raises:
        InputError: it is not installed.

    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise InputError(
            "engine 'ray' needs the extra 'ray' (pip install 'tidegate[ray]'); or use engine 'local'"
        ) from error
    if not ray.is_initialized():
        ray.init(num_cpus=processes, include_dashboard=False, configure_logging=False)
    return ray
