"""How a server's workloads behaved, as columns of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.model.behaviour import Behaviour, MachineBehaviour
from tidegate.model.refusals import InvalidField
from tidegate.wire.card.v1 import telemetry_pb2
from tidegate.wire.columns import packed, unpacked
from tidegate.wire.fields import in_field

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.model.roster import Roster

KINDS: Final = 3
"""Of what is waited for: cpu, memory, io."""
COLUMNS: Final = (
    "throttled_seconds",
    "throttled_seconds_total",
    "throttled_periods_ratio",
    "major_faults_per_second",
    "memory_bytes_working_set",
    "memory_bytes_cache",
    "swap_bytes",
)
"""(workloads,) each."""
BY_KIND: Final = ("stalled_some_ratio", "stalled_full_ratio", "stalled_some_ratio_10_seconds")
"""(3, workloads) each."""
AMOUNTS: Final = (
    "cores",
    "cpu_cores_used",
    "memory_bytes",
    "memory_bytes_used",
    "swap_bytes",
    "disk_bytes_per_second",
    "network_receive_bytes_per_second",
    "network_transmit_bytes_per_second",
)
TRIPLES: Final = ("load_average", *BY_KIND)


def behaviour_message(behaviour: Behaviour) -> telemetry_pb2.Behaviour:
    """Return how a server's workloads behaved as it is sent."""
    machine = behaviour.machine
    return telemetry_pb2.Behaviour(
        interval_seconds=behaviour.interval_seconds,
        **{name: packed(getattr(behaviour, name), np.float64) for name in (*COLUMNS, *BY_KIND)},
        machine=telemetry_pb2.MachineBehaviour(
            **{name: getattr(machine, name) for name in (*AMOUNTS, *TRIPLES)}
        ),
    )


def behaviour_record(message: telemetry_pb2.Behaviour, roster: Roster, *, time_seconds: int) -> Behaviour:
    """Return how the workloads of a roster behaved.

    Raises:
        InvalidField: columns are of another size, or a server's three figures are not three.

    """
    workloads = len(roster)
    with in_field("behaviour"):
        columns = {name: unpacked(name, getattr(message, name), np.float64, (workloads,)) for name in COLUMNS}
        by_kind = {
            name: unpacked(name, getattr(message, name), np.float64, (KINDS, workloads)) for name in BY_KIND
        }
        with in_field("machine"):
            amounts: dict[str, Any] = {name: getattr(message.machine, name) for name in AMOUNTS}
            triples = {name: _three(name, getattr(message.machine, name)) for name in TRIPLES}
            machine = MachineBehaviour(**(amounts | triples))
    return Behaviour(
        time_seconds=time_seconds,
        interval_seconds=message.interval_seconds,
        roster=roster,
        **columns,
        **by_kind,
        machine=machine,
    )


def _three(field: str, numbers: Sequence[float]) -> tuple[float, float, float]:
    if len(numbers) != KINDS:
        raise InvalidField(field, f"{len(numbers)} numbers where {KINDS} are due")
    first, second, third = numbers
    return first, second, third
