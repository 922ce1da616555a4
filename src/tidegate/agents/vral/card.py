"""The server's card as a supplier of CPU: a VM's application there is given more cores while they are leased.

The application of a VM is the one of its name that does its server's work. Adjustments have a time to live:
an agent that is gone raises nothing for ever. Asked on the agent's own loop, beside its stream to the device.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import structlog

from tidegate.model.application import Amounts
from tidegate.model.errors import TidegateError
from tidegate.model.resources import Resource
from tidegate.vral.supplies import CARD, TOLERANCE_RATIO, Supply
from tidegate.wire.amounts import to_message, to_record
from tidegate.wire.card.v1 import (
    adjustment_pb2,
    adjustment_pb2_grpc,
    application_pb2,
    application_pb2_grpc,
    card_pb2,
    card_pb2_grpc,
)
from tidegate.wire.dialing import dialled
from tidegate.wire.identities import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from tidegate.drivers.local.clock import SystemClock
    from tidegate.model.snapshot import Snapshot
    from tidegate.wire.dialing import Line

ASK_SECONDS: Final = 1.0
"""How often the card is asked how things are."""
LOST_SECONDS: Final = 5.0
"""After so long without an answer it supplies nothing; leases move to the host."""
SLOT_SECONDS: Final = 30.0
"""How long an application keeps what a lease raised it to, unless that is renewed."""
RENEW_SECONDS: Final = 10.0
MILLIS: Final = 1000
PAGES_MAX: Final = 20
"""Pages of applications looked at."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    """A VM's application, in cores of the card."""

    resource_name: str
    held: float
    most: float
    expected: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What the card said last, in cores of its own."""

    at_seconds: float
    worth: float
    allocatable: float
    allocated: float
    slots: Mapping[str, _Slot]
    """By VM."""


class CardSlots:
    """Supplies CPU from the card of a server."""

    def __init__(
        self,
        address: str,
        *,
        server: str,
        clock: SystemClock,
        certificates: Path | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid1()),
    ) -> None:
        """Ask nobody yet; ``run`` does."""
        self._address, self._server, self._clock, self._certificates = address, server, clock, certificates
        self._new_id = new_id
        self._lock = threading.Lock()
        self._promised: dict[str, float] = {}
        """By VM, in cores of the server."""
        self._told: _Told | None = None
        self._renewed: dict[str, tuple[float, float]] = {}
        """By VM: what its application was last raised to, and when."""

    def promise(self, vm: str, resource: Resource, amount: float) -> None:
        """Note it for the next time the card is asked."""
        if resource is not Resource.CPU:
            return
        with self._lock:
            if amount > 0:
                self._promised[vm] = amount
            else:
                self._promised.pop(vm, None)

    def supplies(self, snapshot: Snapshot, predicted: NDArray[np.float64]) -> Mapping[Resource, Supply]:
        """Return the cores that the card has, as many of the server's as they are worth."""
        told = self._told
        if told is None or self._clock.forwards_seconds() - told.at_seconds > LOST_SECONDS:
            return {}
        slots = [told.slots.get(name) for name in snapshot.roster.names]
        held = np.array([0.0 if slot is None else slot.held for slot in slots]) * told.worth
        most = np.array([0.0 if slot is None else slot.most for slot in slots]) * told.worth
        supply = Supply(
            name=CARD,
            amount=told.allocatable * told.worth,
            held=held,
            most=most,
            reserved=held,
            reserved_sum=told.allocated * told.worth,
            is_far=True,
            is_slower=True,
        )
        return {Resource.CPU: supply}

    async def run(self) -> None:
        """Ask the card, and raise what is leased, until cancelled."""
        said = ""
        while True:
            try:
                async with dialled(
                    self._address,
                    expects=Role.DEVICE,
                    clock=self._clock,
                    certificates=self._certificates,
                ) as line:
                    while True:
                        await self.turn(line)
                        said = ""
                        await asyncio.sleep(ASK_SECONDS)
            except TidegateError as error:
                if str(error) != said:
                    said = str(error)
                    _log.info("the card supplies nothing", said=said)
            await asyncio.sleep(ASK_SECONDS)

    async def turn(self, line: Line) -> None:
        """Ask once, and raise applications to what is leased.

        Raises:
            Refusal: the card refuses, or does not answer.

        """
        with line.answers():
            told = await self._asked(line)
        self._told = told
        with self._lock:
            promised = dict(self._promised)
        self._renewed = {vm: one for vm, one in self._renewed.items() if vm in promised}
        for vm, amount in promised.items():
            slot = told.slots.get(vm)
            if slot is not None:
                await self._raise(line, vm, slot, amount / told.worth)

    async def _asked(self, line: Line) -> _Told:
        at = self._clock.forwards_seconds()
        cards = await card_pb2_grpc.CardServiceStub(line).ListCards(card_pb2.ListCardsRequest())
        card = cards.cards[0]
        stub, token = application_pb2_grpc.ApplicationServiceStub(line), ""
        slots: dict[str, _Slot] = {}
        for _ in range(PAGES_MAX):
            page = await stub.ListApplications(
                application_pb2.ListApplicationsRequest(parent=card.name, page_token=token)
            )
            slots |= {
                one.name.rpartition("/")[2]: _slot(one, _cores(card.status.allocatable, 0.0))
                for one in page.applications
                if one.spec.server == self._server
                and one.status.state == application_pb2.APPLICATION_STATE_RUNNING
            }
            token = page.next_page_token
            if not token:
                break
        return _Told(
            at_seconds=at,
            worth=card.status.core_worth_millis / MILLIS or 1.0,
            allocatable=_cores(card.status.allocatable, 0.0),
            allocated=_cores(card.status.allocated, 0.0),
            slots=slots,
        )

    async def _raise(self, line: Line, vm: str, slot: _Slot, cores: float) -> None:
        """Have an application hold at least so many cores for a while; what it needs beyond it keeps."""
        now = self._clock.forwards_seconds()
        before, at = self._renewed.get(vm, (0.0, -RENEW_SECONDS))
        is_ours = bool(before)
        wanted = max(cores, slot.expected) if is_ours else max(cores, slot.held)
        if not is_ours and slot.held >= cores * (1 - TOLERANCE_RATIO):
            return  # it has as much by itself
        if is_ours and abs(wanted - before) <= TOLERANCE_RATIO * before and now - at < RENEW_SECONDS:
            return
        request = adjustment_pb2.AdjustResourcesRequest(
            name=slot.resource_name,
            wanted=to_message(Amounts(cpu_cores=min(wanted, slot.most))),
            ttl_nanoseconds=round(SLOT_SECONDS * 10**9),
            request_id=self._new_id(),
        )
        try:
            with line.answers():
                await adjustment_pb2_grpc.AdjustmentServiceStub(line).AdjustResources(request)
        except TidegateError as error:
            _log.info("the card did not raise an application", vm=vm, said=str(error))
            return
        self._renewed[vm] = wanted, now


def _slot(one: application_pb2.Application, otherwise: float) -> _Slot:
    return _Slot(
        resource_name=one.name,
        held=_cores(one.status.held, 0.0),
        most=_cores(one.spec.ceiling, otherwise),
        expected=_cores(one.status.expected, 0.0),
    )


def _cores(message: object, otherwise: float) -> float:
    cores = to_record(message).cpu_cores  # type: ignore[arg-type] # generated
    return otherwise if cores is None else cores


__all__ = ["CardSlots"]
