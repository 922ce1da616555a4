"""Serves the latest plan: for each application where it belongs, why, how it gets there and what for."""

# ruff: noqa: N802 - methods have the protocol's names

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.agents.fleet.columns import FIELDS, amounts_of
from tidegate.agents.fleet.handing import ANY, Context
from tidegate.agents.fleet.over_wire import STRATEGIES
from tidegate.model.refusals import Because, Refusal
from tidegate.plan.cards.explained import explained
from tidegate.wire import amounts, names
from tidegate.wire.card.v1 import plan_pb2, plan_pb2_grpc
from tidegate.wire.clocks import nanoseconds
from tidegate.wire.identities import Role, require
from tidegate.wire.paging import page

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    from numpy.typing import NDArray

    from tidegate.agents.fleet.cell import Cell
    from tidegate.model.card_fleet import CardFleet
    from tidegate.plan.cards.explained import Explained
    from tidegate.wire.card.v1 import amounts_pb2

PAY_BACK_SECONDS_MAX = 1e9
"""Longer is told as this: it never does."""


class FleetPlan(plan_pb2_grpc.PlanServiceServicer):
    """The plan of a cell, as of its last turn."""

    def __init__(self, cell: Cell) -> None:
        """Tell of a cell's plan."""
        self._cell = cell

    async def ListPlannedApplications(
        self, request: plan_pb2.ListPlannedApplicationsRequest, context: Context
    ) -> plan_pb2.ListPlannedApplicationsResponse:
        """Return every application of the latest plan."""
        require(context, Role.OPERATOR, Role.FLEET)
        card = "" if request.parent == ANY else names.card_of(request.parent, "parent")
        last = self._cell.last
        if last is None or last.plan is None or last.fleet is None:
            raise Refusal(Because.NOT_NOW, "nothing is planned yet: no card was heard; ask again in a while")
        rows = explained(self._cell.planner, last.fleet, last.plan, last.wished, last.held)
        mine = [one for one in rows if not card or card in {one.card, one.card_to}]
        shown, token = page(
            sorted(mine, key=lambda one: one.application), lambda one: one.application, request, rising=True
        )
        moving = self._cell.store.moving()
        return plan_pb2.ListPlannedApplicationsResponse(
            applications=[_message(one, last.fleet, moving.keys()) for one in shown],
            next_page_token=token,
            planned_nanoseconds=nanoseconds(last.time_seconds),
        )


def _message(one: Explained, fleet: CardFleet, moving: Collection[str]) -> plan_pb2.PlannedApplication:
    under_way = one.application in moving
    goes = one.pause_seconds is not None
    done, wished = plan_pb2.PLANNED_MOVE_DUE, plan_pb2.PLANNED_MOVE_WISHED
    move = (done if one.is_done else wished) if goes else plan_pb2.PLANNED_MOVE_UNSPECIFIED
    back = None if one.pay_back_seconds is None else min(one.pay_back_seconds, PAY_BACK_SECONDS_MAX)
    return plan_pb2.PlannedApplication(
        application=one.application,
        card=names.card_name(one.card) if one.card else "",
        target=names.card_name(one.card_to) if one.card_to else "",
        reason=one.reason,
        strategy=STRATEGIES[one.strategy],
        strategy_reason=one.strategy_reason,
        move=plan_pb2.PLANNED_MOVE_UNDER_WAY if under_way else move,
        expected_pause_nanoseconds=None if one.pause_seconds is None else nanoseconds(one.pause_seconds),
        pay_back_nanoseconds=None if back is None else nanoseconds(back),
        need=_amounts(one.need),
        budget=_amounts(one.budget),
    )


def _amounts(column: NDArray[np.float32]) -> amounts_pb2.Amounts:
    """Return a column (resources,) as a message; nothing is said of what is nothing or has no end."""
    known = {name: float(amount) for name, amount in zip(FIELDS, column.tolist(), strict=True)}
    return amounts.to_message(
        amounts_of({name: amount for name, amount in known.items() if 0 < amount < float("inf")})
    )


__all__ = ["FleetPlan"]
