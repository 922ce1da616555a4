"""Prophet: a sum of Fourier terms of the day and the week, of feeds and of holidays, one per series.

Fitted without sampling (the mode alone) on means of 15 minutes, with no trend: a trend of two weeks, carried
on, is noise, and the level is anchored on the newest samples anyway. What a fit found is kept as a table of
the week and an effect per feed, so that later panels are answered without Prophet. Quantiles are those of
the errors over the past. Source of the model: Taylor, Letham, Forecasting at scale, 2018.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.paths.baseline import ends_of
from tidegate.forecast.paths.fitting import Progress, Workforce, fit_all, quietly, required, unheard
from tidegate.forecast.paths.regressors import Columns, Key, columns_of, holidays
from tidegate.forecast.paths.rolled import means_of
from tidegate.forecast.paths.spread import Spread, paths_of
from tidegate.forecast.paths.usual import (
    Learned,
    anchored_paths,
    learned_anchor,
    learned_from,
    usual_paths,
)
from tidegate.forecast.windows import DAY_SECONDS, WEEK_SECONDS, steps_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.panel import Panel
    from tidegate.model.paths import Paths

HISTORY_DAYS: Final = 14
DAYS_MIN: Final = 4
"""With less history there is too little to try a fit on, and the profile answers."""
OLDER_RATIO: Final = 0.6
"""The share of the history whose fit is tried on the rest: sixty terms find a day in any noise, and errors
where they were found are too good to be true."""
TRUST: Final = (1.0, 0.75, 0.5, 0.25, 0.0)
"""How much of the sum is believed, whichever did best when tried."""
DAILY_TERMS: Final = 30
"""Fourier terms of the day: 30 tell apart what is 24 minutes from each other. Prophet's own four smooth
backups away: on spiky VMs its errors are twice those of 24 or 40 terms."""
DAILY_TERMS_SHORT: Final = 10
"""Those of a history shorter than a week."""
WEEKLY_TERMS: Final = 3
"""Prophet's own; from two weeks of history on."""
PRIOR_SCALE: Final = 0.05
"""Prophet's own 10 lets sixty terms follow noise, and a hundredth of this lets strong days fade."""
COLUMN_PRIOR_SCALE: Final = 0.1
"""The same of a feed: two weeks hold chance agreements with anything that drifts."""
STILL: Final = 1e-5
"""A series that moves less than this (standard deviation, share of capacity) needs no fit."""
LOGGERS: Final = ("prophet", "prophet.models", "prophet.plot")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SumJob:
    """One series' means and what is known from outside at the same times."""

    means: NDArray[np.float64]
    start_seconds: int
    mean_seconds: int
    columns: NDArray[np.float64]
    """(means, columns)"""
    used: NDArray[np.bool_]
    """(columns,) those that are about this series and tell two times apart."""
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SumFit:
    """One series' fit."""

    week: NDArray[np.float64]
    """(means of a week,) from Thursday 0:00 UTC on, as 1970 began; columns at their centres."""
    effects: NDArray[np.float64]
    """(columns,) share of capacity per unit of each column."""
    centres: NDArray[np.float64]
    """(columns,) what each column is compared with."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sums:
    """The fits of many series, side by side."""

    week: NDArray[np.float32]
    """(means of a week, series)"""
    keys: tuple[Key, ...]
    effects: NDArray[np.float64]
    """(columns, series), 0 where a column is not about a series."""
    centres: NDArray[np.float64]
    """(columns, series)"""
    trust: NDArray[np.float32]
    """(series,) how much of the sum is believed; of the rest, its mean over the week."""

    def of(self, series: NDArray[np.intp]) -> Sums:
        """Return the fits of some of the series."""
        return replace(
            self,
            week=self.week[:, series],
            effects=self.effects[:, series],
            centres=self.centres[:, series],
            trust=self.trust[series],
        )

    def said(
        self, columns: Columns, end_seconds: NDArray[np.int64], step_seconds: int
    ) -> NDArray[np.float32]:
        """Return the sum (times, series) for steps that end at these times, given columns at these times."""
        middle = end_seconds - step_seconds / 2
        slots = self.week.shape[0]
        position = middle % WEEK_SECONDS / (WEEK_SECONDS / slots) - 0.5  # a mean stands for its centre
        low = np.floor(position).astype(np.intp)
        part = (position - low).astype(np.float32)[:, None]
        said = self.week[low % slots] * (1 - part) + self.week[(low + 1) % slots] * part
        for at, key in enumerate(columns.keys):
            if key in self.keys:
                mine = self.keys.index(key)
                said += self.effects[mine] * (columns.told[:, at : at + 1] - self.centres[mine])
        mean = self.week.mean(axis=0)
        return (mean + self.trust * (said - mean)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Learned:
    usual: Learned
    sums: Sums
    fitted: NDArray[np.bool_]
    """(series,) where the sum answers; elsewhere the profile does."""
    spread: Spread
    level: NDArray[np.intp]

    def of(self, series: NDArray[np.intp]) -> _Learned:
        return _Learned(
            usual=self.usual.of(series),
            sums=self.sums.of(series),
            fitted=self.fitted[series],
            spread=self.spread.of(series),
            level=self.level[series],
        )


class Prophet:
    """Fourier terms of day and week, feeds and holidays, anchored on the newest samples."""

    def __init__(
        self,
        *,
        seed: int = 0,
        country: str | None = None,
        processes: int | None = None,
        engine: str = "local",
        progress: Progress = unheard,
    ) -> None:
        """Know the holidays of a country (its ISO 3166 code), if given; the rest says who fits.

        Raises:
            InputError: nobody knows the engine, or holidays of that country.
            ModuleNotFoundError: Prophet is not installed.

        """
        required("prophet")
        if country is not None:
            holidays(country, np.zeros(1, dtype=np.int64))
        self._seed = seed
        self._country = country
        self._workforce = Workforce(processes=processes, engine=engine, progress=progress)
        self._learned: _Learned | None = None
        self.failed: tuple[str, ...] = ()
        """Series of the last fit that could not be fitted: the profile answers for them."""

    def fit(self, panel: Panel) -> None:
        """Fit every series; those that fail are left to the profile and named in `failed`.

        Raises:
            InputError: the engine is Ray and Ray is not installed.

        """
        self._learned, self.failed = self._learned_of(panel)
        if self.failed:
            _log.info("Prophet could not fit %d series", len(self.failed))

    def _learned_of(self, panel: Panel) -> tuple[_Learned, tuple[str, ...]]:
        """Return what there is to learn of a panel, and the names of the series of which fits failed."""
        newest = min(panel.steps, HISTORY_DAYS * steps_in(DAY_SECONDS, panel.step_seconds))
        columns = columns_of(panel, panel.steps - newest, panel.steps, country=self._country)
        jobs = _jobs(panel, newest, columns, self._seed)
        found = fit_all(sums_of, list(jobs.values()), self._workforce)
        fits = {at: fit for at, fit in zip(jobs, found, strict=True) if fit is not None}
        fitted = np.isin(np.arange(len(panel.names)), list(fits))
        older = _side_by_side(panel, {at: older for at, (older, _) in fits.items()}, columns)
        ends = ends_of(panel, panel.steps - newest, panel.steps)
        said = [
            replace(older, trust=older.trust * np.float32(share)).said(columns, ends, panel.step_seconds)
            for share in TRUST
        ]
        best, level, spread = learned_anchor(
            panel, np.stack(said), first_origin_row=int(newest * OLDER_RATIO) if fits else 0
        )
        whole = _side_by_side(panel, {at: whole for at, (_, whole) in fits.items()}, columns)
        sums = replace(whole, trust=np.array(TRUST, dtype=np.float32)[best])
        learned = _Learned(usual=learned_from(panel), sums=sums, fitted=fitted, spread=spread, level=level)
        return learned, tuple(panel.names[at] for at in jobs if at not in fits)

    def paths(self, panel: Panel, horizon_steps: int) -> Paths:
        """Return the sum at the steps ahead, feeds as known at the panel's end, and what stays of now."""
        rows = None if self._learned is None else self._learned.usual.rows_of(panel)
        if self._learned is None or rows is None:
            learned, _ = self._learned_of(panel)
        else:
            learned = self._learned.of(rows)
        plain = usual_paths(panel, learned.usual, horizon_steps)
        if not learned.fitted.any():
            return plain
        newest = min(panel.steps, steps_in(DAY_SECONDS, panel.step_seconds))
        first, last = panel.steps - newest, panel.steps + horizon_steps
        columns = columns_of(panel, first, last, country=self._country)
        said = learned.sums.said(columns, ends_of(panel, first, last), panel.step_seconds)
        own = anchored_paths(panel, said[:newest], said[newest:], learned.spread, learned.level)
        return paths_of(panel, np.where(learned.fitted, own.quantiles, plain.quantiles))


def sums_of(job: SumJob) -> tuple[SumFit, SumFit]:
    """Fit one series: the older part alone, and all of it."""
    older = int(job.means.size * OLDER_RATIO)
    part = replace(job, means=job.means[:older], columns=job.columns[:older])
    part = replace(part, used=job.used & (np.ptp(part.columns, axis=0) > 0))
    return sum_of(part), sum_of(job)


def sum_of(job: SumJob) -> SumFit:
    """Fit one series."""
    import cmdstanpy
    import pandas as pd
    from prophet import Prophet as Model
    from prophet.utilities import regressor_coefficients

    days = round(job.means.size * job.mean_seconds / DAY_SECONDS)
    daily = DAILY_TERMS if days >= 7 else DAILY_TERMS_SHORT
    weekly = WEEKLY_TERMS if days >= 14 else 0
    names = [f"column_{at}" for at in np.flatnonzero(job.used)]
    middle = job.start_seconds + job.mean_seconds * (np.arange(job.means.size) + 0.5)
    history = pd.DataFrame(dict(zip(names, job.columns.T[job.used], strict=True)))
    history = history.assign(ds=pd.to_datetime(middle, unit="s"), y=job.means)
    with quietly(*LOGGERS), cmdstanpy.disable_logging():
        model = Model(
            growth="flat",
            daily_seasonality=daily,
            weekly_seasonality=weekly or False,
            yearly_seasonality=False,
            seasonality_prior_scale=PRIOR_SCALE,
            uncertainty_samples=0,
        )
        for name in names:
            model.add_regressor(name, prior_scale=COLUMN_PRIOR_SCALE)
        model.fit(history, seed=job.seed)
        effects, centres = np.zeros((2, job.used.size))
        if names:
            told = regressor_coefficients(model).set_index("regressor").loc[names]
            effects[job.used], centres[job.used] = told["coef"], told["center"]
        slots = round(WEEK_SECONDS / job.mean_seconds)
        week = pd.DataFrame({"ds": pd.to_datetime((np.arange(slots) + 0.5) * job.mean_seconds, unit="s")})
        said = model.predict(week.assign(**dict(zip(names, centres[job.used], strict=True))))[
            "yhat"
        ].to_numpy()
    if not np.isfinite(said).all():
        raise ArithmeticError("the fit is not finite")
    return SumFit(
        week=said,
        effects=effects,
        centres=centres,
    )


def _jobs(panel: Panel, newest: int, columns: Columns, seed: int) -> dict[int, SumJob]:
    """Return what there is to fit, by series: those with days enough, that move."""
    start = panel.end_seconds - newest * panel.step_seconds
    means = means_of(panel.shares[panel.steps - newest :], start, panel.step_seconds)
    count = means.shares.shape[0]
    mean_seconds = means.span_steps * panel.step_seconds
    known = ~np.isnan(means.shares)
    tried = known.sum(axis=0) * mean_seconds >= DAYS_MIN * DAY_SECONDS
    if not tried.any():
        return {}
    tried[tried] = np.nanstd(means.shares[:, tried], axis=0) > STILL
    told = means_of(columns.told.astype(np.float32), start, panel.step_seconds).shares.astype(np.float64)
    about = columns.about(panel.names)
    begin = start + (int(means.last_row[0]) + 1 - means.span_steps) * panel.step_seconds
    jobs = {}
    for at in np.flatnonzero(tried).tolist():
        here = np.arange(count) >= np.flatnonzero(known[:, at])[0]
        jobs[at] = SumJob(
            means=means.shares[here, at].astype(np.float64),
            start_seconds=begin + int((~here).sum()) * mean_seconds,
            mean_seconds=mean_seconds,
            columns=told[here],
            used=about[:, at] & (np.ptp(told[here], axis=0) > 0),
            seed=seed,
        )
    return jobs


def _side_by_side(panel: Panel, fits: dict[int, SumFit], columns: Columns) -> Sums:
    series = len(panel.names)
    slots = next((fit.week.size for fit in fits.values()), 1)
    week = np.zeros((slots, series), dtype=np.float32)
    effects, centres = np.zeros((2, len(columns.keys), series))
    for at, fit in fits.items():
        week[:, at], effects[:, at], centres[:, at] = fit.week, fit.effects, fit.centres
    trust = np.ones(series, dtype=np.float32)
    return Sums(week=week, keys=columns.keys, effects=effects, centres=centres, trust=trust)
