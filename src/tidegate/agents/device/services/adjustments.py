"""Serves `AdjustmentService`: what applications hold is changed, and told."""

# ruff: noqa: N802 - the protocol names calls so

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.agents.device.services.asking import authorized, request_of
from tidegate.agents.device.services.messages import adjustment_message
from tidegate.model.refusals import Because, Refusal
from tidegate.wire import amounts as amounts_codec
from tidegate.wire.card.v1 import adjustment_pb2, adjustment_pb2_grpc
from tidegate.wire.fields import in_field
from tidegate.wire.names import adjustment_of, application_of
from tidegate.wire.paging import page

if TYPE_CHECKING:
    from tidegate.agents.device.records import Adjustment
    from tidegate.agents.device.services.asking import Context
    from tidegate.agents.device.services.device import Device


class Adjustments(adjustment_pb2_grpc.AdjustmentServiceServicer):
    """The adjustments of a device's applications."""

    def __init__(self, device: Device) -> None:
        """Serve a device's adjustments."""
        self._device = device

    async def AdjustResources(
        self, request: adjustment_pb2.AdjustResourcesRequest, context: Context
    ) -> adjustment_pb2.AdjustResourcesResponse:
        """Set amounts."""
        device = self._device
        authorized(context)
        found = application_of(request.name)
        device.require_here(found.card)
        with in_field("wanted"):
            wanted = amounts_codec.to_record(request.wanted)
        done = await device.do(
            lambda: device.sizing.adjust(
                found.application,
                wanted,
                ttl_nanoseconds=request.ttl_nanoseconds,
                etag=request.etag,
                state_version=request.state_version,
                validate_only=request.validate_only,
                request=request_of(request),
            )
        )
        return adjustment_pb2.AdjustResourcesResponse(adjustment=adjustment_message(device, done))

    async def GetAdjustment(
        self, request: adjustment_pb2.GetAdjustmentRequest, context: Context
    ) -> adjustment_pb2.GetAdjustmentResponse:
        """Return an adjustment."""
        device = self._device
        authorized(context)
        named = adjustment_of(request.name)
        device.require_here(named.card)

        def find() -> Adjustment:
            with device.card.lock:
                found = device.card.store.adjustment(named.adjustment)
            if found is None or found.application != named.application:
                raise Refusal(
                    Because.NOT_FOUND,
                    f"no adjustment {named.adjustment} of application {named.application} is known",
                    field="name",
                )
            return found

        return adjustment_pb2.GetAdjustmentResponse(
            adjustment=adjustment_message(device, await device.do(find))
        )

    async def ListAdjustments(
        self, request: adjustment_pb2.ListAdjustmentsRequest, context: Context
    ) -> adjustment_pb2.ListAdjustmentsResponse:
        """Return the latest adjustments of an application."""
        device = self._device
        authorized(context)
        named = application_of(request.parent, "parent")
        device.require_here(named.card, "parent")

        def find() -> list[Adjustment]:
            with device.card.lock:
                device.card.application(named.application)
                return device.card.store.adjustments(named.application)

        shown, token = page(await device.do(find), lambda one: one.id, request, rising=False)
        return adjustment_pb2.ListAdjustmentsResponse(
            adjustments=[adjustment_message(device, one) for one in shown], next_page_token=token
        )


__all__ = ["Adjustments"]
