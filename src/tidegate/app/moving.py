"""Moves of VMs as people ask for them: what a move will be like, and what movers that died left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tidegate.drivers.libvirt.moving.daemons import DaemonWay
from tidegate.drivers.libvirt.moving.emulators import EmulatorWay
from tidegate.plan.live_moves import predicted_moves

if TYPE_CHECKING:
    from tidegate.drivers.libvirt.moving.orders import Measured, MoveOrder
    from tidegate.drivers.libvirt.moving.port import Route, Way

LINK_BYTES_PER_SECOND: Final = 125e6
"""What a link is taken to carry of which nobody says: a gigabit a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What one move will be like."""

    used_bytes: float
    dirty_bytes_per_second: float
    seconds: float | None
    """None: as it is asked for, it does not end."""
    downtime_seconds: float | None
    bytes_sent: float | None
    throttle_ratio: float


def forecast_of(
    measured: Measured, order: MoveOrder, link_bytes_per_second: float = LINK_BYTES_PER_SECOND
) -> Forecast:
    """Return what a move will be like by what was measured of its VM."""
    found = predicted_moves(
        used_bytes=measured.used_bytes,
        dirty_bytes_per_second=measured.dirty_bytes_per_second,
        link_bytes_per_second=link_bytes_per_second,
        limit_bytes_per_second=order.bytes_per_second_max,
        downtime_seconds_max=order.downtime_seconds_max,
        auto_converge=order.auto_converge,
    )
    ends = bool(found.ends)
    return Forecast(
        used_bytes=measured.used_bytes,
        dirty_bytes_per_second=measured.dirty_bytes_per_second,
        seconds=float(found.seconds) if ends else None,
        downtime_seconds=float(found.downtime_seconds) if ends else None,
        bytes_sent=float(found.bytes_sent) if ends else None,
        throttle_ratio=float(found.throttle_ratio),
    )


def way_of(route: Route) -> Way:
    """Return the way of a move that was noted, to settle it.

    Raises:
        TidegateError: one of its ends does not answer.

    """
    if route.kind == "qmp":
        return EmulatorWay(
            name=route.name, uuid=route.uuid, source=Path(route.source), target=Path(route.target)
        )
    return DaemonWay(name=route.name, source=route.source, target=route.target, target_name=route.target_name)


__all__ = ["LINK_BYTES_PER_SECOND", "Forecast", "forecast_of", "way_of"]
