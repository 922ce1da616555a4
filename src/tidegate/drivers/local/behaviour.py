"""Tells how workloads and the machine behaved in the last interval, from what the kernel counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.drivers.cgroups.counters import PRESSURES, Amount, Total
from tidegate.drivers.local.machine import pressure_average
from tidegate.model.behaviour import Behaviour, MachineBehaviour

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.drivers.local.machine import Machine
    from tidegate.model.roster import Roster

_SOME: Final = slice(Total.SOME_CPU_SECONDS, Total.SOME_CPU_SECONDS + len(PRESSURES))
_FULL: Final = slice(Total.FULL_CPU_SECONDS, Total.FULL_CPU_SECONDS + len(PRESSURES))
_AVERAGE: Final = slice(Amount.SOME_CPU_RATIO, Amount.SOME_CPU_RATIO + len(PRESSURES))


def behaviour_of(
    *,
    time_seconds: int,
    interval_seconds: float,
    roster: Roster,
    totals: NDArray[np.float64],
    per_second: NDArray[np.float64],
    amounts: NDArray[np.float64],
    machine: MachineBehaviour,
) -> Behaviour:
    """Name the rows of (`Total`, workloads) totals and rates, and of (`Amount`, workloads) amounts."""
    periods = per_second[Total.PERIODS]
    stopped = per_second[Total.THROTTLED_PERIODS]
    return Behaviour(
        time_seconds=time_seconds,
        interval_seconds=interval_seconds,
        roster=roster,
        throttled_seconds=per_second[Total.THROTTLED_SECONDS] * interval_seconds,
        throttled_seconds_total=totals[Total.THROTTLED_SECONDS],
        throttled_periods_ratio=np.divide(
            stopped, periods, out=np.where(np.isnan(periods), np.nan, 0.0), where=periods > 0
        ),
        major_faults_per_second=per_second[Total.MAJOR_FAULTS],
        memory_bytes_working_set=amounts[Amount.WORKING_SET_BYTES],
        memory_bytes_cache=amounts[Amount.CACHE_BYTES],
        swap_bytes=amounts[Amount.SWAP_BYTES],
        stalled_some_ratio=per_second[_SOME],
        stalled_full_ratio=per_second[_FULL],
        stalled_some_ratio_10_seconds=amounts[_AVERAGE],
        machine=machine,
    )


def machine_behaviour(machine: Machine, per_second: NDArray[np.float64]) -> MachineBehaviour:
    """Return the machine's own figures; ``per_second`` is (`Total`,)."""
    some = per_second[_SOME].tolist()
    full = per_second[_FULL].tolist()
    average = [pressure_average(machine, kind) for kind in range(len(PRESSURES))]
    return MachineBehaviour(
        cores=machine.cores,
        cpu_cores_used=float(per_second[Total.CPU_SECONDS]),
        load_average=machine.load_average,
        memory_bytes=machine.memory_bytes,
        memory_bytes_used=machine.memory_bytes_used,
        swap_bytes=machine.swap_bytes,
        disk_bytes_per_second=float(per_second[Total.DISK_BYTES]),
        network_receive_bytes_per_second=float(per_second[Total.RECEIVED_BYTES]),
        network_transmit_bytes_per_second=float(per_second[Total.SENT_BYTES]),
        stalled_some_ratio=(some[0], some[1], some[2]),
        stalled_full_ratio=(full[0], full[1], full[2]),
        stalled_some_ratio_10_seconds=(average[0], average[1], average[2]),
    )
