"""The engine for whole paths: plain candidates and trained members, blended per series, level and horizon.

1. Plain candidates (`candidates`) look at a series alone. Members are path models of their own, trained on the
   first part of the history and asked about the rest.
2. The gate (`gate`) says how much of each a series should get, from how the series looks now; it is trained on
   past origins of the same fleet.
3. What came of forecasts in the days before now corrects their width, per level and horizon, so that a promise
   of 90 % is one (`calibration`).

What it says of a series it never saw rests on the same gate: nothing in it is tied to a name.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.paths import calibration
from tidegate.forecast.paths.candidates import CANDIDATES, KNOTS_SECONDS
from tidegate.forecast.paths.lessons import Schedule, trained
from tidegate.forecast.paths.looking import ROWS_AT_ONCE, drawn_series, learned_from, look_back, paths_ahead
from tidegate.forecast.paths.outlook import Said
from tidegate.forecast.windows import DAY_SECONDS, steps_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.forecast.paths.gate import Gate
    from tidegate.forecast.paths.outlook import Outlook, Rows
    from tidegate.model.panel import Panel
    from tidegate.model.paths import Paths
    from tidegate.ports import PathForecaster

MEMBERS_RATIO: Final = 0.65
"""Share of the history that members are trained on; the rest shows the gate what they are worth."""
MEMBER_ORIGINS_MAX: Final = 160
FOLDS: Final = 3
"""Parts of the history; each is forecast by a gate that saw the other two, which tells how wide to be."""
FOLDS_DAYS_MIN: Final = 9
FOLD_ROWS: Final = 40_000
"""Forecasts judged in each part."""
MEMBER_SECONDS_MIN: Final = 8 * DAY_SECONDS
"""History below which there are no members: too little to train on and to judge by."""


class PathEngine:
    """Plain candidates, and members if any, behind one gate."""

    def __init__(
        self,
        *,
        seed: int,
        members: Mapping[str, PathForecaster] | None = None,
        schedule: Schedule = Schedule(),
    ) -> None:
        """Draw everything from ``seed``; members are trained by `fit`."""
        self._seed = seed
        self._members = dict(members or {})
        self._schedule = schedule
        self._asked: dict[str, PathForecaster] = {}
        self._gate: Gate | None = None
        self._width: calibration.Width | None = None
        self._fitted = False

    @property
    def candidates(self) -> tuple[str, ...]:
        """Names of what is blended, members last."""
        return (*CANDIDATES, *self._asked)

    def fit(self, panel: Panel) -> None:
        """Train members and gate on a panel's histories; on less than two days the candidates are averaged."""
        random = np.random.default_rng(self._seed)
        panel = drawn_series(panel, random)
        day = steps_in(DAY_SECONDS, panel.step_seconds)
        self._fitted, self._gate, self._width, self._asked = True, None, None, {}
        if panel.steps < 2 * day:
            return
        said = self._train_members(panel)
        view = look_back(panel, said)
        self._gate = self._trained(view, panel.shares, day)
        if panel.steps > FOLDS_DAYS_MIN * day:
            self._width = self._measured_width(view, panel, day)

    def paths(self, panel: Panel, horizon_steps: int) -> Paths:
        """Return quantiles of each step ahead; horizons beyond a day repeat the day's shape.

        Raises:
            RuntimeError: `fit` was never called.

        """
        if not self._fitted:
            raise RuntimeError("the engine was not fitted: call fit first")
        return paths_ahead(panel, horizon_steps, self._answer, self._said_now)

    def _answer(self, rows: Rows, ahead: NDArray[np.intp], _series: NDArray[np.intp]) -> NDArray[np.float32]:
        blended = _blended(self._gate, rows)
        return blended if self._width is None else self._width.applied(blended, ahead)

    def _said_now(self, panel: Panel) -> Said | None:
        return self._said([panel], panel.step_seconds) if self._asked else None

    def _trained(self, view: Outlook, came: NDArray[np.float32], day: int) -> Gate:
        random = np.random.default_rng(self._seed)
        return trained(view, came, horizon_steps=day, schedule=self._schedule, random=random)

    def _measured_width(self, view: Outlook, panel: Panel, day: int) -> calibration.Width:
        """Forecast each part of the history by a gate that saw only the others, and see how wide to be."""
        random = np.random.default_rng(self._seed)
        edges = np.linspace(int(view.origins[0]), panel.steps, FOLDS + 1).astype(np.intp)
        judged = []
        for first, last in pairwise(edges):
            others = panel.shares.copy()
            others[first:last] = np.nan
            gate = self._trained(view, others, day)
            judged.append(_judged(gate, view, panel.shares, (int(first), int(last)), random))
        quantiles, came, ahead = (np.concatenate(parts) for parts in zip(*judged, strict=True))
        return calibration.measured(quantiles, came, ahead, panel.step_seconds)

    def _train_members(self, panel: Panel) -> Said | None:
        """Train members on the first part of the histories and ask them about the rest."""
        if not self._members or panel.steps * panel.step_seconds < MEMBER_SECONDS_MIN:
            return None
        split = int(panel.steps * MEMBERS_RATIO)
        for member in self._members.values():
            member.fit(panel.until(split))
        self._asked = self._members
        origins = learned_from(panel)
        late = np.flatnonzero(origins >= split)
        asked = late[np.unique(np.linspace(0, late.size - 1, MEMBER_ORIGINS_MAX).astype(np.intp))]
        said = self._said([panel.until(int(origins[at])) for at in asked], panel.step_seconds)
        quantiles = np.full((origins.size, *said.quantiles.shape[1:]), np.nan, dtype=np.float16)
        quantiles[asked] = said.quantiles
        return replace(said, quantiles=quantiles)

    def _said(self, panels: list[Panel], step_seconds: int) -> Said:
        """Ask every member about every panel."""
        knots = np.unique([steps_in(seconds, step_seconds) for seconds in KNOTS_SECONDS]).astype(np.intp)
        said = [
            [member.paths(panel, int(knots[-1])).quantiles[:, knots - 1] for member in self._asked.values()]
            for panel in panels
        ]
        return Said(knots=knots, quantiles=np.stack(said).transpose(0, 1, 3, 4, 2).astype(np.float16))


def _judged(
    gate: Gate, view: Outlook, came: NDArray[np.float32], part: tuple[int, int], random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.intp]]:
    """Return forecasts (rows, levels) made in a part of the history, what came, and how far ahead it was."""
    first, last = part
    inside = np.flatnonzero((view.origins >= first) & (view.origins < last))
    origin = random.choice(inside, FOLD_ROWS)
    series = random.integers(0, came.shape[1], FOLD_ROWS)
    day = steps_in(DAY_SECONDS, view.step_seconds)
    ahead = random.integers(1, np.minimum(last - view.origins[origin], day) + 1)
    value = came[view.origins[origin] - 1 + ahead, series]
    known = np.flatnonzero(~np.isnan(value))
    blended = [
        _blended(gate, view.rows(origin[some], ahead[some], series[some]))
        for some in np.array_split(known, max(1, known.size // ROWS_AT_ONCE))
    ]
    return np.concatenate(blended), value[known], ahead[known]


def _blended(gate: Gate | None, rows: Rows) -> NDArray[np.float32]:
    """Return blended quantiles (rows, levels); the plain mean of the candidates where there is no gate."""
    if gate is None:
        count = np.maximum(rows.known.sum(axis=1), 1)[:, None]
        return np.sort(np.where(rows.known[:, :, None], rows.said, 0).sum(axis=1) / count, axis=1)
    return gate.blend(rows.seen, rows.said, rows.known, rows.scale)
