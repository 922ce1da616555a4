"""Fracast-0, a small pre-trained network that was never trained on the fleet: off unless it is installed.

Optional and outside the lock: its package `fracast` (Apache-2.0) brings its weights and needs PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.model.errors import InputError
from tidegate.model.paths import PATH_LEVELS, Paths

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.panel import Panel

CONTEXT_STEPS: Final = 2048
"""What the network looks at; it ignores what is older."""
SAMPLES_MIN: Final = 8
"""The network refuses series with fewer samples."""
SERIES_AT_ONCE: Final = 64
"""Series per batch: more at once is no faster on a CPU, and takes more memory."""
LEVELS_SAID: Final = 9
"""The network says 0.1 to 0.9, the first nine of `PATH_LEVELS`, in blocks of 48 steps: each further block
is made as if the medians of those before had come true."""


class Fracast:
    """Answers from the panel alone, with nothing to fit; a day of one series takes it a quarter second."""

    def __init__(self, *, seed: int) -> None:
        """Load the network with the weights in its package; nothing is drawn from ``seed``.

        Raises:
            InputError: the package is not installed.

        """
        try:
            package = import_module("fracast")
        except ModuleNotFoundError as error:
            raise InputError(
                f"model 'fracast' needs packages that are not installed ({error.name}): "
                "pip install torch==2.13.0 fracast"
            ) from error
        self._model: Any = package.FracastModel.from_pretrained()

    def fit(self, panel: Panel) -> None:
        """Learn nothing: it was trained before."""

    def paths(self, panel: Panel, horizon_steps: int) -> Paths:
        """Return quantiles of each step ahead, from the last `CONTEXT_STEPS` of the panel."""
        known = ~np.isnan(panel.shares).all(axis=0)
        found = np.empty((PATH_LEVELS.size, horizon_steps, len(panel.names)), dtype=np.float32)
        found[:, :, ~known] = PATH_LEVELS[:, None, None]
        context = filled(panel.shares[-CONTEXT_STEPS:], _last_known(panel.shares))
        which = np.flatnonzero(known)
        for start in range(0, which.size, SERIES_AT_ONCE):
            some = which[start : start + SERIES_AT_ONCE]
            said = self._model.forecast_batch(np.ascontiguousarray(context[:, some].T), horizon=horizon_steps)
            found[:, :, some] = with_tails(np.asarray(said, dtype=np.float32).transpose(2, 1, 0))
        return Paths(end_seconds=panel.end_seconds, step_seconds=panel.step_seconds, quantiles=found)


def filled(shares: NDArray[np.float32], fallback: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return histories (steps, series) whose gaps repeat the sample before them.

    What comes before the first sample stays NaN, which the network leaves out; where that leaves it
    fewer than `SAMPLES_MIN`, the first sample, or else ``fallback``, stands for the missing ones.
    """
    short = max(SAMPLES_MIN - shares.shape[0], 0)
    shares = np.concatenate((np.full((short, shares.shape[1]), np.nan, dtype=np.float32), shares))
    known = ~np.isnan(shares)
    latest = np.maximum.accumulate(np.where(known, np.arange(shares.shape[0])[:, None], -1), axis=0)
    series = np.arange(shares.shape[1])
    found = np.where(latest >= 0, shares[latest, series], np.float32(np.nan))
    first = np.where(known.any(axis=0), shares[known.argmax(axis=0), series], fallback)
    tail = found[-SAMPLES_MIN:]
    found[-SAMPLES_MIN:] = np.where(np.isnan(tail), first, tail)
    return found


def with_tails(said: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return all levels (levels, steps, series) of 0.1 to 0.9 (9, steps, series), rising, in 0..1.

    Above 0.9 the tail is taken to be exponential: as far again from 0.9 to 0.95 as from 0.8 to 0.9,
    since each halves what is left, and log2(10) times as far to 0.99.
    """
    said = np.sort(said, axis=0)
    top, slope = said[LEVELS_SAID - 1], said[LEVELS_SAID - 1] - said[LEVELS_SAID - 2]
    halvings = np.log2(0.1 / (1 - PATH_LEVELS[LEVELS_SAID:]))
    tails = top + slope * halvings[:, None, None].astype(np.float32)
    found: NDArray[np.float32] = np.clip(np.concatenate((said, tails)), 0, 1)
    return found


def _last_known(shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the last sample of each series (series,), NaN where there is none."""
    known = ~np.isnan(shares)
    if not shares.shape[0]:
        return np.full(shares.shape[1], np.nan, dtype=np.float32)
    last = shares.shape[0] - 1 - known[::-1].argmax(axis=0)
    found: NDArray[np.float32] = shares[last, np.arange(shares.shape[1])]
    return found
