"""Linear models of many series at once: what ARIMA, ETS and Theta fits have in common, as arrays.

Each of them is, once fitted, x(t) = c + sum ar(i) x(t-i) + e(t) + sum ma(j) e(t-j): simple exponential
smoothing is ARIMA(0,1,1), with a damped trend ARIMA(1,1,2), Theta is ARIMA(0,1,1) with drift (Hyndman,
Koehler, Ord, Snyder 2008, section 11.1; Hyndman, Billah 2003). So newer samples go through one filter for
all series and kinds, and nothing is fitted again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.paths.spread import last_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LIMIT: Final = 1.0
"""What is left of a share after its baseline cannot be more; a fit that explodes is stopped here."""

ROOT_MIN: Final = 1.005
"""How far from the unit circle the roots of a moving average are kept: its start fades within days."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Equation:
    """One series' fit."""

    ar: NDArray[np.float64]
    """Coefficients of past values, differences multiplied out."""
    ma: NDArray[np.float64]
    """Coefficients of past innovations."""
    constant: float = 0.0

    @property
    def sane(self) -> bool:
        """Whether every number is one."""
        return bool(np.isfinite([*self.ar, *self.ma, self.constant]).all())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Linear:
    """Many series' fits, side by side."""

    ar: NDArray[np.float64]
    """(lags, series)"""
    ma: NDArray[np.float64]
    """(lags, series)"""
    constant: NDArray[np.float64]
    """(series,)"""

    def of(self, series: NDArray[np.intp]) -> Linear:
        """Return the fits of some of the series."""
        return Linear(ar=self.ar[:, series], ma=self.ma[:, series], constant=self.constant[series])


def arima(
    ar: Sequence[float], ma: Sequence[float], *, differences: int, mean: float = 0, drift: float = 0
) -> Equation:
    """Return an ARIMA as one equation; the mean is that of the series, the drift that of its difference."""
    polynomial = np.array([1.0, *(-each for each in ar)])
    settled = polynomial.sum()
    for _ in range(differences):
        polynomial = np.convolve(polynomial, [1.0, -1.0])
    constant = settled * (drift if differences else mean)
    return Equation(
        ar=-polynomial[1:], ma=invertible(np.array(ma, dtype=np.float64)), constant=float(constant)
    )


def invertible(ma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the moving average of the same autocorrelations whose innovations fade: roots turned outwards.

    Fits of series that were differenced once too often end at or beyond the unit circle; a filter would
    then remember its start for good, or let it grow.
    """
    if not ma.any():
        return ma
    roots = np.roots([*ma[::-1], 1.0])
    roots = np.where(np.abs(roots) < 1, 1 / np.conj(roots), roots)
    size = np.abs(roots)
    roots *= np.maximum(size, ROOT_MIN) / size
    return _polynomial(roots)


def _polynomial(roots: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return the coefficients of z, z squared and so on of the polynomial that is 1 at 0, by its roots."""
    found = np.array([1.0 + 0j])
    for root in roots:
        found = np.convolve(found, [1.0, -1.0 / root])
    return np.real(found)[1:]


def smoothing(alpha: float, beta: float = 0, phi: float = 0, *, drift: float = 0) -> Equation:
    """Return exponential smoothing, with a damped trend where beta is given, as one equation."""
    if beta == 0:
        return arima((), (alpha - 1,), differences=1, drift=drift)
    return arima((phi,), (alpha + phi * beta - 1 - phi, (1 - alpha) * phi), differences=1)


def side_by_side(equations: Sequence[Equation | None]) -> Linear:
    """Return the fits as arrays; who has none has no lags, and stays at zero."""
    lags = max((each.ar.size for each in equations if each), default=1)
    past = max((each.ma.size for each in equations if each), default=1)
    ar, ma = np.zeros((max(lags, 1), len(equations))), np.zeros((max(past, 1), len(equations)))
    constant = np.zeros(len(equations))
    for at, each in enumerate(equations):
        if each:
            ar[: each.ar.size, at], ma[: each.ma.size, at] = each.ar, each.ma
            constant[at] = each.constant
    return Linear(ar=ar, ma=ma, constant=constant)


def filtered(linear: Linear, values: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the values with gaps filled by what was expected there, and the innovations (steps, series)."""
    lags, past = linear.ar.shape[0], linear.ma.shape[0]
    steps, series = values.shape
    first = np.nan_to_num(last_known(values[::-1])[-1:]) if steps else np.zeros((1, series))
    filled = np.concatenate((np.repeat(first, lags, axis=0), values)).astype(np.float64)
    innovations = np.zeros((steps + past, series))
    ar, ma = linear.ar[::-1], linear.ma[::-1]
    for at in range(steps):
        expected = linear.constant + (ar * filled[at : at + lags]).sum(axis=0)
        expected += (ma * innovations[at : at + past]).sum(axis=0)
        expected = np.clip(expected, -LIMIT, LIMIT)
        value = filled[at + lags]
        missing = np.isnan(value)
        filled[at + lags] = np.where(missing, expected, value)
        innovations[at + past] = np.where(missing | (at == 0), 0, value - expected)
    return filled[lags:], innovations[past:]


def ahead(
    linear: Linear,
    filled: NDArray[np.float64],
    innovations: NDArray[np.float64],
    origins: NDArray[np.intp],
    steps: int,
) -> NDArray[np.float32]:
    """Return the value at each origin and what is expected after it (1 + steps, origins, series)."""
    lags, past = linear.ar.shape[0], linear.ma.shape[0]
    found = np.empty((steps + 1, origins.size, filled.shape[1]), dtype=np.float32)
    found[0] = filled[origins]
    values = [filled[np.maximum(origins - back, 0)] for back in range(lags)]
    errors = [innovations[np.maximum(origins - back, 0)] for back in range(past)]
    for step in range(1, steps + 1):
        value = linear.constant + sum(linear.ar[at] * values[at] for at in range(lags))
        for at in range(step - 1, past):
            value += linear.ma[at] * errors[at - step + 1]
        value = np.clip(value, -LIMIT, LIMIT)
        found[step] = value
        values = [value, *values[:-1]]
    return found
