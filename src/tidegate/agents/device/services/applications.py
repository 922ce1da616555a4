"""Serves `ApplicationService`: applications come, start, stop, change and go."""

# ruff: noqa: N802 - the protocol names calls so

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate.agents.device.lifecycle import GRACE_SECONDS
from tidegate.agents.device.services.asking import authorized, card_asking, request_of
from tidegate.agents.device.services.messages import application_message
from tidegate.model.application import ApplicationState
from tidegate.model.refusals import InvalidField
from tidegate.wire import applications as codec
from tidegate.wire.card.v1 import application_pb2, application_pb2_grpc
from tidegate.wire.clocks import duration
from tidegate.wire.names import application_id, application_of, card_of
from tidegate.wire.paging import page

if TYPE_CHECKING:
    from tidegate.agents.device.services.asking import Context
    from tidegate.agents.device.services.device import Device

GRACE_SECONDS_MAX: Final = 600.0


class Applications(application_pb2_grpc.ApplicationServiceServicer):
    """The applications of a device's card."""

    def __init__(self, device: Device) -> None:
        """Serve a device's applications."""
        self._device = device

    async def CreateApplication(
        self, request: application_pb2.CreateApplicationRequest, context: Context
    ) -> application_pb2.CreateApplicationResponse:
        """Take an application in; on standby only for another card."""
        device = self._device
        authorized(context)
        device.require_here(card_of(request.parent, "parent"), "parent")
        name = application_id(request.application_id)
        start_as = codec.start_as(request.start_as)
        owner = (card_asking(context) or "") if start_as is ApplicationState.STANDBY else ""
        spec = codec.spec_record(request.application.spec)
        epoch = codec.epoch(request.epoch)
        made = await device.do(
            lambda: device.lifecycle.create(
                name,
                spec,
                epoch=epoch,
                start_as=start_as,
                owner=owner,
                validate_only=request.validate_only,
                request=request_of(request),
            )
        )
        return application_pb2.CreateApplicationResponse(application=application_message(device, made))

    async def GetApplication(
        self, request: application_pb2.GetApplicationRequest, context: Context
    ) -> application_pb2.GetApplicationResponse:
        """Return an application."""
        authorized(context)
        found = self._device.card.application(self._named(request.name))
        return application_pb2.GetApplicationResponse(application=application_message(self._device, found))

    async def ListApplications(
        self, request: application_pb2.ListApplicationsRequest, context: Context
    ) -> application_pb2.ListApplicationsResponse:
        """Return applications by name."""
        device = self._device
        authorized(context)
        device.require_here(card_of(request.parent, "parent"), "parent")
        with device.card.lock:
            here = sorted(device.card.applications.values(), key=lambda one: one.name)
        shown, token = page(here, lambda one: one.name, request, rising=True)
        return application_pb2.ListApplicationsResponse(
            applications=[application_message(device, one) for one in shown], next_page_token=token
        )

    async def UpdateApplication(
        self, request: application_pb2.UpdateApplicationRequest, context: Context
    ) -> application_pb2.UpdateApplicationResponse:
        """Change what is wanted of an application."""
        device, wanted = self._device, request.application
        authorized(context)
        name = self._named(wanted.name, "application.name")
        new = await device.do(
            lambda: device.lifecycle.update(
                name,
                lambda spec: codec.updated(spec, wanted.spec, request.update_mask.paths),
                etag=wanted.etag,
                validate_only=request.validate_only,
                tells_budget="spec.budget" in request.update_mask.paths,
                request=request_of(request),
            )
        )
        return application_pb2.UpdateApplicationResponse(application=application_message(device, new))

    async def DeleteApplication(
        self, request: application_pb2.DeleteApplicationRequest, context: Context
    ) -> application_pb2.DeleteApplicationResponse:
        """Stop an application and forget it, or withdraw a standby."""
        device = self._device
        authorized(context)
        name = self._named(request.name)
        epoch = codec.epoch(request.epoch)
        if request.withdraw:
            asked_by = card_asking(context)
            await device.do(lambda: device.taking_in.withdraw(name, epoch=epoch, asked_by=asked_by))
        else:
            await device.do(
                lambda: device.lifecycle.delete(
                    name,
                    etag=request.etag,
                    epoch=epoch,
                    allow_missing=request.allow_missing,
                    request=request_of(request),
                )
            )
        return application_pb2.DeleteApplicationResponse()

    async def StartApplication(
        self, request: application_pb2.StartApplicationRequest, context: Context
    ) -> application_pb2.StartApplicationResponse:
        """Start an application."""
        device = self._device
        authorized(context)
        name = self._named(request.name)
        started = await device.do(lambda: device.lifecycle.start(name, request=request_of(request)))
        return application_pb2.StartApplicationResponse(application=application_message(device, started))

    async def StopApplication(
        self, request: application_pb2.StopApplicationRequest, context: Context
    ) -> application_pb2.StopApplicationResponse:
        """Stop an application."""
        device = self._device
        authorized(context)
        name = self._named(request.name)
        grace = duration(request.grace_nanoseconds, "grace_nanoseconds", unset=GRACE_SECONDS)
        if grace > GRACE_SECONDS_MAX:
            raise InvalidField(
                "grace_nanoseconds",
                f"{grace:g} s are more than {GRACE_SECONDS_MAX:g}",
                limit=GRACE_SECONDS_MAX,
            )
        stopped = await device.do(
            lambda: device.lifecycle.stop(name, grace_seconds=grace, request=request_of(request))
        )
        return application_pb2.StopApplicationResponse(application=application_message(device, stopped))

    def _named(self, name: str, field: str = "name") -> str:
        found = application_of(name, field)
        self._device.require_here(found.card, field)
        return found.application


__all__ = ["Applications"]
