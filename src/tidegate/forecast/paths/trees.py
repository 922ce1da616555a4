"""Gradient-boosted quantile trees across all series, with LightGBM (Ke et al., NeurIPS 2017)."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.forecast.paths.candidates import MEDIAN
from tidegate.forecast.paths.looking import lessons_from, paths_ahead
from tidegate.model.columns import part_of
from tidegate.model.errors import InputError
from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.forecast.paths.outlook import Rows
    from tidegate.model.panel import Panel
    from tidegate.model.paths import Paths

ROWS: Final = 150_000
"""Forecasts learned from."""
TREES: Final = 120
LEVELS: Final = np.array([0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99], dtype=np.float32)
"""Levels with trees of their own; the others lie linearly between them."""
FAR: Final = np.float32(20)
"""What came counts as no further away than this, in units of the series' restlessness."""
SETTINGS: Final[Mapping[str, object]] = {
    "objective": "quantile",
    "learning_rate": 0.08,
    "num_leaves": 31,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "max_bin": 63,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


class LightGbm:
    """Says quantiles of the change from the last sample, in units of the series' restlessness."""

    def __init__(self, *, seed: int) -> None:
        """Draw what to learn from, and what each tree sees, by ``seed``.

        Raises:
            ModuleNotFoundError: LightGBM is not installed.

        """
        import lightgbm

        self._library = lightgbm
        self._seed = seed
        self._boosters: list[Any] = []

    def fit(self, panel: Panel) -> None:
        """Grow trees for each level.

        Raises:
            InputError: there are less than two days of history.

        """
        random = np.random.default_rng(self._seed)
        view, draws = lessons_from(panel, random, who="lightgbm")
        drawn = draws.draw(ROWS)
        known = drawn.weight > 0
        rows = view.rows(drawn.origin[known], drawn.ahead[known], drawn.series[known])
        level = rows.said[:, 0, MEDIAN]
        moved = np.clip((drawn.came[known] - level) / rows.scale, -FAR, FAR)
        # In shares of capacity an error counts as much as the series is restless.
        data = self._library.Dataset(
            rows.seen, moved, weight=drawn.weight[known] * rows.scale, params=dict(SETTINGS)
        )
        self._boosters = [
            self._library.train({**SETTINGS, "alpha": float(level), "seed": self._seed}, data, TREES)
            for level in LEVELS
        ]

    def paths(self, panel: Panel, horizon_steps: int) -> Paths:
        """Return what the trees say, made to rise with the level.

        Raises:
            RuntimeError: it was neither fitted nor restored.

        """
        if not self._boosters:
            raise RuntimeError("lightgbm was not fitted: call fit or restore first")
        return paths_ahead(panel, horizon_steps, self._answer)

    def _answer(self, rows: Rows, _ahead: NDArray[np.intp], _series: NDArray[np.intp]) -> NDArray[np.float32]:
        said = np.stack([booster.predict(rows.seen, num_threads=1) for booster in self._boosters], axis=1)
        moved = _every_level(np.sort(said, axis=1).astype(np.float32))
        return rows.said[:, 0, MEDIAN, None] + rows.scale[:, None] * moved

    def state(self) -> Mapping[str, NDArray[np.generic]]:
        """Return each level's trees, as LightGBM writes them; nothing before it was fitted."""
        written = [booster.model_to_string().encode() for booster in self._boosters]
        trees = {f"trees.{at}": np.frombuffer(text, np.uint8).copy() for at, text in enumerate(written)}
        digests = {f"digest.{at}": _digest(text) for at, text in enumerate(written)}
        return trees | digests

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned.

        Raises:
            InputError: a level's trees are missing or damaged.

        """
        boosters: list[Any] = []
        for at in range(LEVELS.size if state else 0):
            written = part_of(state, f"trees.{at}").tobytes()
            if not np.array_equal(part_of(state, f"digest.{at}"), _digest(written)):
                raise InputError(f"the stored trees of level {LEVELS[at]:g} are damaged; train them anew")
            boosters.append(self._library.Booster(model_str=written.decode()))
        self._boosters = boosters


def _digest(written: bytes) -> NDArray[np.uint8]:
    """Return the SHA-256 of stored trees: LightGBM ends the whole program over text it can't read."""
    return np.frombuffer(sha256(written).digest(), dtype=np.uint8).copy()


def _every_level(said: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return quantiles (rows, levels) at `PATH_LEVELS` from those at `LEVELS`."""
    upper = np.clip(np.searchsorted(LEVELS, PATH_LEVELS), 1, LEVELS.size - 1)
    part = (PATH_LEVELS - LEVELS[upper - 1]) / (LEVELS[upper] - LEVELS[upper - 1])
    every: NDArray[np.float32] = said[:, upper - 1] + part * (said[:, upper] - said[:, upper - 1])
    return every
