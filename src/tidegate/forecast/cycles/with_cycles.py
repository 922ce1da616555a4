"""`WithCycles`: any forecaster, and in its place short cycles where these have earned the right to act."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.forecast.engine.network import OFFSETS
from tidegate.forecast.engine.record import MARGIN_KICK, MARGIN_MIN, MARGIN_START
from tidegate.model.columns import Column, Columns, prefixed, under
from tidegate.model.forecast import Exceedance, Forecast
from tidegate.ports import Thinker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.forecast.cycles.cycles import Cycles
    from tidegate.model.snapshot import Snapshot
    from tidegate.ports import Forecaster

NAME: Final = "cycles"
ABOVE_RATIO: Final = np.float32(0.1)
"""Probability above the expected peak, as a share of the SLA's rate: it holds the highest residual of the
cycles tried."""
BELOW: Final = np.float32(1)


class WithCycles:
    """Wraps a forecaster; where cycles act, quantiles, model, skill, coverage and curve are theirs."""

    def __init__(self, forecaster: Forecaster, cycles: Cycles) -> None:
        """Take the forecaster that speaks elsewhere and the cycles, both with the same lead."""
        self._forecaster = forecaster
        self._cycles = cycles
        self._memory = Columns(
            last=Column(dtype=np.float32, fill=np.nan),
            margin=Column(dtype=np.float32, fill=MARGIN_START),
            acted=Column(dtype=np.bool_, fill=0),
        )
        self._said: Forecast | None = None
        """By the cycles, of the last snapshot."""

    def observe(self, snapshot: Snapshot) -> None:
        """Show both the snapshot; keep the last sample and the margin a forecast without a curve needs."""
        self._forecaster.observe(snapshot)
        self._cycles.observe(snapshot)
        memory = self._memory
        memory.follow(snapshot)
        present = ~np.isnan(snapshot.used)
        np.copyto(memory["last"], np.minimum(snapshot.used, snapshot.capacity), where=present)
        short = snapshot.pressed.astype(np.float32)
        margin = memory["margin"]
        moved = margin * np.exp(short - snapshot.roster.violation_rate) + MARGIN_KICK * short
        # What ran short under the cycles' grants says nothing about the baseline's.
        np.copyto(margin, np.clip(moved, MARGIN_MIN, 1).astype(np.float32), where=present & ~memory["acted"])
        self._said = self._cycles.forecast(snapshot)
        memory["acted"] = self._said.model > 0

    def think(self) -> None:
        """Let the cycles search, and whatever is wrapped think."""
        self._cycles.think()
        if isinstance(self._forecaster, Thinker):
            self._forecaster.think()

    def forecast(self, snapshot: Snapshot) -> Forecast:
        """Return the wrapped forecast, and the cycles' where they act.

        Raises:
            RuntimeError: nothing was observed yet.

        """
        inner, mine = self._forecaster.forecast(snapshot), self._said
        if mine is None:
            raise RuntimeError("a forecast was asked for before the first observation")
        acts = mine.model > 0
        curve = self._built(inner, snapshot) if inner.exceedance is None else inner.exceedance
        number = np.uint8(len(inner.models))
        return replace(
            inner,
            quantiles=np.where(acts, mine.quantiles[-1], inner.quantiles),
            models=(*inner.models, NAME),
            model=np.where(acts, number, inner.model),
            skill=np.where(acts, mine.skill, inner.skill),
            coverage=np.where(acts, mine.coverage, inner.coverage),
            profiling=inner.profiling & ~acts,
            exceedance=_stepped(curve, acts, mine.quantiles[-1], snapshot.roster.violation_rate),
        )

    def _built(self, inner: Forecast, snapshot: Snapshot) -> Exceedance:
        """Return a curve that acts nowhere: its safe amount is the highest quantile + calibrated margin."""
        memory = self._memory
        shape = inner.model.shape
        return Exceedance(
            base=memory["last"].copy(),
            offsets=OFFSETS,
            scale=snapshot.capacity,
            probability=np.zeros((OFFSETS.size, *shape), dtype=np.float32),
            acts=np.zeros(shape, dtype=np.bool_),
            safe=np.minimum(inner.quantiles[-1] + memory["margin"] * snapshot.capacity, snapshot.capacity),
        )

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return what the wrapped forecaster, where it can be saved, the cycles and the margins remember."""
        named = prefixed("own", self._memory.state()) | prefixed("cycles", self._cycles.state())
        if hasattr(self._forecaster, "state"):
            named |= prefixed("forecaster", self._forecaster.state())
        return named

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        self._memory.restore(under(state, "own"))
        self._cycles.restore(under(state, "cycles"))
        if hasattr(self._forecaster, "restore"):
            self._forecaster.restore(under(state, "forecaster"))


def _stepped(
    curve: Exceedance,
    acts: NDArray[np.bool_],
    expected: NDArray[np.float32],
    violation_rate: NDArray[np.float32],
) -> Exceedance:
    """Return the curve with a step at the ``expected`` peak where cycles act: surely passed below it."""
    if not acts.any():
        return curve
    probability = curve.probability.copy()
    row, column = np.nonzero(acts)
    rung = curve.base[row, column] + curve.offsets[:, None] * curve.scale[row, column]
    above = ABOVE_RATIO * violation_rate[column]
    probability[:, row, column] = np.where(rung < expected[row, column], BELOW, above)
    return replace(curve, probability=probability, acts=curve.acts | acts, at_once=acts)
