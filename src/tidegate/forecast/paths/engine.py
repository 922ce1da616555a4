"""The engine for whole paths: plain candidates and trained members, blended per series, level and horizon.

1. Plain candidates (`candidates`) look at a series alone. Members are path models of their own, trained on
   the first part of the history and asked about the rest.
2. The gate (`gate`) says how much of each a series should get, from how the series looks now; it is trained
   on past origins of the same fleet.
3. There are three gates, each trained without a third of the history: what came there corrects the width, per
   level and horizon, so that a promise of 90 % is one (`calibration`); and their mean is steadier than each.

What it says of a series it never saw rests on the same gate: nothing in it is tied to a name.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.paths import calibration
from tidegate.forecast.paths.candidates import CANDIDATES
from tidegate.forecast.paths.lessons import SCHEDULE, Schedule, trained
from tidegate.forecast.paths.looking import ROWS_AT_ONCE, drawn_series, learned_from, look_back, paths_ahead
from tidegate.forecast.paths.lstm import Lstm
from tidegate.forecast.paths.outlook import Said
from tidegate.forecast.windows import DAY_SECONDS, HOUR_SECONDS, steps_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.forecast.paths.gate import Gate
    from tidegate.forecast.paths.outlook import Outlook, Rows
    from tidegate.model.panel import Panel
    from tidegate.model.paths import Paths
    from tidegate.ports import PathForecaster

MEMBERS_RATIO: Final = 0.65
"""Share of the history that members are first trained on; the rest shows the gate what they are worth, and is
learned from too before they answer."""
MEMBER_ORIGINS_MAX: Final = 200
FOLDS: Final = 3
"""Gates; each is trained without a third of the history, which it is judged on, and they answer together."""
BLOCK_DAYS: Final = 2
"""Thirds are made of blocks this long: all of them reach over the whole history."""
FOLDS_DAYS_MIN: Final = 9
FOLD_ROWS: Final = 40_000
"""Forecasts that each gate is judged on."""
MEMBER_SECONDS_MIN: Final = 8 * DAY_SECONDS
"""History below which there are no members: too little to train on and to judge by."""


class PathEngine:
    """Plain candidates, and members if any, behind one gate."""

    def __init__(
        self,
        *,
        seed: int,
        members: Mapping[str, PathForecaster] | None = None,
        schedule: Schedule = SCHEDULE,
    ) -> None:
        """Draw everything from ``seed``; `fit` trains the members. None: the usual ones, if installed."""
        self._seed = seed
        self._members = usual_members(seed) if members is None else dict(members)
        self._schedule = schedule
        self._asked: dict[str, PathForecaster] = {}
        self._gates: tuple[Gate, ...] = ()
        self._width: calibration.Width | None = None
        self._fitted = False

    @property
    def candidates(self) -> tuple[str, ...]:
        """Names of what is blended, members last."""
        return (*CANDIDATES, *self._asked)

    def fit(self, panel: Panel) -> None:
        """Train members and gates on the panel; on less than two days candidates are averaged."""
        random = np.random.default_rng(self._seed)
        panel = drawn_series(panel, random)
        day = steps_in(DAY_SECONDS, panel.step_seconds)
        self._fitted, self._gates, self._width, self._asked = True, (), None, {}
        if panel.steps < 2 * day:
            return
        said = self._train_members(panel)
        view = look_back(panel, said)
        if panel.steps > FOLDS_DAYS_MIN * day:
            self._gates, self._width = self._folded(view, panel, day)
        else:
            self._gates = (self._trained(view, panel.shares, 0),)
        for member in self._asked.values():
            member.fit(panel)

    def paths(self, panel: Panel, horizon_steps: int) -> Paths:
        """Return quantiles of each step ahead; horizons beyond a day repeat the day's shape.

        Raises:
            RuntimeError: `fit` was never called.

        """
        if not self._fitted:
            raise RuntimeError("the engine was not fitted: call fit first")
        return paths_ahead(panel, horizon_steps, self._answer, self._said_now)

    def _answer(self, rows: Rows, ahead: NDArray[np.intp], _series: NDArray[np.intp]) -> NDArray[np.float32]:
        blended = _blended(self._gates, rows)
        return blended if self._width is None else self._width.applied(blended, ahead)

    def _said_now(self, panel: Panel) -> Said | None:
        day = steps_in(DAY_SECONDS, panel.step_seconds)
        return self._said([panel], np.arange(1, day + 1)) if self._asked else None

    def _trained(self, view: Outlook, came: NDArray[np.float32], number: int) -> Gate:
        random = np.random.default_rng((self._seed, number))
        day = steps_in(DAY_SECONDS, view.step_seconds)
        return trained(view, came, horizon_steps=day, schedule=self._schedule, random=random)

    def _folded(self, view: Outlook, panel: Panel, day: int) -> tuple[tuple[Gate, ...], calibration.Width]:
        """Train a gate without each part of the history; what it says of that tells how wide to be."""
        random = np.random.default_rng(self._seed)
        blocks = np.arange(int(view.origins[0]), panel.steps, BLOCK_DAYS * day)
        gates, judged = [], []
        for number in range(FOLDS):
            others = panel.shares.copy()
            for first in blocks[number::FOLDS]:
                others[first : first + BLOCK_DAYS * day] = np.nan
            gates.append(self._trained(view, others, number))
            judged.append(_judged(gates[-1], view, panel.shares, blocks[number::FOLDS], random))
        quantiles, came, ahead = (np.concatenate(parts) for parts in zip(*judged, strict=True))
        return tuple(gates), calibration.measured(quantiles, came, ahead, panel.step_seconds)

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
        said = self._said([panel.until(int(origins[at])) for at in asked], asked_steps(panel.step_seconds))
        quantiles = np.full((origins.size, *said.quantiles.shape[1:]), np.nan, dtype=np.float16)
        quantiles[asked] = said.quantiles
        return replace(said, quantiles=quantiles)

    def _said(self, panels: list[Panel], knots: NDArray[np.intp]) -> Said:
        """Ask every member about every panel, at some steps ahead."""
        said = [
            [member.paths(panel, int(knots[-1])).quantiles[:, knots - 1] for member in self._asked.values()]
            for panel in panels
        ]
        return Said(knots=knots, quantiles=np.stack(said).transpose(0, 1, 3, 4, 2).astype(np.float16))


def asked_steps(step_seconds: int) -> NDArray[np.intp]:
    """Return the steps ahead at which members are heard while the gate learns: each, then two an hour."""
    hour, day = steps_in(HOUR_SECONDS, step_seconds), steps_in(DAY_SECONDS, step_seconds)
    later = np.arange(hour, day + 1, steps_in(HOUR_SECONDS // 2, step_seconds))
    return np.unique(np.concatenate((np.arange(1, hour + 1), later, [day])))


def usual_members(seed: int) -> dict[str, PathForecaster]:
    """Return the members that earn their cost and whose libraries are installed."""
    if any(find_spec(needed) is None for needed in ("jax", "optax")):
        return {}
    return {"lstm": Lstm(seed=seed)}


def without_members(*, seed: int) -> PathEngine:
    """Return the engine of plain candidates alone: nothing that was trained but the gate."""
    return PathEngine(seed=seed, members={})


def _judged(
    gate: Gate,
    view: Outlook,
    came: NDArray[np.float32],
    blocks: NDArray[np.intp],
    random: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.intp]]:
    """Return forecasts (rows, levels) made for some blocks, what came, and how far ahead it was."""
    day = steps_in(DAY_SECONDS, view.step_seconds)
    ends = np.minimum(blocks + BLOCK_DAYS * day, came.shape[0])
    block = np.searchsorted(blocks, view.origins, side="right") - 1
    left = np.where(block >= 0, ends[np.maximum(block, 0)] - view.origins, 0)
    origin = random.choice(np.flatnonzero(left > 0), FOLD_ROWS)
    series = random.integers(0, came.shape[1], FOLD_ROWS)
    ahead = random.integers(1, np.minimum(left[origin], day) + 1)
    value = came[view.origins[origin] - 1 + ahead, series]
    known = np.flatnonzero(~np.isnan(value))
    blended = [
        _blended((gate,), view.rows(origin[some], ahead[some], series[some]))
        for some in np.array_split(known, max(1, known.size // ROWS_AT_ONCE))
    ]
    return np.concatenate(blended), value[known], ahead[known]


def _blended(gates: tuple[Gate, ...], rows: Rows) -> NDArray[np.float32]:
    """Return the mean of what gates blend (rows, levels); without any, the plain mean of the candidates."""
    if not gates:
        count = np.maximum(rows.known.sum(axis=1), 1)[:, None]
        return np.sort(np.where(rows.known[:, :, None], rows.said, 0).sum(axis=1) / count, axis=1)
    return np.mean([gate.blend(rows) for gate in gates], axis=0)
