"""What a fleet manager serves of what only cards can do: sizing, watching and moving, handed on."""

# ruff: noqa: N802 - methods have the protocol's names

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.agents.fleet.handing import ANY, Context, Handing
from tidegate.wire import names
from tidegate.wire.card.v1 import (
    adjustment_pb2,
    adjustment_pb2_grpc,
    migration_pb2,
    migration_pb2_grpc,
    profiling_pb2,
    profiling_pb2_grpc,
)
from tidegate.wire.identities import Role, require

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Adjusting = adjustment_pb2_grpc.AdjustmentServiceStub
Moving = migration_pb2_grpc.MigrationServiceStub
Watching = profiling_pb2_grpc.ProfilingServiceStub


class FleetAdjustments(adjustment_pb2_grpc.AdjustmentServiceServicer):
    """The adjustments of all cards' applications."""

    def __init__(self, handing: Handing) -> None:
        """Hand calls on."""
        self._handing = handing

    async def AdjustResources(
        self, request: adjustment_pb2.AdjustResourcesRequest, context: Context
    ) -> adjustment_pb2.AdjustResourcesResponse:
        """Set amounts of an application on its card."""
        require(context, Role.OPERATOR)
        answer: adjustment_pb2.AdjustResourcesResponse = await self._handing.to_named(
            "name", lambda line: Adjusting(line).AdjustResources, request, context
        )
        return answer

    async def GetAdjustment(
        self, request: adjustment_pb2.GetAdjustmentRequest, context: Context
    ) -> adjustment_pb2.GetAdjustmentResponse:
        """Return an adjustment, as its card tells of it."""
        require(context, Role.OPERATOR)
        answer: adjustment_pb2.GetAdjustmentResponse = await self._handing.to_named(
            "name", lambda line: Adjusting(line).GetAdjustment, request, context
        )
        return answer

    async def ListAdjustments(
        self, request: adjustment_pb2.ListAdjustmentsRequest, context: Context
    ) -> adjustment_pb2.ListAdjustmentsResponse:
        """Return the latest adjustments of an application."""
        require(context, Role.OPERATOR)
        answer: adjustment_pb2.ListAdjustmentsResponse = await self._handing.to_named(
            "parent", lambda line: Adjusting(line).ListAdjustments, request, context
        )
        return answer


class FleetMigrations(migration_pb2_grpc.MigrationServiceServicer):
    """The migrations of all cards, those that people ask for and the fleet manager's own."""

    def __init__(self, handing: Handing) -> None:
        """Hand calls on."""
        self._handing = handing

    async def CreateMigration(
        self, request: migration_pb2.CreateMigrationRequest, context: Context
    ) -> migration_pb2.CreateMigrationResponse:
        """Begin to move an application; where the target is a card of the fleet, its address is known."""
        require(context, Role.OPERATOR)
        handing, spec = self._handing, request.migration.spec
        card, spec.application = handing.there(spec.application, "migration.spec.application")
        if request.parent in {"", ANY}:
            request.parent = names.card_name(card)
        if not spec.target_address:
            target = handing.meant(names.card_of(spec.target, "migration.spec.target"))
            spec.target_address = target.address
        answer: migration_pb2.CreateMigrationResponse = await handing.once(
            names.card_of(request.parent, "parent"),
            lambda line: Moving(line).CreateMigration,
            request,
            context,
        )
        return answer

    async def GetMigration(
        self, request: migration_pb2.GetMigrationRequest, context: Context
    ) -> migration_pb2.GetMigrationResponse:
        """Return a migration, as the card tells that is left."""
        require(context, Role.OPERATOR)
        answer: migration_pb2.GetMigrationResponse = await self._handing.once(
            names.migration_of(request.name).card, lambda line: Moving(line).GetMigration, request, context
        )
        return answer

    async def ListMigrations(
        self, request: migration_pb2.ListMigrationsRequest, context: Context
    ) -> migration_pb2.ListMigrationsResponse:
        """Return the migrations away from a card."""
        require(context, Role.OPERATOR)
        answer: migration_pb2.ListMigrationsResponse = await self._handing.once(
            names.card_of(request.parent, "parent"),
            lambda line: Moving(line).ListMigrations,
            request,
            context,
        )
        return answer

    async def AbortMigration(
        self, request: migration_pb2.AbortMigrationRequest, context: Context
    ) -> migration_pb2.AbortMigrationResponse:
        """Stop a migration."""
        require(context, Role.OPERATOR)
        answer: migration_pb2.AbortMigrationResponse = await self._handing.once(
            names.migration_of(request.name).card, lambda line: Moving(line).AbortMigration, request, context
        )
        return answer

    async def WatchMigration(
        self, request: migration_pb2.WatchMigrationRequest, context: Context
    ) -> AsyncIterator[migration_pb2.WatchMigrationResponse]:
        """Stream a migration until it has ended."""
        require(context, Role.OPERATOR)
        card = names.migration_of(request.name).card
        async for answer in self._handing.streamed(
            card, lambda line: Moving(line).WatchMigration, request, context
        ):
            yield answer

    async def ActivateApplication(
        self,
        request_iterator: AsyncIterator[migration_pb2.ActivateApplicationRequest],
        context: Context,
    ) -> migration_pb2.ActivateApplicationResponse:
        """Refuse: a state goes from card to card."""
        raise NotImplementedError


class FleetProfiles(profiling_pb2_grpc.ProfilingServiceServicer):
    """The profiles of all cards' applications."""

    def __init__(self, handing: Handing) -> None:
        """Hand calls on."""
        self._handing = handing

    async def CreateProfile(
        self, request: profiling_pb2.CreateProfileRequest, context: Context
    ) -> profiling_pb2.CreateProfileResponse:
        """Begin to watch an application on its card."""
        require(context, Role.OPERATOR)
        answer: profiling_pb2.CreateProfileResponse = await self._handing.to_named(
            "parent", lambda line: Watching(line).CreateProfile, request, context
        )
        return answer

    async def GetProfile(
        self, request: profiling_pb2.GetProfileRequest, context: Context
    ) -> profiling_pb2.GetProfileResponse:
        """Return what was learned of an application."""
        require(context, Role.OPERATOR)
        answer: profiling_pb2.GetProfileResponse = await self._handing.to_named(
            "name", lambda line: Watching(line).GetProfile, request, context
        )
        return answer

    async def ListProfiles(
        self, request: profiling_pb2.ListProfilesRequest, context: Context
    ) -> profiling_pb2.ListProfilesResponse:
        """Return the profiles of a card."""
        require(context, Role.OPERATOR)
        answer: profiling_pb2.ListProfilesResponse = await self._handing.once(
            names.card_of(request.parent, "parent"),
            lambda line: Watching(line).ListProfiles,
            request,
            context,
        )
        return answer

    async def DeleteProfile(
        self, request: profiling_pb2.DeleteProfileRequest, context: Context
    ) -> profiling_pb2.DeleteProfileResponse:
        """Watch an application no more."""
        require(context, Role.OPERATOR)
        answer: profiling_pb2.DeleteProfileResponse = await self._handing.to_named(
            "name", lambda line: Watching(line).DeleteProfile, request, context
        )
        return answer

    async def WatchProfile(
        self, request: profiling_pb2.WatchProfileRequest, context: Context
    ) -> AsyncIterator[profiling_pb2.WatchProfileResponse]:
        """Stream samples of a card, or of one application, as they are taken."""
        require(context, Role.OPERATOR)
        card, request.parent = self._handing.there(request.parent, "parent")
        async for answer in self._handing.streamed(
            card, lambda line: Watching(line).WatchProfile, request, context
        ):
            yield answer


__all__ = ["FleetAdjustments", "FleetMigrations", "FleetProfiles"]
