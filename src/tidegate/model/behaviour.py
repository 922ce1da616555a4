"""How workloads and their machine behaved in the last interval: what people ask for and no frame holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tidegate.model.roster import Roster


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineBehaviour:
    """This machine in the last interval; NaN where unknown."""

    cores: float
    cpu_cores_used: float
    load_average: tuple[float, float, float]
    """Processes that run or wait, over 1, 5 and 15 minutes."""
    memory_bytes: float
    memory_bytes_used: float
    swap_bytes: float
    disk_bytes_per_second: float
    network_receive_bytes_per_second: float
    network_transmit_bytes_per_second: float
    stalled_some_ratio: tuple[float, float, float]
    """Share of the interval in which something waited for cpu, memory, io."""
    stalled_full_ratio: tuple[float, float, float]
    """Share of the interval in which everything did."""
    stalled_some_ratio_10_seconds: tuple[float, float, float]
    """The kernel's own average."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Behaviour:
    """Workloads in the last interval, in the order of the roster; NaN where unknown."""

    time_seconds: int
    interval_seconds: float
    """Between the last two reads, as measured; NaN after the first."""
    roster: Roster
    throttled_seconds: NDArray[np.float64]
    """(workloads,) for which it was stopped by its quota in the interval, summed over cores."""
    throttled_seconds_total: NDArray[np.float64]
    """(workloads,) since the cgroup was made."""
    throttled_periods_ratio: NDArray[np.float64]
    """(workloads,) share of the quota's periods in which it was stopped."""
    major_faults_per_second: NDArray[np.float64]
    """(workloads,) pages that had to come from disk."""
    memory_bytes_working_set: NDArray[np.float64]
    """(workloads,) all but file pages that nobody touched lately."""
    memory_bytes_cache: NDArray[np.float64]
    """(workloads,) file pages."""
    swap_bytes: NDArray[np.float64]
    """(workloads,)"""
    stalled_some_ratio: NDArray[np.float64]
    """(3, workloads): share of the interval in which some of its tasks waited for cpu, memory, io."""
    stalled_full_ratio: NDArray[np.float64]
    """(3, workloads): in which all of them did."""
    stalled_some_ratio_10_seconds: NDArray[np.float64]
    """(3, workloads): the kernel's own average."""
    machine: MachineBehaviour
