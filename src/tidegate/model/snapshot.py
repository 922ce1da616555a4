"""The fleet at one instant, as columns: what telemetry hands to every later stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.roster import CARD, HOST, NO_CARD, Places, Roster

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.resources import Resource


VIOLATION_TOLERANCE_RATIO: Final = 0.001
"""Demand above a grant by less than this share of capacity is no violation: pinned."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """What every workload used and holds now.

    Frames have shape (resources, workloads) unless said otherwise, in base units; the order of
    ``resources`` is theirs. A missing sample is NaN in ``used`` and never pressed.
    """

    time_seconds: int
    """Seconds since 1970 UTC at the end of the interval the samples cover."""
    step_seconds: int
    """How long that interval is."""
    resources: tuple[Resource, ...]
    roster: Roster
    places: Places
    host: NDArray[np.int32]
    """(workloads,) the server each workload runs on, as a place number."""
    card: NDArray[np.int32]
    """(workloads,) the card it may hold shares of, or -1."""
    used: NDArray[np.float32]
    """What it got."""
    capacity: NDArray[np.float32]
    """What it was sold: no grant goes above it. NaN before the first sample."""
    pressed: NDArray[np.bool_]
    """Where the sample was pressed against its grant: demand was at least this."""
    grant: NDArray[np.float32]
    """(2, resources, workloads): what it holds at the host and at the card, in the place's units."""
    in_flight: NDArray[np.float32]
    """(2, resources, workloads): change submitted and not yet confirmed."""

    @property
    def held(self) -> NDArray[np.float32]:
        """What each workload holds in all, in server units, in flight left out: (resources, workloads)."""
        return in_server_units(self.grant, self)


def expected(snapshot: Snapshot) -> NDArray[np.float32]:
    """Return what each share will be once what is in flight has landed: "held", to those who decide."""
    if not snapshot.in_flight.any():
        return snapshot.grant
    return snapshot.grant + snapshot.in_flight


def summed_by_place(
    amounts: NDArray[np.floating], place: NDArray[np.int32], places: int
) -> NDArray[np.float64]:
    """Sum amounts (resources, workloads) by the place of each workload: (resources, places).

    Workloads with no place (-1) are left out, amounts that are unknown (NaN) too.
    """
    at = np.where(place < 0, places, place)
    known = np.nan_to_num(amounts)
    return np.stack([np.bincount(at, weights=row, minlength=places + 1)[:places] for row in known])


def in_server_units(grant: NDArray[np.float32], snapshot: Snapshot) -> NDArray[np.float32]:
    """Return host and card shares (2, resources, workloads) added up in server units."""
    card_share = grant[CARD]
    if not card_share.any():
        return grant[HOST]
    return grant[HOST] + card_share * card_worth(snapshot)


def card_worth(snapshot: Snapshot) -> NDArray[np.float32]:
    """Return what a unit on each workload's card is worth: (resources, workloads); 1 where it has none."""
    worth = np.take(snapshot.places.worth, np.maximum(snapshot.card, 0), axis=1)
    return np.where(snapshot.card == NO_CARD, np.float32(1), worth)


def strictest_rates(snapshot: Snapshot) -> NDArray[np.float32]:
    """Return the lowest violation rate of the workloads at each place (places,); 0.5 where none is."""
    rates = np.full(len(snapshot.places.names), 0.5, dtype=np.float32)
    np.minimum.at(rates, snapshot.host, snapshot.roster.violation_rate)
    return rates
