"""The coming day of one workload, read from a saved state: no forecaster need be made for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.model.columns import part_of
from tidegate.model.day_ahead import DAY_HOURS, DAY_LEVELS, HOUR_SECONDS, DayAhead

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SAID: Final = "day_ahead.said"
"""How the name of the array ends that a state with days in it has."""
NEEDED: Final = (
    "said",
    "capacity",
    "ids",
    "taken",
    "hour",
    "slots",
    "names",
    "model",
    "refreshed_seconds",
    "turn",
    "loss",
    "coverage",
)
"""The arrays this needs: histories, by far the most of a state, are not among them."""


def remembered(state: Mapping[str, NDArray[Any]], identity: int) -> DayAhead | None:
    """Return the day ahead of one workload (workloads is 1); None where it was not remembered.

    Raises:
        InputError: an array is missing.

    """
    parts = {name: part_of(state, name) for name in NEEDED}
    seat = np.flatnonzero(parts["taken"] & (parts["ids"] == identity))
    hour = int(parts["hour"])
    if not seat.size or hour < 0:
        return None
    order = (hour + np.arange(DAY_HOURS)) % parts["said"].shape[1]
    shares = np.minimum(parts["said"][:, order][..., seat].astype(np.float32), 1)
    return DayAhead(
        start_seconds=hour * HOUR_SECONDS,
        levels=DAY_LEVELS,
        quantiles=shares * parts["capacity"][:, seat],
        slot_seconds=int(parts["slots"][0]),
        refreshed_seconds=parts["refreshed_seconds"][:, seat],
        turn=parts["turn"][:, seat],
        models=tuple(bytes(parts["names"]).decode().split("\n")),
        model=parts["model"][:, seat],
        loss=parts["loss"][:, seat],
        coverage=parts["coverage"][..., seat],
    )
