"""The Offload Card API over a real socket: what is done, and what is refused, by code, field and limit."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from tidegate.model.application import Amounts
from tidegate.model.refusals import Because, Refusal
from tidegate.wire.amounts import to_message
from tidegate.wire.card.v1 import (
    adjustment_pb2,
    application_pb2,
    card_pb2,
    migration_pb2,
    profiling_pb2,
)

GIB = 2**30
CARD, WEB = "cards/card-a", "cards/card-a/applications/web"
TESTS_END_SECONDS = 30


def over_a_socket(test):
    """Run a test's coroutine against a card of its own."""

    def run(tmp_path, asked):
        async def whole():
            async with asked(tmp_path) as (api, runtime):
                await test(api, runtime)

        asyncio.run(asyncio.wait_for(whole(), TESTS_END_SECONDS))

    run.__name__ = test.__name__
    return run


@over_a_socket
async def test_a_card_tells_what_it_has_and_what_is_left(api, runtime):
    await api.create()
    card = (await api.cards.GetCard(card_pb2.GetCardRequest(name=CARD))).card
    assert card.status.allocatable == to_message(Amounts(cpu_cores=3.5, memory_bytes=7 * GIB))
    assert card.status.allocated == to_message(Amounts(cpu_cores=1.0, memory_bytes=GIB))
    assert (card.status.phase, card.status.architecture) == (card_pb2.CARD_PHASE_READY, "x86_64")
    assert card.status.state_version > 0
    (listed,) = (await api.cards.ListCards(card_pb2.ListCardsRequest())).cards
    assert listed.name == CARD


@over_a_socket
async def test_a_card_that_drains_takes_nothing(api, runtime):
    wanted = card_pb2.Card(name=CARD, spec=card_pb2.CardSpec(service=card_pb2.SERVICE_DRAINING))
    request = card_pb2.UpdateCardRequest(card=wanted, update_mask={"paths": ["spec.service"]})
    drained = (await api.cards.UpdateCard(request)).card
    assert drained.status.phase == card_pb2.CARD_PHASE_DRAINING
    with pytest.raises(Refusal, match="draining"):
        await api.create()
    request.card.etag = "77"
    await api.refused(Because.STALE, api.cards.UpdateCard, request, "stale")
    request.update_mask.paths.append("status")
    await api.refused(Because.INVALID, api.cards.UpdateCard, request, field="update_mask")


@over_a_socket
async def test_an_application_comes_is_stopped_started_changed_and_goes(api, runtime):
    made = await api.create()
    assert (made.name, made.status.state) == (WEB, application_pb2.APPLICATION_STATE_RUNNING)
    assert list(made.status.addresses) == ["10.0.0.1:7000"]
    assert made.status.held == made.spec.amounts
    stopped = await api.applications.StopApplication(application_pb2.StopApplicationRequest(name=WEB))
    assert stopped.application.status.state == application_pb2.APPLICATION_STATE_STOPPED
    started = await api.applications.StartApplication(application_pb2.StartApplicationRequest(name=WEB))
    changed = application_pb2.Application(name=WEB, etag=started.application.etag)
    changed.spec.state_bytes = 77
    update = application_pb2.UpdateApplicationRequest(
        application=changed, update_mask={"paths": ["spec.state_bytes"]}
    )
    new = (await api.applications.UpdateApplication(update)).application
    assert (new.spec.state_bytes, list(new.spec.command)) == (77, ["serve"])
    await api.refused(Because.STALE, api.applications.UpdateApplication, update, "stale", "read it again")
    update.application.etag = new.etag
    update.update_mask.paths[:] = ["spec.command"]
    await api.refused(Because.INVALID, api.applications.UpdateApplication, update, field="update_mask")
    await api.applications.DeleteApplication(application_pb2.DeleteApplicationRequest(name=WEB))
    get = application_pb2.GetApplicationRequest(name=WEB)
    await api.refused(Because.NOT_FOUND, api.applications.GetApplication, get, "no application web")
    assert runtime.found() == []


@over_a_socket
async def test_what_can_not_be_created_is_refused(api, runtime):
    def request(**changes):
        made = application_pb2.CreateApplicationRequest(parent=CARD, application_id="x")
        made.application.spec.CopyFrom(api.spec)
        for path, value in changes.items():
            where, _, name = path.rpartition("__")
            target = made
            for part in where.split("__") if where else ():
                target = getattr(target, part)
            setattr(target, name, value)
        return made

    create = api.applications.CreateApplication
    await api.refused(Because.NOT_FOUND, create, request(parent="cards/card-b"), "card-b", field="parent")
    await api.refused(Because.INVALID, create, request(parent="card-a"), field="parent")
    await api.refused(Because.INVALID, create, request(application_id="a/b"), field="application_id")
    await api.refused(Because.INVALID, create, request(epoch=-1), field="epoch")
    await api.refused(Because.INVALID, create, request(start_as=5), field="start_as")
    await api.refused(Because.INVALID, create, request(request_id="7"), "no UUID", field="request_id")
    cpu = "application__spec__amounts__cpu_millis"
    negative = request(**{cpu: -1})
    await api.refused(Because.INVALID, create, negative, "-1", field="application.spec.amounts.cpu_millis")
    await api.refused(Because.INVALID, create, request(**{cpu: 3001}), "above the ceiling of 3")
    above = request(application__spec__amounts__memory_bytes=8 * GIB)
    await api.refused(Because.NO_ROOM, create, above, "memory_bytes is short by 1.07374e+09")
    assert runtime.found() == []


@over_a_socket
async def test_the_same_request_is_done_once(api, runtime):
    identifier = str(uuid.uuid4())
    first, second = await api.create(request_id=identifier), await api.create(request_id=identifier)
    assert (first.name, first.etag) == (second.name, second.etag)
    with pytest.raises(Refusal, match="used for another request") as raised:
        await api.create(name="more", request_id=identifier)
    assert raised.value.because is Because.INVALID


@over_a_socket
async def test_only_looking_changes_nothing(api, runtime):
    assert (await api.create(validate_only=True)).name == WEB
    listed = await api.applications.ListApplications(application_pb2.ListApplicationsRequest(parent=CARD))
    assert list(listed.applications) == []
    assert runtime.found() == []


@over_a_socket
async def test_many_come_in_pages(api, runtime):
    small = application_pb2.Application()
    small.spec.CopyFrom(api.spec)
    small.spec.ClearField("ports")
    small.spec.amounts.cpu_millis = 250
    small.spec.amounts.memory_bytes = GIB // 4
    for name in "edcba":
        request = application_pb2.CreateApplicationRequest(
            parent=CARD, application_id=name, application=small
        )
        await api.applications.CreateApplication(request)
    names, request = [], application_pb2.ListApplicationsRequest(parent=CARD, page_size=2)
    while True:
        answer = await api.applications.ListApplications(request)
        names.append("".join(one.name[-1] for one in answer.applications))
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
        gone = application_pb2.DeleteApplicationRequest(name=answer.applications[-1].name)
        await api.applications.DeleteApplication(gone)
    assert names == ["ab", "cd", "e"]
    request.page_token = "nonsense!"
    await api.refused(Because.INVALID, api.applications.ListApplications, request, field="page_token")
    request = application_pb2.ListApplicationsRequest(parent=CARD, page_size=-1)
    await api.refused(Because.INVALID, api.applications.ListApplications, request, field="page_size")


@over_a_socket
async def test_amounts_are_adjusted_told_and_refused(api, runtime):
    made = await api.create()

    def request(name=WEB, **wanted):
        said = {key: wanted.pop(key) for key in ("ttl_nanoseconds", "etag", "state_version") if key in wanted}
        return adjustment_pb2.AdjustResourcesRequest(name=name, wanted=wanted, **said)

    adjust = api.adjustments.AdjustResources
    version = (await api.cards.GetCard(card_pb2.GetCardRequest(name=CARD))).card.status.state_version
    done = (await adjust(request(cpu_millis=2000, state_version=version))).adjustment
    assert done.phase == adjustment_pb2.ADJUSTMENT_PHASE_APPLIED
    assert (done.requested, done.accepted, done.applied) == (done.requested,) * 3
    found = await api.adjustments.GetAdjustment(adjustment_pb2.GetAdjustmentRequest(name=done.name))
    assert found.adjustment == done
    await api.refused(Because.NOT_FOUND, adjust, request(f"{CARD}/applications/nobody", cpu_millis=1))
    await api.refused(Because.INVALID, adjust, request(cpu_millis=-5), "-5", field="wanted.cpu_millis")
    told = "above the ceiling of 3"
    await api.refused(
        Because.INVALID, adjust, request(cpu_millis=3500), told, field="wanted.cpu_cores", limit=3
    )
    await api.refused(Because.NO_ROOM, adjust, request(memory_bytes=9 * GIB), "memory_bytes is short by")
    await api.refused(Because.STALE, adjust, request(cpu_millis=1000, etag=made.etag), "stale")
    stale = request(cpu_millis=1000, state_version=version)
    await api.refused(Because.STALE, adjust, stale, "state_version", field="state_version")
    await api.refused(
        Because.INVALID, adjust, request(cpu_millis=1, ttl_nanoseconds=-1), field="ttl_nanoseconds"
    )
    await api.refused(Because.INVALID, adjust, request(), field="wanted")
    listed = await api.adjustments.ListAdjustments(adjustment_pb2.ListAdjustmentsRequest(parent=WEB))
    assert [one.name for one in listed.adjustments] == [done.name]
    missing = adjustment_pb2.GetAdjustmentRequest(name=f"{WEB}/adjustments/none")
    await api.refused(Because.NOT_FOUND, api.adjustments.GetAdjustment, missing)


@over_a_socket
async def test_a_migration_that_can_not_be_is_refused(api, runtime):
    await api.create()

    def request(**spec):
        wanted = {
            "application": WEB,
            "target": "cards/card-b",
            "target_address": "tcp:127.0.0.1:1",
        } | spec
        return migration_pb2.CreateMigrationRequest(parent=CARD, migration={"spec": wanted})

    create = api.migrations.CreateMigration
    await api.refused(Because.NOT_NOW, create, request(target=CARD), "is on card card-a already")
    await api.refused(Because.INVALID, create, request(target_address="nowhere"), "no address")
    await api.refused(Because.INVALID, create, request(target_address=""), "say where")
    await api.refused(Because.INVALID, create, request(target="b"), field="migration.spec.target")
    await api.refused(Because.UNSUPPORTED, create, request(strategy=1), "can't be moved live")
    await api.refused(Because.NOT_FOUND, create, request(application=f"{CARD}/applications/nobody"))
    begun = (await create(request())).migration
    assert begun.status.phase == migration_pb2.MIGRATION_PHASE_PENDING
    assert begun.spec.epoch == 1
    await api.refused(Because.NOT_NOW, create, request(), "is being moved")
    abort = migration_pb2.AbortMigrationRequest(name=begun.name)
    await api.migrations.AbortMigration(abort)
    async for told in api.migrations.WatchMigration(migration_pb2.WatchMigrationRequest(name=begun.name)):
        last = told.migration
    assert last.status.phase == migration_pb2.MIGRATION_PHASE_ABORTED
    assert runtime.program("web").serving
    await api.refused(
        Because.NOT_NOW, create, request(epoch=1, target="cards/card-c"), "give 2 or a higher one"
    )
    unknown = migration_pb2.GetMigrationRequest(name=f"{CARD}/migrations/none")
    await api.refused(Because.NOT_FOUND, api.migrations.GetMigration, unknown)
    listed = await api.migrations.ListMigrations(migration_pb2.ListMigrationsRequest(parent=CARD))
    assert [one.name for one in listed.migrations] == [begun.name]


@over_a_socket
async def test_profiles_are_made_watched_and_ended(api, runtime):
    await api.create()
    runtime.program("web").cpu_cores_wanted = 0.5
    runtime.program("web").latency_p99_seconds = 0.005

    def request(parent=WEB, **spec):
        return profiling_pb2.CreateProfileRequest(parent=parent, spec=spec)

    create = api.profiles.CreateProfile
    tenth = 100_000_000
    await api.refused(
        Because.INVALID, create, request(interval_nanoseconds=1), field="spec.interval_nanoseconds"
    )
    await api.refused(Because.INVALID, create, request(tried_cpu_millis=[100]), field="spec.tried_cpu_millis")
    many = request(tried_cpu_millis=[500] * 9)
    await api.refused(Because.INVALID, create, many, "9", field="spec.tried_cpu_millis", limit=8)
    await api.refused(Because.NOT_FOUND, create, request(f"{CARD}/applications/nobody"))
    made = (await create(request(interval_nanoseconds=tenth))).profile
    await api.refused(Because.EXISTS, create, request(), "watched already")
    sync, samples = False, []
    async for told in api.profiles.WatchProfile(profiling_pb2.WatchProfileRequest(parent=CARD)):
        sync = sync or told.sync_response
        samples += told.samples
        if len(samples) >= 3:
            break
    assert sync
    assert {sample.application for sample in samples} == {WEB}
    assert samples[-1].latency_p99_nanoseconds == 5_000_000
    learned = (await api.profiles.GetProfile(profiling_pb2.GetProfileRequest(name=made.name))).profile
    assert learned.status.samples >= 3
    await api.profiles.DeleteProfile(profiling_pb2.DeleteProfileRequest(name=made.name))
    get = profiling_pb2.GetProfileRequest(name=made.name)
    await api.refused(Because.NOT_FOUND, api.profiles.GetProfile, get, "not watched")
    watch = profiling_pb2.WatchProfileRequest(parent=WEB)

    async def watched(request):
        async for _ in api.profiles.WatchProfile(request):
            pass

    await api.refused(Because.NOT_FOUND, watched, watch, "not watched")


@over_a_socket
async def test_a_state_nobody_waits_for_is_refused(api, runtime):
    await api.create()

    async def activate(messages):
        async def sent():
            for message in messages:
                yield migration_pb2.ActivateApplicationRequest(**message)

        return await api.migrations.ActivateApplication(sent())

    await api.refused(Because.INVALID, activate, [], field="header")
    header = {"header": {"name": WEB, "epoch": 1, "state_bytes": 1}}
    await api.refused(Because.NOT_NOW, activate, [header, {"state": b"x"}], "nothing waits here with epoch 1")
    header["header"]["name"] = f"{CARD}/applications/nobody"
    await api.refused(Because.NOT_FOUND, activate, [header, {"state": b"x"}])
