"""The engine with one part taken out, to see in a replay what that part earns.

Each is a wrapper around what the engine says, or the engine with one step of its work left out; the engine
itself knows nothing of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tidegate.forecast.engine import past as pasts
from tidegate.forecast.engine.drift import NO_ALARMS, Alarms
from tidegate.forecast.engine.engine import PROFILING_SECONDS, Engine, amount_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.forecast.engine.past import Chunk, Sample
    from tidegate.model.forecast import Exceedance, Forecast
    from tidegate.model.snapshot import Snapshot


class WithoutDrift(Engine):
    """Never looks for changes, and never forgets early."""

    def _remember(self, past: Chunk, drift: Chunk, sample: Sample, time_seconds: int) -> Alarms:
        step, slots = self._step_seconds, self._slots
        pasts.remember(past, sample, time_seconds=time_seconds, step_seconds=step, slots=slots)
        return NO_ALARMS


class WithoutPeers(Engine):
    """Newcomers start from nothing, and wait a day as the first ones did."""

    newcomer_seconds: ClassVar[int] = PROFILING_SECONDS

    def _welcome(self, snapshot: Snapshot, share: NDArray[np.float32]) -> None:
        pass


class _Around:
    """Wraps an engine and changes what it says; what it remembers is the engine's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def observe(self, snapshot: Snapshot) -> None:
        """Show the engine the snapshot."""
        self._engine.observe(snapshot)

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the engine's memory."""
        return self._engine.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        self._engine.restore(state)


class Plain(_Around):
    """Without the network: the best plain model with its calibrated margin decides everywhere."""

    def forecast(self, snapshot: Snapshot) -> Forecast:
        """Return the engine's forecast with nobody acting."""
        said = self._engine.forecast(snapshot)
        curve = _curve(said)
        return _decided_by(said, curve.safe, curve)


class Quantile(_Around):
    """Without price and regret: grants are the curve's own quantile at each SLA."""

    def forecast(self, snapshot: Snapshot) -> Forecast:
        """Return the engine's forecast with the quantile as an amount to be granted as it is."""
        said = self._engine.forecast(snapshot)
        curve = _curve(said)
        with np.errstate(invalid="ignore", divide="ignore"):
            last = curve.base / curve.scale
        amount = amount_at(curve.probability, last, snapshot.roster.violation_rate) * curve.scale
        return _decided_by(said, np.where(curve.acts, amount, curve.safe), curve)


class Trusting(_Around):
    """Without the record: the network acts wherever a series has been seen for long enough."""

    def forecast(self, snapshot: Snapshot) -> Forecast:
        """Return the engine's forecast, acting wherever it is not profiling."""
        said = self._engine.forecast(snapshot)
        curve = _curve(said)
        acts = ~said.profiling & ~np.isnan(curve.safe)
        return replace(said, exceedance=replace(curve, acts=acts))


def _curve(said: Forecast) -> Exceedance:
    assert said.exceedance is not None, "the engine always says a curve"
    return said.exceedance


def _decided_by(said: Forecast, safe: NDArray[np.float32], curve: Exceedance) -> Forecast:
    """Return the forecast with one amount instead of the curve's levels; nobody acts on the curve."""
    nowhere = np.zeros_like(curve.acts)
    return replace(
        said,
        quantiles=np.broadcast_to(safe, said.quantiles.shape).copy(),
        exceedance=replace(curve, acts=nowhere, safe=safe),
    )


__all__ = ["Plain", "Quantile", "Trusting", "WithoutDrift", "WithoutPeers"]
