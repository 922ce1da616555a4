"""What a card tells its servers to change, and what became of it, as arrays.

Whatever comes in is checked here. Arrays share the message's memory and are read-only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.outcome import Outcome, Phase
from tidegate.model.plan import Actions, Kind
from tidegate.model.refusals import Because, Refusal
from tidegate.model.resources import Resource
from tidegate.model.roster import HOST, source_rows
from tidegate.wire.card.v1 import telemetry_pb2
from tidegate.wire.columns import checked_amounts, checked_within, packed, unpacked
from tidegate.wire.fields import checked_count, checked_text, in_field
from tidegate.wire.frames import WORKLOADS_MAX, checked_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.snapshot import Snapshot

ORDERS_MAX: Final = len(Resource) * WORKLOADS_MAX
"""In one message: every resource of every workload; 0.9 MB, below the 4 MiB a message may have."""
SENTENCE_BYTES_MAX: Final = 4096
"""Longest sentence of why something was refused."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServerOrders:
    """What a server is to change, one row each."""

    number: int
    epoch: int
    """The device's; an agent refuses a lower one than it has seen."""
    roster_version: int
    batch_number: int
    """The batch they were decided on."""
    ttl_nanoseconds: int
    """After the agent took that batch, by its own clock: later nothing of it may be done."""
    workload_id: NDArray[np.int64]
    resource_row: NDArray[np.uint8]
    amount_from: NDArray[np.float32]
    amount_to: NDArray[np.float32]
    expires_nanoseconds: int = 0
    """Since 1970 UTC by the device's own clock, for itself: it is not sent."""

    def __len__(self) -> int:
        """Return the number of orders."""
        return int(self.workload_id.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServerOutcomes:
    """What became of one set of orders."""

    number: int
    outcome: Outcome
    refused: str = ""
    """Why all of it was refused; empty where it was not."""


def orders_message(orders: ServerOrders) -> telemetry_pb2.Orders:
    """Return orders as they are sent."""
    return telemetry_pb2.Orders(
        number=orders.number,
        epoch=orders.epoch,
        roster_version=orders.roster_version,
        batch_number=orders.batch_number,
        ttl_nanoseconds=orders.ttl_nanoseconds,
        workload_ids=packed(orders.workload_id, np.int64),
        resource_rows=packed(orders.resource_row, np.uint8),
        amounts_from=packed(orders.amount_from, np.float32),
        amounts_to=packed(orders.amount_to, np.float32),
    )


def orders_record(message: telemetry_pb2.Orders, resources: int) -> ServerOrders:
    """Return orders for a server that measures so many resources.

    Raises:
        InvalidField: there are too many, columns disagree, or a number can't be.

    """
    with in_field("orders"):
        count = len(message.resource_rows)
        checked_count("resource_rows", count, ORDERS_MAX, "orders")
        rows = unpacked("resource_rows", message.resource_rows, np.uint8, (count,))
        checked_within("resource_rows", rows, 0, resources - 1)
        amount_from = unpacked("amounts_from", message.amounts_from, np.float32, (count,))
        checked_amounts("amounts_from", amount_from, missing=True, unlimited=True)
        amount_to = unpacked("amounts_to", message.amounts_to, np.float32, (count,))
        checked_amounts("amounts_to", amount_to)
        return ServerOrders(
            number=checked_number("number", message.number),
            epoch=checked_number("epoch", message.epoch),
            roster_version=checked_number("roster_version", message.roster_version),
            batch_number=checked_number("batch_number", message.batch_number),
            ttl_nanoseconds=checked_number("ttl_nanoseconds", message.ttl_nanoseconds),
            workload_id=unpacked("workload_ids", message.workload_ids, np.int64, (count,)),
            resource_row=rows,
            amount_from=amount_from,
            amount_to=amount_to,
        )


def actions_of(orders: ServerOrders, snapshot: Snapshot, *, expires_seconds: int) -> Actions:
    """Return orders as actions on the server's own snapshot, which expire by its own clock.

    Raises:
        Refusal: one is about a workload that is not there (`Because.STALE`).

    """
    rows = source_rows(snapshot.roster.ids, orders.workload_id)
    if (rows < 0).any():
        gone = orders.workload_id[rows < 0][0]
        raise Refusal(
            Because.STALE,
            f"orders {orders.number} are about workload {gone}, which is not here; decide on a newer batch",
            field="orders.workload_ids",
        )
    place = snapshot.host[rows]
    count = len(orders)
    return Actions(
        time_seconds=snapshot.time_seconds,
        expires_seconds=expires_seconds,
        kind=np.full(count, Kind.RESIZE, dtype=np.uint8),
        workload=rows,
        workload_id=orders.workload_id,
        resource_row=orders.resource_row,
        share=np.full(count, HOST, dtype=np.uint8),
        place_from=place,
        place_to=place,
        amount_from=orders.amount_from,
        amount_to=orders.amount_to,
        resources=snapshot.resources,
        place_names=snapshot.places.names,
    )


def outcomes_message(outcomes: ServerOutcomes) -> telemetry_pb2.Outcomes:
    """Return what became of orders as it is sent."""
    outcome = outcomes.outcome
    return telemetry_pb2.Outcomes(
        number=outcomes.number,
        workload_ids=packed(outcome.workload_id, np.int64),
        resource_rows=packed(outcome.resource_row, np.uint8),
        phases=packed(outcome.phase, np.uint8),
        amounts_read_back=packed(outcome.amount_read_back, np.float32),
        refused=outcomes.refused,
    )


def outcomes_record(message: telemetry_pb2.Outcomes, resources: int) -> ServerOutcomes:
    """Return what became of the orders to a server that measures so many resources.

    Raises:
        InvalidField: there are too many, columns disagree, or a number can't be.

    """
    with in_field("outcomes"):
        count = len(message.resource_rows)
        checked_count("resource_rows", count, ORDERS_MAX, "outcomes")
        rows = unpacked("resource_rows", message.resource_rows, np.uint8, (count,))
        checked_within("resource_rows", rows, 0, resources - 1)
        phases = unpacked("phases", message.phases, np.uint8, (count,))
        checked_within("phases", phases, 0, max(Phase))
        found = unpacked("amounts_read_back", message.amounts_read_back, np.float32, (count,))
        checked_amounts("amounts_read_back", found, missing=True, unlimited=True)
        return ServerOutcomes(
            number=checked_number("number", message.number),
            outcome=Outcome(
                workload_id=unpacked("workload_ids", message.workload_ids, np.int64, (count,)),
                resource_row=rows,
                share=np.full(count, HOST, dtype=np.uint8),
                phase=phases,
                amount_read_back=found,
            ),
            refused=checked_text("refused", message.refused, SENTENCE_BYTES_MAX),
        )
