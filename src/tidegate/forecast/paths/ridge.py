"""Ridge regression across all series: one linear model a horizon, and how far it has been off.

The simplest model that learns from the whole fleet; on cloud data it is hard to beat (Toner et al. 2025).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.forecast.paths.candidates import KNOTS_SECONDS, MEDIAN
from tidegate.forecast.paths.histories import sample_quantiles
from tidegate.forecast.paths.looking import lessons_from, paths_ahead
from tidegate.forecast.windows import steps_in
from tidegate.model.columns import part_of
from tidegate.model.errors import InputError
from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.forecast.paths.draws import Draws
    from tidegate.forecast.paths.outlook import Outlook, Rows
    from tidegate.model.panel import Panel
    from tidegate.model.paths import Paths

ROWS: Final = 20_000
"""Forecasts learned from, for each horizon."""
PENALTY: Final = 30.0
"""Rows' worth of belief that nothing moves."""
CLIP: Final = np.float32(5)
FAR: Final = np.float32(20)
"""What came counts as no further away than this, in units of the series' restlessness."""
_LEVELS: Final = tuple(float(level) for level in PATH_LEVELS)


class Ridge:
    """Predicts the change from the last sample, in units of the series' restlessness."""

    def __init__(self, *, seed: int) -> None:
        """Draw what to learn from by ``seed``."""
        self._seed = seed
        self._knots: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._centre: NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self._spread: NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self._slopes: NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)
        self._errors: NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)

    def fit(self, panel: Panel) -> None:
        """Learn one linear model for each horizon.

        Raises:
            InputError: there are less than two days of history.

        """
        random = np.random.default_rng(self._seed)
        view, draws = lessons_from(panel, random, who="ridge")
        knots = np.unique([steps_in(seconds, panel.step_seconds) for seconds in KNOTS_SECONDS]).astype(
            np.intp
        )
        first = draws.draw(ROWS)
        seen = view.rows(first.origin, first.ahead, first.series).seen
        self._knots, self._centre, self._spread = (
            knots,
            seen.mean(axis=0),
            seen.std(axis=0) + np.float32(1e-3),
        )
        learned = [self._learned(view, draws, int(knot), random) for knot in knots]
        self._slopes = np.stack([slopes for slopes, _ in learned])
        self._errors = np.stack([errors for _, errors in learned])

    def paths(self, panel: Panel, horizon_steps: int) -> Paths:
        """Return the linear forecast and the quantiles of its past errors.

        Raises:
            RuntimeError: it was neither fitted nor restored.

        """
        if not self._knots.size:
            raise RuntimeError("ridge was not fitted: call fit or restore first")
        return paths_ahead(panel, horizon_steps, self._answer)

    def _learned(
        self, view: Outlook, draws: Draws, knot: int, random: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return slopes (inputs + 1,) and errors' quantiles (levels,) of one horizon."""
        drawn = draws.given(
            random.integers(0, view.origins.size, ROWS),
            np.full(ROWS, knot),
            random.integers(0, view.history.shape[1], ROWS),
        )
        rows = view.rows(drawn.origin, drawn.ahead, drawn.series)
        inputs = self._inputs(rows)
        level = view.traits.level[drawn.origin, drawn.series]
        moved = np.clip((drawn.came - level) / rows.scale, -FAR, FAR)
        weight = drawn.weight * rows.scale
        weight /= max(float(weight.mean()), 1e-9)
        gram = (inputs * weight[:, None]).T @ inputs
        gram[np.diag_indices_from(gram)] += np.float32(PENALTY)
        slopes = np.linalg.solve(gram, inputs.T @ (weight * moved)).astype(np.float32)
        known = drawn.weight > 0
        errors = (moved - inputs @ slopes)[known] if known.any() else np.zeros(1, dtype=np.float32)
        return slopes, sample_quantiles(errors, _LEVELS)

    def _inputs(self, rows: Rows) -> NDArray[np.float32]:
        seen = np.clip((rows.seen - self._centre) / self._spread, -CLIP, CLIP)
        return np.concatenate((seen, np.ones((seen.shape[0], 1), dtype=np.float32)), axis=1)

    def _answer(self, rows: Rows, ahead: NDArray[np.intp], _series: NDArray[np.intp]) -> NDArray[np.float32]:
        inputs = self._inputs(rows)
        said = np.stack([inputs @ slopes for slopes in self._slopes])
        middle, errors = _between(self._knots, ahead, said, self._errors)
        level = rows.said[:, 0, MEDIAN]
        return level[:, None] + rows.scale[:, None] * (middle[:, None] + errors)

    def state(self) -> Mapping[str, NDArray[np.generic]]:
        """Return slopes, errors and how inputs are scaled; nothing before it was fitted."""
        if not self._knots.size:
            return {}
        return {
            "knots": self._knots.copy(),
            "centre": self._centre.copy(),
            "spread": self._spread.copy(),
            "slopes": self._slopes.copy(),
            "errors": self._errors.copy(),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned; from nothing, as if never fitted.

        Raises:
            InputError: an array is missing, or the arrays don't fit each other.

        """
        if not state:
            self._knots = np.empty(0, dtype=np.intp)
            return
        knots, centre, spread, slopes, errors = (
            part_of(state, name) for name in ("knots", "centre", "spread", "slopes", "errors")
        )
        shapes = (centre.shape, spread.shape, slopes.shape, errors.shape)
        inputs = (centre.size,)
        if shapes != (inputs, inputs, (knots.size, centre.size + 1), (knots.size, PATH_LEVELS.size)):
            raise InputError("the stored ridge's arrays don't fit each other; train it anew")
        self._knots, self._centre, self._spread = knots, centre, spread
        self._slopes, self._errors = slopes, errors


def _between(
    knots: NDArray[np.intp],
    ahead: NDArray[np.intp],
    said: NDArray[np.float32],
    errors: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return each row's forecast (rows,) and errors (rows, levels), linear between horizons."""
    upper = np.minimum(np.searchsorted(knots, ahead), knots.size - 1)
    lower = np.maximum(upper - 1, 0)
    span = np.maximum(knots[upper] - knots[lower], 1)
    part = np.clip((ahead - knots[lower]) / span, 0, 1).astype(np.float32)
    row = np.arange(ahead.size)
    middle = said[lower, row] + part * (said[upper, row] - said[lower, row])
    return middle, errors[lower] + part[:, None] * (errors[upper] - errors[lower])
