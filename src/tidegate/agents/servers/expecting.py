"""What each application of a card will need in the next minutes: for the fleet manager, who moves in minutes.

The fast loop looks a second or two ahead, which says little about whether a card will do. So samples are
averaged over `STEP_SECONDS` and shown to a forecaster of their own, whose lead is `AHEAD_SECONDS`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.app.registry import LIVE, Settings, forecaster

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.resources import Resource
    from tidegate.model.roster import Roster
    from tidegate.model.snapshot import Snapshot
    from tidegate.ports import Forecaster

STEP_SECONDS: Final = 10
AHEAD_SECONDS: Final = 300
"""A move takes seconds and pays back in minutes."""


@dataclass(slots=True, kw_only=True, eq=False)
class Expecting:
    """Averages, and forecasts when a step is full."""

    resources: tuple[Resource, ...]
    model: str = LIVE
    seed: int = 0
    _forecaster: Forecaster | None = None
    _sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    _counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    _pressed: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.bool_))
    _roster: Roster | None = None
    _number: int = 0
    """Of the step that is being averaged, counted from 1970."""
    _expected: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def show(self, snapshot: Snapshot) -> None:
        """Take in a snapshot of applications."""
        number = snapshot.time_seconds // STEP_SECONDS
        if snapshot.roster is not self._roster:
            self._begin(snapshot, number)
        elif number != self._number:
            with np.errstate(invalid="ignore", divide="ignore"):
                mean = (self._sums / self._counts).astype(np.float32)
            averaged = replace(snapshot, used=mean, pressed=self._pressed, step_seconds=STEP_SECONDS)
            self._forecast(averaged)
            self._begin(snapshot, number)
        present = ~np.isnan(snapshot.used)
        self._sums += np.where(present, snapshot.used, 0)
        self._counts += present
        self._pressed |= snapshot.pressed

    def expected(self, application: str) -> NDArray[np.float32] | None:
        """Return what one will need at its peak (resources,), NaN unknown; None where nothing is."""
        return self._expected.get(application)

    def _begin(self, snapshot: Snapshot, number: int) -> None:
        self._roster, self._number = snapshot.roster, number
        self._sums = np.zeros(snapshot.used.shape)
        self._counts = np.zeros(snapshot.used.shape, dtype=np.int64)
        self._pressed = np.zeros(snapshot.used.shape, dtype=np.bool_)

    def _forecast(self, snapshot: Snapshot) -> None:
        if self._forecaster is None:
            lead = AHEAD_SECONDS // STEP_SECONDS
            settings = Settings(
                resources=self.resources,
                step_seconds=STEP_SECONDS,
                lead_steps=lead,
                seed=self.seed,
                model=self.model,
            )
            self._forecaster = forecaster(self.model)(settings)
        self._forecaster.observe(snapshot)
        said = self._forecaster.forecast(snapshot)
        rates = snapshot.roster.violation_rate
        amount = np.empty(snapshot.used.shape, dtype=np.float32)
        for rate in np.unique(rates):
            amount[:, rates == rate] = said.at_level(1 - float(rate))[:, rates == rate]
        if said.exceedance is not None:
            amount = np.where(said.exceedance.acts, amount, said.exceedance.safe)
        self._expected = dict(zip(snapshot.roster.names, amount.T, strict=True))
