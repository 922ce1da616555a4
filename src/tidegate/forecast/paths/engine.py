"""The engine for whole paths: gates over plain candidates, and members that learned across series.

1. Plain candidates (`candidates`) look at a series alone. A gate (`gate`) says how much of each a series
   should get, from how it looks now. There are three gates, each trained without a third of the history.
2. Members are path models of their own, such as the LSTM. They are trained on the first part of the history
   and asked about the rest.
3. What came where nobody had learned from it says how far to rely on the gates beside the members
   (`reliance`), and how wide to be, so that a promise of 90 % is one (`calibration`). Then the members learn
   from the whole history.

Nothing is tied to a series' name: what was learned from some VMs serves others.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.paths import calibration, judging, reliance
from tidegate.forecast.paths.candidates import CANDIDATES
from tidegate.forecast.paths.draws import Draws
from tidegate.forecast.paths.lessons import SCHEDULE, Schedule, trained
from tidegate.forecast.paths.looking import ROWS_AT_ONCE, drawn_series, look_back, paths_ahead
from tidegate.forecast.paths.lstm import Lstm
from tidegate.forecast.windows import DAY_SECONDS, steps_in
from tidegate.model.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.forecast.paths.gate import Gate
    from tidegate.forecast.paths.judging import Heard
    from tidegate.forecast.paths.outlook import Outlook, Rows
    from tidegate.model.panel import Panel
    from tidegate.ports import PathForecaster

FOLDS: Final = 3
"""Gates: each is trained without a third of the history, which it is judged on."""
FOLDS_DAYS_MIN: Final = 9
"""History below which there is one gate and nothing to judge by, and members are not asked."""


class PathEngine:
    """Gates over plain candidates, and members if any."""

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
        self._forget()

    def _forget(self) -> None:
        self._gates: tuple[Gate, ...] = ()
        self._asked: tuple[PathForecaster, ...] = ()
        self._reliance: reliance.Reliance | None = None
        self._width: calibration.Width | None = None
        self._fitted = False

    @property
    def candidates(self) -> tuple[str, ...]:
        """Names of who has a say, members last."""
        return (*CANDIDATES, *(name for name, member in self._members.items() if member in self._asked))

    def fit(self, panel: Panel) -> None:
        """Train members and gates on the panel; on less than two days candidates are averaged."""
        self._forget()
        panel = drawn_series(panel, np.random.default_rng(self._seed))
        day = steps_in(DAY_SECONDS, panel.step_seconds)
        if panel.steps >= FOLDS_DAYS_MIN * day:
            self._fit_folds(panel, day)
        elif panel.steps >= 2 * day:
            self._gates = (self._trained(look_back(panel), panel.shares, 0),)
        self._fitted = True

    def paths(self, panel: Panel, horizon_steps: int) -> Paths:
        """Return quantiles of each step ahead; beyond a day, gates repeat the day's shape.

        Raises:
            RuntimeError: `fit` was never called.

        """
        if not self._fitted:
            raise RuntimeError("the engine was not fitted: call fit first")
        said = paths_ahead(panel, horizon_steps, self._gates_answer).quantiles
        ahead = np.arange(1, horizon_steps + 1)
        if self._reliance is not None:
            members = judging.mean_of(self._asked, panel, horizon_steps)
            share = self._reliance.share_at(ahead)[None, :, None]
            said = share * said + (1 - share) * members
        if self._width is not None:
            said = self._width.applied(said.transpose(1, 2, 0), ahead[:, None]).transpose(2, 0, 1)
        return Paths(
            end_seconds=panel.end_seconds,
            step_seconds=panel.step_seconds,
            quantiles=np.clip(said, 0, 1).astype(np.float32, copy=False),
        )

    def _gates_answer(
        self, rows: Rows, _ahead: NDArray[np.intp], _series: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        if not self._gates:
            return rows.said.mean(axis=1)
        return np.mean([gate.blend(rows) for gate in self._gates], axis=0)

    def _fit_folds(self, panel: Panel, day: int) -> None:
        """Train a gate without each part of the history; what all say of it tells trust and width."""
        view = look_back(panel)
        said = judging.heard(tuple(self._members.values()), panel, view.origins)
        random = np.random.default_rng(self._seed)
        draws = Draws(view, panel.shares, horizon_steps=day, random=random, mix=self._schedule.mix)
        blocks = judging.blocks_of(view)
        gates, parts = [], []
        for number in range(FOLDS):
            fold = blocks[number::FOLDS]
            gate = self._trained(view, judging.without(panel.shares, view, fold), number)
            where = judging.drawn_within(view, fold, None if said is None else said.origins, random)
            parts.append(judging.judged(gate.blend, view, draws.given(*where), said, ROWS_AT_ONCE))
            gates.append(gate)
        self._gates = tuple(gates)
        self._measure(judging.together(parts), said, panel.step_seconds)
        if said is not None:
            for member in said.members:
                member.fit(panel)
            self._asked = said.members

    def _measure(self, seen: judging.Judged, said: Heard | None, step_seconds: int) -> None:
        if said is None:
            self._width = calibration.measured(seen.gates, seen.came, seen.ahead, step_seconds)
            return
        self._reliance = reliance.measured(seen, step_seconds)
        share = self._reliance.share_at(seen.ahead)[:, None]
        answer = share * seen.gates + (1 - share) * seen.members
        asked = ~np.isnan(answer[:, 0])
        width = calibration.measured(answer[asked], seen.came[asked], seen.ahead[asked], step_seconds)
        self._width = width.eased()  # the members go on to learn from the rest

    def _trained(self, view: Outlook, came: NDArray[np.float32], number: int) -> Gate:
        random = np.random.default_rng((self._seed, number))
        day = steps_in(DAY_SECONDS, view.step_seconds)
        return trained(view, came, horizon_steps=day, schedule=self._schedule, random=random)


def usual_members(seed: int) -> dict[str, PathForecaster]:
    """Return the members that earn their cost and whose libraries are installed."""
    if any(find_spec(needed) is None for needed in ("jax", "optax")):
        return {}
    return {"lstm": Lstm(seed=seed)}


def without_members(*, seed: int) -> PathEngine:
    """Return the engine of plain candidates alone: nothing that was trained but the gates."""
    return PathEngine(seed=seed, members={})
