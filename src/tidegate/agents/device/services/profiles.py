"""Serves `ProfilingService`: applications are watched, and amounts tried on them."""

# ruff: noqa: N802 - the protocol names calls so

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tidegate.agents.device.records import Profile
from tidegate.agents.device.services.asking import authorized, request_of
from tidegate.agents.device.services.messages import profile_message, sample_message
from tidegate.wire.card.v1 import profiling_pb2, profiling_pb2_grpc
from tidegate.wire.names import application_of, card_of, profile_of, watched_of
from tidegate.wire.paging import page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tidegate.agents.device.services.asking import Context
    from tidegate.agents.device.services.device import Device


class Profiles(profiling_pb2_grpc.ProfilingServiceServicer):
    """The profiles of a device's applications."""

    def __init__(self, device: Device) -> None:
        """Serve a device's profiles."""
        self._device = device

    async def CreateProfile(
        self, request: profiling_pb2.CreateProfileRequest, context: Context
    ) -> profiling_pb2.CreateProfileResponse:
        """Begin to watch an application."""
        device = self._device
        authorized(context)
        named = application_of(request.parent, "parent")
        device.require_here(named.card, "parent")
        wanted = Profile(
            application=named.application,
            interval_nanoseconds=request.spec.interval_nanoseconds,
            tried_cpu_cores=tuple(millis / 1000 for millis in request.spec.tried_cpu_millis),
            trial_nanoseconds=request.spec.trial_nanoseconds,
        )
        made = await device.do(
            lambda: device.profiling.begin(
                wanted, validate_only=request.validate_only, request=request_of(request)
            )
        )
        return profiling_pb2.CreateProfileResponse(profile=profile_message(device, made))

    async def GetProfile(
        self, request: profiling_pb2.GetProfileRequest, context: Context
    ) -> profiling_pb2.GetProfileResponse:
        """Return what was learned."""
        device = self._device
        authorized(context)
        named = profile_of(request.name)
        device.require_here(named.card)
        learned = device.profiling.learned(named.application)
        return profiling_pb2.GetProfileResponse(profile=profile_message(device, learned.profile, learned))

    async def ListProfiles(
        self, request: profiling_pb2.ListProfilesRequest, context: Context
    ) -> profiling_pb2.ListProfilesResponse:
        """Return all profiles by name."""
        device = self._device
        authorized(context)
        device.require_here(card_of(request.parent, "parent"), "parent")
        with device.card.lock:
            names = sorted(device.card.profiles)
        shown, token = page(names, lambda name: name, request, rising=True)
        all_learned = [device.profiling.learned(name) for name in shown]
        return profiling_pb2.ListProfilesResponse(
            profiles=[profile_message(device, learned.profile, learned) for learned in all_learned],
            next_page_token=token,
        )

    async def DeleteProfile(
        self, request: profiling_pb2.DeleteProfileRequest, context: Context
    ) -> profiling_pb2.DeleteProfileResponse:
        """Watch no more."""
        device = self._device
        authorized(context)
        named = profile_of(request.name)
        device.require_here(named.card)
        await device.do(lambda: device.profiling.end(named.application, allow_missing=request.allow_missing))
        return profiling_pb2.DeleteProfileResponse()

    async def WatchProfile(
        self, request: profiling_pb2.WatchProfileRequest, context: Context
    ) -> AsyncIterator[profiling_pb2.WatchProfileResponse]:
        """Stream samples as they are taken."""
        device = self._device
        authorized(context)
        card, application = watched_of(request.parent)
        device.require_here(card, "parent")
        if application:
            device.profiling.learned(application)
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        watchers = device.profiling.watchers
        watcher = watchers.join(
            application,
            known=device.profiling.known(application),
            on_change=request.mode == profiling_pb2.WATCH_MODE_ON_CHANGE,
            tell=lambda: loop.call_soon_threadsafe(told.set),
        )
        try:
            first = watchers.take(watcher)
            if first:
                yield profiling_pb2.WatchProfileResponse(
                    samples=[sample_message(device, sample) for sample in first]
                )
            yield profiling_pb2.WatchProfileResponse(sync_response=True)
            while True:
                await told.wait()
                told.clear()
                taken = watchers.take(watcher)
                if taken:
                    yield profiling_pb2.WatchProfileResponse(
                        samples=[sample_message(device, sample) for sample in taken]
                    )
        finally:
            watchers.leave(watcher)


__all__ = ["Profiles"]
