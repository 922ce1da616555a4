"""ARIMA, ETS, Theta and MSTL, one per series: fitted by statsforecast once a day, rolled forward in between.

All see means of 15 minutes of the last week or two with the baseline by time of day taken off (MSTL: its
own season), because a seasonal ARIMA of 96 slots takes minutes a series and one of none takes 0.2 seconds.
Quantiles are those of the errors that the fit had when rolled over its past.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

import numpy as np

from tidegate.forecast.paths.baseline import at_times, ends_of
from tidegate.forecast.paths.fitting import Progress, Workforce, fit_all, quietly, required, unheard
from tidegate.forecast.paths.linear import Equation, arima, side_by_side, smoothing
from tidegate.forecast.paths.rolled import Rolled, learned_rolling, means_of, rolled_paths, span_steps
from tidegate.forecast.paths.spread import paths_of
from tidegate.forecast.paths.usual import Learned, learned_from, usual_paths
from tidegate.forecast.windows import DAY_SECONDS, steps_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tidegate.model.panel import Panel
    from tidegate.model.paths import Paths

MEANS_MIN: Final = 48
"""Half a day of means: with fewer there is nothing to fit, and the profile answers."""
STILL: Final = 1e-5
"""A series that moves less than this (standard deviation, share of capacity) needs no fit."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fit:
    """What a fit of a panel found."""

    usual: Learned
    rolled: Rolled
    fitted: NDArray[np.bool_]
    """(series,) where there is a fit; elsewhere the profile answers."""

    def of(self, series: NDArray[np.intp]) -> _Fit:
        """Return that of some of the series."""
        return _Fit(usual=self.usual.of(series), rolled=self.rolled.of(series), fitted=self.fitted[series])


class _Statistical:
    """A season taken off and a linear model of the rest, for each series."""

    history_days: ClassVar[int] = 14
    """A fit sees at most so many days."""

    def __init__(
        self,
        *,
        seed: int = 0,
        processes: int | None = None,
        engine: str = "local",
        progress: Progress = unheard,
    ) -> None:
        """Leave nothing to chance; the rest says who fits (see `Workforce`) and who hears of progress.

        Raises:
            InputError: nobody knows the engine.
            ModuleNotFoundError: statsforecast is not installed.

        """
        required("statsforecast")
        self._workforce = Workforce(processes=processes, engine=engine, progress=progress)
        self._fit: _Fit | None = None
        self.failed: tuple[str, ...] = ()
        """Series of the last fit that could not be fitted: the profile answers for them."""

    def fit(self, panel: Panel) -> None:
        """Fit every series; those that fail are left to the profile and named in `failed`.

        Raises:
            InputError: the engine is Ray and Ray is not installed.

        """
        self._fit, self.failed = self._fit_of(panel)
        if self.failed:
            _log.info("%s could not fit %d series", type(self).__name__, len(self.failed))

    def paths(self, panel: Panel, horizon_steps: int) -> Paths:
        """Roll what was fitted forward to the panel's end; series that are not among the fitted are now."""
        rows = None if self._fit is None else self._fit.usual.rows_of(panel)
        fit = self._fit_of(panel)[0] if self._fit is None or rows is None else self._fit.of(rows)
        plain = usual_paths(panel, fit.usual, horizon_steps)
        if not fit.fitted.any():
            return plain
        own = rolled_paths(panel, fit.rolled, horizon_steps)
        return paths_of(panel, np.where(fit.fitted, own.quantiles, plain.quantiles))

    def _fit_of(self, panel: Panel) -> tuple[_Fit, tuple[str, ...]]:
        """Return the fits of a panel, and the names of the series that failed."""
        usual = learned_from(panel)
        rolled, tried, fitted = self._learn(panel, usual)
        failed = tuple(panel.names[at] for at in np.flatnonzero(tried & ~fitted))
        return _Fit(usual=usual, rolled=rolled, fitted=fitted), failed

    def _learn(self, panel: Panel, usual: Learned) -> tuple[Rolled, NDArray[np.bool_], NDArray[np.bool_]]:
        """Return what is rolled forward, and for which series (series,) a fit was tried, and succeeded."""
        first = panel.steps - usual.past.shape[0]
        left = panel.shares[first:] - usual.past
        means = means_of(left, panel.start_seconds + first * panel.step_seconds, panel.step_seconds).shares
        found, tried = _fits(self._equation(), means[-_slots(panel) * self.history_days :], self._workforce)
        equations = [each if each is not None and each.sane else None for each in found]
        rolled = learned_rolling(panel, usual.table, usual.past, side_by_side(equations))
        return rolled, tried, np.array([each is not None for each in equations], dtype=np.bool_)

    def _equation(self) -> Callable[[NDArray[np.float64]], Equation]:
        """Return what fits one series of means."""
        raise NotImplementedError


class Arima(_Statistical):
    """A non-seasonal ARIMA of what the baseline leaves, its order by AICc (Hyndman, Khandakar 2008)."""

    history_days = 7

    def _equation(self) -> Callable[[NDArray[np.float64]], Equation]:
        return arima_of


class Ets(_Statistical):
    """Exponential smoothing, with a damped trend where AICc wants one, of what the baseline leaves."""

    history_days = 7

    def _equation(self) -> Callable[[NDArray[np.float64]], Equation]:
        return ets_of


class Theta(_Statistical):
    """The standard Theta method (Assimakopoulos, Nikolopoulos 2000) of what the baseline leaves."""

    def _equation(self) -> Callable[[NDArray[np.float64]], Equation]:
        return theta_of


class Mstl(_Statistical):
    """STL's own season of the day (Bandara, Hyndman, Bergmeir 2021) and exponential smoothing of the rest.

    Two weeks hold no season of the week that is more than two days' noise: only the day's is taken.
    """

    history_days = 14
    days_min: ClassVar[int] = 4
    """STL needs two days, and so does the older part whose errors are told; with less the profile answers."""
    older_ratio: ClassVar[float] = 0.6
    """The share of the history whose season is compared with what came after it: errors of a season on
    the days it is made from are too good to be true."""

    def _learn(self, panel: Panel, usual: Learned) -> tuple[Rolled, NDArray[np.bool_], NDArray[np.bool_]]:
        slots = _slots(panel)
        newest = min(panel.steps, self.history_days * steps_in(DAY_SECONDS, panel.step_seconds))
        start = panel.end_seconds - newest * panel.step_seconds
        means = means_of(panel.shares[panel.steps - newest :], start, panel.step_seconds)
        count = means.shares.shape[0]
        older = max(2 * slots, int(count * self.older_ratio))
        if count < self.days_min * slots:
            nobody = np.zeros(len(panel.names), dtype=np.bool_)
            linear = side_by_side([None] * nobody.size)
            return learned_rolling(panel, usual.table, usual.past, linear), nobody, nobody
        found, tried = _fits(SeasonAndRest(slots=slots, older=older), means.shares, self._workforce)
        fits = [each if each is not None and each.equation.sane else None for each in found]
        last_slot = (start + (int(means.last_row[-1]) + 1) * panel.step_seconds) // _mean_seconds(panel) - 1
        table, before = np.zeros_like(usual.table), np.zeros_like(usual.table)
        for at, each in enumerate(fits):
            if each is not None:
                table[:, :, at] = _at_slots(np.roll(each.season, last_slot + 1), table.shape[1])
                turn = last_slot + 1 - (count - older)
                before[:, :, at] = _at_slots(np.roll(each.season_before, turn), table.shape[1])
        past = at_times(before, ends_of(panel, panel.steps - newest, panel.steps), panel.step_seconds)
        rolled = learned_rolling(
            panel,
            table,
            past,
            side_by_side([None if each is None else each.equation for each in fits]),
            first_origin_row=int(means.last_row[older - 1]),
        )
        return rolled, tried, np.array([each is not None for each in fits], dtype=np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeasonFit:
    """One series' season of the day and the equation of the rest."""

    season: NDArray[np.float64]
    """(slots,) of the newest day, from the slot after the last mean's."""
    season_before: NDArray[np.float64]
    """(slots,) the same of the older part of the history, by itself."""
    equation: Equation


@dataclass(frozen=True, slots=True, kw_only=True)
class SeasonAndRest:
    """Fits STL and exponential smoothing to one series of means."""

    slots: int
    older: int

    def __call__(self, means: NDArray[np.float64]) -> SeasonFit:
        """Return the season, that of the first ``older`` means alone, and the equation of the rest."""
        from statsforecast.mstl import mstl

        # Local regressions every tenth of a window, lines between: a tenth of the time (Cleveland 1990, 2.6).
        jumps = {
            "seasonal_jump": 1,
            "trend_jump": self.slots // 10 + 1,
            "low_pass_jump": self.slots // 10 + 1,
        }
        whole = mstl(means, self.slots, stl_kwargs=jumps)
        older = mstl(means[: self.older], self.slots, stl_kwargs=jumps)
        season = whole["seasonal"].to_numpy()
        return SeasonFit(
            season=season[-self.slots :],
            season_before=older["seasonal"].to_numpy()[-self.slots :],
            equation=ets_of(means - season),
        )


def arima_of(means: NDArray[np.float64]) -> Equation:
    """Fit an ARIMA of up to 3 + 2 lags and one difference, by the stepwise search, without a drift.

    A drift from a week of a VM, carried a day ahead, is noise; approximate likelihoods while searching
    (Hyndman, Khandakar 2008) halve the time.
    """
    from statsforecast.models import AutoARIMA

    with quietly():
        model = AutoARIMA(
            season_length=1, seasonal=False, allowdrift=False, approximation=True, max_p=3, max_q=2, max_d=1
        )
        found = model.fit(means).model_
    p, q, *_, differences, _ = found["arma"]
    coefficients = found["coef"]
    return arima(
        [coefficients[f"ar{at + 1}"] for at in range(p)],
        [coefficients[f"ma{at + 1}"] for at in range(q)],
        differences=differences,
        mean=coefficients.get("intercept", 0.0),
    )


def ets_of(means: NDArray[np.float64]) -> Equation:
    """Fit exponential smoothing with additive errors, with a damped trend if AICc finds it worth it."""
    from statsforecast.models import AutoETS

    with quietly():
        plain = AutoETS(season_length=1, model="ANN").fit(means).model_
        damped = AutoETS(season_length=1, model="AAN", damped=True).fit(means).model_
    alpha, beta, _, phi = (damped if damped["aicc"] < plain["aicc"] else plain)["par"][:4]
    return smoothing(alpha, 0 if np.isnan(beta) else beta, 0 if np.isnan(phi) else phi)


def theta_of(means: NDArray[np.float64]) -> Equation:
    """Fit the standard Theta method: exponential smoothing with half the slope of the whole as its drift."""
    from statsforecast.models import Theta as Standard

    with quietly():
        found = Standard(season_length=1, decomposition_type="additive").fit(means).model_
    slope = np.polyfit(np.arange(means.size), means, 1)[0]
    return smoothing(found["par"]["alpha"], drift=slope / 2)


_Found = TypeVar("_Found")


def _fits(
    fit: Callable[[NDArray[np.float64]], _Found], means: NDArray[np.float32], workforce: Workforce
) -> tuple[list[_Found | None], NDArray[np.bool_]]:
    """Fit every series of means (means, series) that has enough and moves; return who was tried, too."""
    known = ~np.isnan(means)
    tried = known.sum(axis=0) >= MEANS_MIN
    tried[tried] = np.nanstd(means[:, tried], axis=0) > STILL
    wanted = np.flatnonzero(tried)
    results = fit_all(fit, [_without_gaps(means[:, at]) for at in wanted], workforce)
    found: list[_Found | None] = [None] * means.shape[1]
    for at, result in zip(wanted, results, strict=True):
        found[at] = result
    return found, tried


def _without_gaps(means: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return one series with straight lines over its gaps, from its first sample on: fits take no NaN."""
    at = np.flatnonzero(~np.isnan(means))
    return np.interp(np.arange(means.size), at, means[at].astype(np.float64))


def _at_slots(season: NDArray[np.float64], slots: int) -> NDArray[np.float64]:
    """Read a day of means off at ``slots`` steps, on the line between their centres, around midnight too."""
    centre = (np.arange(slots) + 0.5) * season.size / slots - 0.5
    return np.interp(centre, np.arange(-1, season.size + 1), np.r_[season[-1], season, season[0]])


def _slots(panel: Panel) -> int:
    """Return how many means a day has."""
    return steps_in(DAY_SECONDS, _mean_seconds(panel))


def _mean_seconds(panel: Panel) -> int:
    return span_steps(panel.step_seconds) * panel.step_seconds
