"""The trace that forecasts are measured on: the given one, else the archive's month, else a made-up one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.lab.archive import generated_trace, load_trace
from tidegate.lab.replay import with_known_capacity
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.lab.bench.forecast.asked import Asked
    from tidegate.model.trace import Trace

MONTH: Final = "bitbrains/2013-08-vms-001-250.parquet"
"""The archive's: 250 VMs, August 2013 (GWA-T-12 Bitbrains, Delft University of Technology)."""
MADE_UP_VMS: Final = 60
MADE_UP_DAYS: Final = 21.0
MADE_UP_STEP_SECONDS: Final = 300
DAY_SECONDS: Final = 86_400


def trace_of(asked: Asked, archive: Path | None) -> Trace:
    """Return CPU and memory of the trace that was asked for, with known capacity.

    Raises:
        InputError: a file is no trace, or has no capacity.

    """
    month = None if archive is None else archive / MONTH
    files = asked.traces or (() if month is None or not month.is_file() else (month,))
    if files:
        return _some(with_known_capacity(load_trace(files, resources=(Resource.CPU, Resource.MEMORY))), asked)
    made = generated_trace(
        vms=asked.vms or MADE_UP_VMS,
        days=MADE_UP_DAYS,
        step_seconds=MADE_UP_STEP_SECONDS,
        seed=asked.seed,
    )
    return replace(with_known_capacity(made), name=f"made up, seed {asked.seed}")


def about(trace: Trace) -> dict[str, str]:
    """Return what a reader needs to know of the data, beside the machine."""
    return {
        "data": trace.name,
        "data_vms": str(len(trace.vms)),
        "data_days": f"{trace.ticks * trace.step_seconds / DAY_SECONDS:.3g}",
        "data_step_seconds": str(trace.step_seconds),
    }


def _some(trace: Trace, asked: Asked) -> Trace:
    """Return the trace of as many VMs as were asked for, evenly chosen."""
    count = len(trace.vms)
    if asked.vms is None or asked.vms >= count:
        return trace
    chosen = np.linspace(0, count - 1, asked.vms).round().astype(np.intp)
    return replace(
        trace,
        vms=tuple(trace.vms[at] for at in chosen),
        servers=tuple(trace.servers[at] for at in chosen) if trace.servers else (),
        used=trace.used[:, :, chosen],
        capacity=trace.capacity[:, :, chosen],
    )
