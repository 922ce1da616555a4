"""What a card tells a server of demand to come, as arrays. Whatever comes in is checked here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tidegate.wire.card.v1 import telemetry_pb2
from tidegate.wire.clocks import duration, nanoseconds
from tidegate.wire.columns import checked_amounts, packed, unpacked
from tidegate.wire.fields import in_field
from tidegate.wire.frames import checked_number

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Foretold:
    """Demand that is expected on one server."""

    roster_version: int
    lead_seconds: float
    """How far ahead it looks."""
    demand: NDArray[np.float32]
    """(resources, workloads) quantile of the peak over the lead, base units; NaN where nothing is known."""


def foretold_message(foretold: Foretold) -> telemetry_pb2.Foretold:
    """Return it as it is sent."""
    return telemetry_pb2.Foretold(
        roster_version=foretold.roster_version,
        lead_nanoseconds=nanoseconds(foretold.lead_seconds, "lead"),
        demand=packed(foretold.demand, np.float32),
    )


def foretold_record(message: telemetry_pb2.Foretold, shape: tuple[int, int]) -> Foretold:
    """Return what is expected of so many resources and workloads.

    Raises:
        InvalidField: the frame is of another size, or a number can't be.

    """
    with in_field("foretold"):
        demand = unpacked("demand", message.demand, np.float32, shape)
        checked_amounts("demand", demand, missing=True)
        return Foretold(
            roster_version=checked_number("roster_version", message.roster_version),
            lead_seconds=duration(message.lead_nanoseconds, "lead_nanoseconds"),
            demand=demand,
        )


__all__ = ["Foretold", "foretold_message", "foretold_record"]
