"""Runs path models over a trace: fit, look ahead at each origin, count what came.

No model sees a sample at or after the origin it answers for. A model for all series learns once, before
the first origin; a model per series learns anew at the first origin of each day, and between answers from
what it learned and the histories as they are.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tidegate.app.path_models import is_daily, path_model
from tidegate.app.stopwatch import StageTimer
from tidegate.app.threads import one_blas_thread
from tidegate.lab.forecasts.fans import Fans
from tidegate.lab.forecasts.measures import DAY_SECONDS, PathTally, seasonal_scale
from tidegate.lab.forecasts.origins import Origins, origins_of
from tidegate.lab.panels import panel_of
from tidegate.lab.pool import run_all
from tidegate.model.errors import TidegateError
from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tidegate.lab.forecasts.fans import Fan
    from tidegate.model.feed import Feed
    from tidegate.model.paths import Paths
    from tidegate.model.resources import Resource
    from tidegate.model.trace import Trace

_Came = TypeVar("_Came")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastSettings:
    """What a comparison of models was asked for."""

    horizons_seconds: tuple[int, ...]
    origins: int = 16
    seed: int = 0
    engine: str = "local"
    """Where models work that can spread their work: ``local`` or ``ray``."""
    processes: int | None = 1
    """Processes that a model may use which can spread its work; None: as many as it likes."""
    with_fans: bool = False
    feeds: tuple[Feed, ...] = ()
    """What is known from outside; every panel carries them, and is asked as of its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastRun:
    """One model on one resource."""

    model: str
    resource: Resource


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForecastResult:
    """What came of a run."""

    run: ForecastRun
    tally: PathTally
    seconds_per_series_fit: float
    """Of one fit, the mean over all fits."""
    seconds_per_series_predict: float
    """Of the answer at one origin at the longest horizon, the mean over all origins."""
    fans: tuple[Fan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastFailure:
    """A run that came to nothing, and why, in a sentence."""

    run: ForecastRun
    said: str


def runs_of(models: Sequence[str], resources: Sequence[Resource]) -> list[ForecastRun]:
    """Return the runs to make, resource by resource."""
    return [ForecastRun(model=model, resource=resource) for resource in resources for model in models]


def origins_in(trace: Trace, settings: ForecastSettings) -> Origins:
    """Return where the origins lie on a trace.

    Raises:
        InputError: see `origins_of`.

    """
    return origins_of(
        trace.ticks, trace.step_seconds, horizons_seconds=settings.horizons_seconds, count=settings.origins
    )


def forecast_all(
    trace: Trace,
    runs: Sequence[ForecastRun],
    settings: ForecastSettings,
    *,
    processes: int | None = None,
    progress: Callable[[Sequence[int]], None] = lambda _: None,
) -> list[ForecastResult]:
    """Make every run on a trace with known capacity and return the results in their order.

    ``progress`` gets the number of origins done of each run. Runs share the processes, each has one: its
    seconds are comparable, and no worker has workers of its own that outlive it. A run that is alone may
    use all of them, and on Ray, which has its own, runs follow one another.
    """
    return _run_all(_one_of_many, trace, runs, settings, processes=processes, progress=progress)


def forecast_each(
    trace: Trace,
    runs: Sequence[ForecastRun],
    settings: ForecastSettings,
    *,
    processes: int | None = None,
    progress: Callable[[Sequence[int]], None] = lambda _: None,
) -> tuple[list[ForecastResult], list[ForecastFailure]]:
    """Make every run as `forecast_all` does, but let one that fails cost no other: return it apart."""
    came = _run_all(_one_or_why_not, trace, runs, settings, processes=processes, progress=progress)
    return (
        [one for one in came if isinstance(one, ForecastResult)],
        [one for one in came if isinstance(one, ForecastFailure)],
    )


def _run_all(
    work: Callable[[tuple[Trace, ForecastSettings], ForecastRun, Callable[[int], None]], _Came],
    trace: Trace,
    runs: Sequence[ForecastRun],
    settings: ForecastSettings,
    *,
    processes: int | None,
    progress: Callable[[Sequence[int]], None],
) -> list[_Came]:
    alone = len(runs) == 1 or settings.engine == "ray"
    given = replace(settings, processes=processes if alone else 1)
    return run_all(work, (trace, given), runs, processes=1 if alone else processes, progress=progress)


def _one_or_why_not(
    given: tuple[Trace, ForecastSettings], run: ForecastRun, progress: Callable[[int], None]
) -> ForecastResult | ForecastFailure:
    try:
        return _one_of_many(given, run, progress)
    except Exception as error:  # noqa: BLE001 - models and their libraries raise anything
        what = str(error) if isinstance(error, TidegateError) else _where(error)
        return ForecastFailure(run=run, said=f"model '{run.model}' failed at {run.resource.label}: {what}")


def _where(error: Exception) -> str:
    """Return what was raised and where."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"


def _one_of_many(
    given: tuple[Trace, ForecastSettings], run: ForecastRun, progress: Callable[[int], None]
) -> ForecastResult:
    trace, settings = given
    return forecast(trace, run, settings, progress)


def forecast(
    trace: Trace,
    run: ForecastRun,
    settings: ForecastSettings,
    progress: Callable[[int], None] = lambda _: None,
) -> ForecastResult:
    """Make one run on a trace with known capacity; ``progress`` gets the number of origins done.

    Raises:
        InputError: the trace is too short, or nobody goes by the model's name.
        TidegateError: the model answered with what is no forecast.

    """
    origins = origins_in(trace, settings)
    whole = replace(panel_of(trace, run.resource), feeds=settings.feeds)
    capacity = trace.rows_of(run.resource)[1]
    model = path_model(
        run.model,
        seed=settings.seed,
        engine=settings.engine,
        processes=settings.processes,
        feeds_seconds=max(settings.horizons_seconds),
    )
    tally = PathTally(
        scale=seasonal_scale(whole.shares[: origins.steps[0]], whole.step_seconds),
        horizons_steps=origins.horizons_steps,
        origins=len(origins.steps),
        step_seconds=whole.step_seconds,
    )
    fans = Fans(len(whole.names), origins) if settings.with_fans else None
    watch, fits, fitted_on = StageTimer(), 0, None
    for at, steps in enumerate(origins.steps):
        seen = replace(whole.until(steps), capacity=capacity[steps - 1])
        today = seen.end_seconds // DAY_SECONDS
        if fitted_on is None or (is_daily(run.model) and today != fitted_on):
            with watch.stage("fit"), one_blas_thread():
                model.fit(seen)
            fits, fitted_on = fits + 1, today
        with watch.stage("predict"), one_blas_thread():
            paths = model.paths(seen, origins.horizon_steps)
        check_paths(paths, run.model, origins.horizon_steps, len(whole.names))
        tally.add(at, paths, whole.shares[steps : steps + origins.horizon_steps])
        if fans is not None:
            fans.add(at, paths)
        progress(at + 1)
    series = len(whole.names)
    return ForecastResult(
        run=run,
        tally=tally,
        seconds_per_series_fit=watch.total_seconds["fit"] / fits / series,
        seconds_per_series_predict=watch.total_seconds["predict"] / len(origins.steps) / series,
        fans=() if fans is None else fans.chosen(tally),
    )


def check_paths(
    paths: Paths, model: str, steps: int, series: int, *, otherwise: str = "leave it out of --model"
) -> None:
    """Refuse what can't be counted; ``otherwise`` is what to do if the model can't be mended.

    Raises:
        TidegateError: quantiles are missing, or have another shape than was asked for.

    """
    shape = (PATH_LEVELS.size, steps, series)
    if paths.quantiles.shape != shape:
        raise TidegateError(
            f"model '{model}' answered with shape {paths.quantiles.shape} where {shape} was asked for; mend "
            f"it, or {otherwise}"
        )
    if not np.isfinite(paths.quantiles).all():
        raise TidegateError(f"model '{model}' left quantiles without a number; mend it, or {otherwise}")
