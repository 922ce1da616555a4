"""What a simulated fleet tells `tidegate up`, and what that decides, as arrays.

Whatever comes in is checked for its size: a record from this module fits the fleet. Arrays share the
message's memory and are read-only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.outcome import Outcome, Phase
from tidegate.model.plan import Actions, Kind
from tidegate.model.roster import NO_CARD, SHARES
from tidegate.wire.columns import checked_flags, checked_within, packed, unpacked
from tidegate.wire.fields import checked_count, in_field
from tidegate.wire.simulated.v1 import world_pb2

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.snapshot import Snapshot

MESSAGE_BYTES_MAX: Final = 256 * 1024**2
"""A step of a million workloads and five resources has 190 MB."""
FLEET_BYTES_MAX: Final = 1024
"""Of a fleet's name."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Position:
    """Where a world stands after a step: what its next one needs to know of those before."""

    time_seconds: int
    capacity: NDArray[np.float32]
    """(resources, workloads)"""
    grant: NDArray[np.float32]
    """(2, resources, workloads)"""
    card: NDArray[np.int32]
    """(workloads,)"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """A world after a step."""

    snapshot: Snapshot
    outcome: Outcome
    used_by_place: NDArray[np.float64]
    """(resources, places)"""
    link_bytes_per_second: NDArray[np.float64]
    """(links,)"""


def position_message(position: Position | None) -> world_pb2.Position:
    """Return where a world is to begin as it is sent; None is its beginning."""
    if position is None:
        return world_pb2.Position()
    return world_pb2.Position(
        time_seconds=position.time_seconds,
        capacity=packed(position.capacity, np.float32),
        grant=packed(position.grant, np.float32),
        card=packed(position.card, np.int32),
    )


def positioned(message: world_pb2.Position, like: Snapshot) -> Snapshot | None:
    """Return where a world is to begin, as a snapshot of a fleet ``like`` it; None at its beginning.

    Raises:
        InvalidField: columns are of another size.

    """
    if message.time_seconds == 0:
        return None
    with in_field("position"):
        return replace(
            like,
            time_seconds=message.time_seconds,
            capacity=unpacked("capacity", message.capacity, np.float32, like.capacity.shape),
            grant=unpacked("grant", message.grant, np.float32, like.grant.shape),
            card=_cards(message.card, like),
        )


def step_message(step: Step) -> world_pb2.Step:
    """Return a world after a step as it is sent; who is in it is known at both ends."""
    snapshot, outcome = step.snapshot, step.outcome
    return world_pb2.Step(
        time_seconds=snapshot.time_seconds,
        used=packed(snapshot.used, np.float32),
        capacity=packed(snapshot.capacity, np.float32),
        pressed=packed(snapshot.pressed, np.uint8),
        grant=packed(snapshot.grant, np.float32),
        in_flight=packed(snapshot.in_flight, np.float32) if snapshot.in_flight.any() else b"",
        card=packed(snapshot.card, np.int32),
        used_by_place=packed(step.used_by_place, np.float64),
        link_bytes_per_second=packed(step.link_bytes_per_second, np.float64),
        outcomes=world_pb2.Outcomes(
            workload_ids=packed(outcome.workload_id, np.int64),
            resource_rows=packed(outcome.resource_row, np.uint8),
            shares=packed(outcome.share, np.uint8),
            phases=packed(outcome.phase, np.uint8),
            amounts_read_back=packed(outcome.amount_read_back, np.float32),
        ),
    )


def step_record(message: world_pb2.Step, like: Snapshot) -> Step:
    """Return a step of a fleet ``like`` it: the same places, workloads and hosts.

    Raises:
        InvalidField: columns are of another size, or a number can't be.

    """
    shape = like.used.shape
    with in_field("step"):
        no_flight = not message.in_flight
        snapshot = replace(
            like,
            time_seconds=message.time_seconds,
            used=unpacked("used", message.used, np.float32, shape),
            capacity=unpacked("capacity", message.capacity, np.float32, shape),
            pressed=checked_flags("pressed", unpacked("pressed", message.pressed, np.uint8, shape)),
            grant=unpacked("grant", message.grant, np.float32, (SHARES, *shape)),
            in_flight=np.zeros((SHARES, *shape), dtype=np.float32)
            if no_flight
            else unpacked("in_flight", message.in_flight, np.float32, (SHARES, *shape)),
            card=_cards(message.card, like),
        )
        places, links = like.places.allocatable.shape, like.places.link_server.shape
        return Step(
            snapshot=snapshot,
            outcome=_outcome(message.outcomes, shape[0]),
            used_by_place=unpacked("used_by_place", message.used_by_place, np.float64, places),
            link_bytes_per_second=unpacked(
                "link_bytes_per_second", message.link_bytes_per_second, np.float64, links
            ),
        )


def decisions_message(actions: Actions) -> world_pb2.Decisions:
    """Return actions as they are sent; on whom and where goes by rows, which both ends know."""
    return world_pb2.Decisions(
        time_seconds=actions.time_seconds,
        expires_seconds=actions.expires_seconds,
        kinds=packed(actions.kind, np.uint8),
        workloads=packed(actions.workload, np.int64),
        resource_rows=packed(actions.resource_row, np.uint8),
        shares=packed(actions.share, np.uint8),
        places_from=packed(actions.place_from, np.int32),
        places_to=packed(actions.place_to, np.int32),
        amounts_from=packed(actions.amount_from, np.float32),
        amounts_to=packed(actions.amount_to, np.float32),
    )


def actions_record(message: world_pb2.Decisions, like: Snapshot) -> Actions:
    """Return decisions as actions on a fleet ``like`` it.

    Raises:
        InvalidField: columns disagree, or name a workload or a place that is not there.

    """
    with in_field("decisions"):
        shape = (len(message.kinds),)
        resources, workloads = like.used.shape
        checked_count("kinds", shape[0], SHARES * resources * workloads, "decisions")
        kinds = unpacked("kinds", message.kinds, np.uint8, shape)
        rows = unpacked("workloads", message.workloads, np.int64, shape)
        resource_rows = unpacked("resource_rows", message.resource_rows, np.uint8, shape)
        shares = unpacked("shares", message.shares, np.uint8, shape)
        places_to = unpacked("places_to", message.places_to, np.int32, shape)
        checked_within("kinds", kinds, 0, max(Kind))
        checked_within("workloads", rows, 0, workloads - 1)
        checked_within("resource_rows", resource_rows, 0, resources - 1)
        checked_within("shares", shares, 0, SHARES - 1)
        checked_within("places_to", places_to, NO_CARD, len(like.places.names) - 1)
        return Actions(
            time_seconds=message.time_seconds,
            expires_seconds=message.expires_seconds,
            kind=kinds,
            workload=rows,
            workload_id=like.roster.ids[rows],
            resource_row=resource_rows,
            share=shares,
            place_from=unpacked("places_from", message.places_from, np.int32, shape),
            place_to=places_to,
            amount_from=unpacked("amounts_from", message.amounts_from, np.float32, shape),
            amount_to=unpacked("amounts_to", message.amounts_to, np.float32, shape),
            resources=like.resources,
            place_names=like.places.names,
        )


def _cards(data: bytes, like: Snapshot) -> NDArray[np.int32]:
    card = unpacked("card", data, np.int32, like.card.shape)
    checked_within("card", card, NO_CARD, len(like.places.names) - 1)
    return card


def _outcome(message: world_pb2.Outcomes, resources: int) -> Outcome:
    shape = (len(message.phases),)
    with in_field("outcomes"):
        rows = unpacked("resource_rows", message.resource_rows, np.uint8, shape)
        checked_within("resource_rows", rows, 0, resources - 1)
        phases = unpacked("phases", message.phases, np.uint8, shape)
        checked_within("phases", phases, 0, max(Phase))
        return Outcome(
            workload_id=unpacked("workload_ids", message.workload_ids, np.int64, shape),
            resource_row=rows,
            share=unpacked("shares", message.shares, np.uint8, shape),
            phase=phases,
            amount_read_back=unpacked("amounts_read_back", message.amounts_read_back, np.float32, shape),
        )
