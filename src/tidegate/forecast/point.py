"""Single-model forecasts: wraps a point or a few quantiles of one model as a `Forecast`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.forecast import Forecast

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.snapshot import Snapshot


def of_one_model(
    snapshot: Snapshot,
    *,
    model: str,
    lead_steps: int,
    levels: NDArray[np.float32],
    quantiles: NDArray[np.float32],
) -> Forecast:
    """Return the forecast of a model that keeps no record of itself.

    ``quantiles`` is (levels, resources, workloads); NaN where nothing has been seen yet.
    """
    shape = quantiles.shape[1:]
    return Forecast(
        time_seconds=snapshot.time_seconds,
        lead_seconds=lead_steps * snapshot.step_seconds,
        levels=levels,
        quantiles=quantiles,
        models=(model,),
        model=np.zeros(shape, dtype=np.uint8),
        skill=np.full(shape, np.nan, dtype=np.float32),
        coverage=np.full(shape, np.nan, dtype=np.float32),
        profiling=np.isnan(quantiles[-1]),
    )


CERTAIN = np.array([1.0], dtype=np.float32)
"""The one level of a forecast that claims to be an upper bound or a plain value."""
