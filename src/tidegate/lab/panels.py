"""Panels from traces: what path models look at, in shares of capacity."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tidegate.lab.replay import with_known_capacity
from tidegate.model.panel import Panel

if TYPE_CHECKING:
    from tidegate.model.resources import Resource
    from tidegate.model.trace import Trace


def panel_of(trace: Trace, resource: Resource) -> Panel:
    """Return the histories of one resource as shares of the capacity last known at each step.

    Shares are clipped to 0-1; NaN where the sample is missing or no capacity was known yet.

    Raises:
        InputError: the trace has no capacity of the resource.

    """
    at = trace.resources.index(resource)
    alone = replace(
        trace, resources=(resource,), used=trace.used[at : at + 1], capacity=trace.capacity[at : at + 1]
    )
    used, capacity = with_known_capacity(alone).rows_of(resource)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.clip(used / capacity, 0, 1)
    return Panel(
        start_seconds=trace.start_seconds,
        step_seconds=trace.step_seconds,
        names=trace.vms,
        shares=np.where(capacity > 0, shares, np.nan).astype(np.float32),
        capacity=capacity[-1],
        groups=trace.servers,
    )
