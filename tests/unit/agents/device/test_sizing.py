"""What applications hold changes as asked, or is told why not; a card never gives more than it has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.agents.device import store as stores
from tidegate.agents.device.records import Request
from tidegate.agents.device.room import allocated
from tidegate.agents.device.sizing import IN_FLIGHT
from tidegate.model.application import Amounts, ApplicationSpec
from tidegate.model.errors import InputError, TidegateError
from tidegate.model.outcome import Phase
from tidegate.model.refusals import Because, Refusal

GIB = 2**30
MINUTE = 60 * 10**9


@pytest.fixture
def web(stage, spec):
    stage.lifecycle.create("web", spec)
    return stage


def refused(because, call, *given, match=None, **named):
    with pytest.raises(Refusal, match=match) as raised:
        call(*given, **named)
    assert raised.value.because is because
    return raised.value


def test_what_is_asked_for_is_set_and_read_back(web):
    version = web.card.settings.state_version
    done = web.sizing.adjust("web", Amounts(cpu_cores=2.0, memory_bytes=2 * GIB))
    assert done.phase is Phase.APPLIED
    assert done.applied == done.accepted == Amounts(cpu_cores=2.0, memory_bytes=2 * GIB)
    assert done.state_version == web.card.settings.state_version > version
    assert web.held() == web.app().held == done.applied
    assert web.store.adjustment(done.id) == done


def test_what_can_not_be_is_refused_with_the_field_and_its_limit(web):
    adjust = web.sizing.adjust
    told = refused(Because.INVALID, adjust, "web", Amounts(cpu_cores=3.2), match="above the ceiling of 3")
    assert (told.field, told.limit) == ("wanted.cpu_cores", 3.0)
    told = refused(Because.INVALID, adjust, "web", Amounts(cpu_cores=1.0), ttl_nanoseconds=-1)
    assert told.field == "ttl_nanoseconds"
    refused(Because.INVALID, adjust, "web", Amounts(), match="no amount")
    refused(Because.NOT_FOUND, adjust, "nobody", Amounts(cpu_cores=1.0))
    refused(Because.NO_ROOM, adjust, "web", Amounts(memory_bytes=8 * GIB), match="memory_bytes is short by")
    with pytest.raises(InputError, match="not negative"):
        Amounts(cpu_cores=-1.0)
    assert web.held() == web.app().held == web.app().amounts == web.app().spec.amounts


def test_less_than_the_floor_is_raised_to_it(web):
    done = web.sizing.adjust("web", Amounts(cpu_cores=0.1))
    assert (done.accepted.cpu_cores, done.applied.cpu_cores) == (0.25, 0.25)
    assert "floor of 0.25" in done.reason


def test_a_decision_on_a_past_state_is_refused(web):
    old = web.card.settings.state_version
    etag = web.app().etag
    web.sizing.adjust("web", Amounts(cpu_cores=2.0), state_version=old, etag=etag)
    refused(Because.STALE, web.sizing.adjust, "web", Amounts(cpu_cores=1.0), state_version=old)
    refused(Because.STALE, web.sizing.adjust, "web", Amounts(cpu_cores=1.0), etag=etag)
    assert web.held().cpu_cores == 2.0


def test_only_looking_changes_nothing(web):
    before = (web.app(), web.card.settings)
    done = web.sizing.adjust("web", Amounts(cpu_cores=2.0), validate_only=True)
    assert done.phase is Phase.APPLIED
    assert (web.app(), web.card.settings) == before
    assert web.store.adjustment(done.id) is None


def test_a_request_sent_again_is_done_once(web):
    request = Request(id="1", asked="more")
    done = web.sizing.adjust("web", Amounts(cpu_cores=2.0), request=request)
    web.sizing.adjust("web", Amounts(cpu_cores=1.0))
    assert web.sizing.adjust("web", Amounts(cpu_cores=2.0), request=request) == done
    assert web.held().cpu_cores == 1.0


def test_where_the_kernel_stops_half_way_that_is_told(web, monkeypatch):
    half = Amounts(memory_bytes=GIB // 2)
    adjust = web.runtime.adjust
    monkeypatch.setattr(web.runtime, "adjust", lambda name, _: adjust(name, half))
    done = web.sizing.adjust("web", Amounts(memory_bytes=GIB // 4))
    assert (done.phase, done.applied) == (Phase.PARTIAL, half)
    assert web.app().amounts.memory_bytes == GIB // 2
    again = web.sizing.adjust("web", Amounts(memory_bytes=GIB // 4))
    assert (again.phase, web.app().amounts.memory_bytes) == (Phase.REFUSED, GIB // 2)


def test_several_are_all_set_or_none(web):
    web.runtime.program("web").memory_bytes = GIB // 2
    done = web.sizing.adjust("web", Amounts(cpu_cores=2.0, memory_bytes=GIB // 4))
    assert (done.phase, done.applied) == (Phase.ROLLED_BACK, Amounts(cpu_cores=1.0, memory_bytes=GIB))
    assert web.held() == web.app().amounts == web.app().spec.amounts
    web.runtime.fail("adjust", done=True)
    done = web.sizing.adjust("web", Amounts(cpu_cores=2.0, memory_bytes=2 * GIB))
    assert done.phase is Phase.ROLLED_BACK
    assert "as the test ordered" in done.reason
    assert web.held() == web.app().held == web.app().spec.amounts


def test_where_nobody_knows_as_much_is_kept_as_it_may_hold(web):
    web.runtime.fail("adjust", done=True)
    web.runtime.fail("adjust")
    done = web.sizing.adjust("web", Amounts(cpu_cores=3.0))
    assert done.phase is Phase.TIMED_OUT
    assert web.app().amounts.cpu_cores == 1.0
    assert web.app().held.cpu_cores == web.held().cpu_cores == 3.0
    web.tending.tend()
    assert web.held().cpu_cores == web.app().held.cpu_cores == 1.0
    web.runtime.fail("adjust")
    web.runtime.fail("adjust", done=True)
    assert web.sizing.adjust("web", Amounts(cpu_cores=3.0)).phase is Phase.TIMED_OUT
    web.tending.tend()
    assert web.app().held.cpu_cores == 1.0


def test_a_time_to_live_ends_at_the_last_safe_amounts(web, clock):
    web.sizing.adjust("web", Amounts(cpu_cores=2.0))
    first = web.sizing.adjust("web", Amounts(cpu_cores=0.5), ttl_nanoseconds=MINUTE)
    web.sizing.adjust("web", Amounts(cpu_cores=0.75), ttl_nanoseconds=2 * MINUTE)
    clock.advance(61)
    web.tending.tend()
    assert web.held().cpu_cores == 0.75
    web.restart()
    assert web.held().cpu_cores == 0.75
    clock.advance(60)
    web.tending.tend()
    assert web.held().cpu_cores == web.app().amounts.cpu_cores == 2.0
    told = web.store.adjustments("web")[0]
    assert (told.phase, told.applied.cpu_cores) == (Phase.ROLLED_BACK, 2.0)
    assert web.store.adjustment(first.id).phase is Phase.APPLIED


def test_it_ends_also_while_the_card_was_down_and_the_disk_full(web, clock):
    web.sizing.adjust("web", Amounts(cpu_cores=0.5), ttl_nanoseconds=MINUTE)
    clock.advance(3600)
    web.restart()
    assert web.held().cpu_cores == 1.0
    web.sizing.adjust("web", Amounts(cpu_cores=0.5), ttl_nanoseconds=MINUTE)
    clock.advance(3600)
    web.store.full = True
    web.tending.tend()
    assert web.held().cpu_cores == 1.0


def test_what_may_be_given_back_is_kept_free(web, spec):
    web.sizing.adjust("web", Amounts(cpu_cores=0.25), ttl_nanoseconds=MINUTE)
    other = replace(spec, ports=(), amounts=Amounts(cpu_cores=2.75))
    refused(Because.NO_ROOM, web.lifecycle.create, "more", other)


def test_a_change_without_end_takes_the_place_of_one_with(web, clock):
    web.sizing.adjust("web", Amounts(cpu_cores=0.5), ttl_nanoseconds=MINUTE)
    web.sizing.adjust("web", Amounts(cpu_cores=2.0))
    clock.advance(3600)
    web.tending.tend()
    assert web.held().cpu_cores == 2.0


def test_killed_in_the_middle_it_holds_what_was_asked_for(web):
    class Killed(BaseException):
        pass

    for done in (False, True):
        web.sizing.adjust("web", Amounts(cpu_cores=1.0))
        web.runtime.fail("adjust", Killed(), done=done)
        with pytest.raises(Killed):
            web.sizing.adjust("web", Amounts(cpu_cores=2.0))
        assert web.store.adjustments("web")[0].reason == IN_FLIGHT
        web.restart()
        assert web.held().cpu_cores == web.app().held.cpu_cores == 2.0
        told = web.store.adjustments("web")[0]
        assert (told.phase, told.applied.cpu_cores) == (Phase.APPLIED, 2.0)
        assert web.card.settings.state_version == told.state_version


def killed_in_a_change(web, wanted, request=None):
    class Killed(BaseException):
        pass

    web.runtime.fail("adjust", Killed())
    with pytest.raises(Killed):
        web.sizing.adjust("web", wanted, request=request)


def test_asked_again_after_a_kill_it_is_told_what_came_of_it(web):
    request = Request(id="r", asked="two cores")
    killed_in_a_change(web, Amounts(cpu_cores=2.0), request)
    web.restart()
    again = web.sizing.adjust("web", Amounts(cpu_cores=2.0), request=request)
    assert again == web.store.adjustments("web")[0]
    assert (again.phase, again.applied.cpu_cores) == (Phase.APPLIED, 2.0)


def test_killed_before_the_first_limit_of_a_resource_it_is_set_at_the_next_start(stage, spec):
    stage.lifecycle.create("web", replace(spec, amounts=Amounts(memory_bytes=GIB), floor=Amounts()))
    killed_in_a_change(stage, Amounts(cpu_cores=2.0))
    assert stage.held().cpu_cores is None
    stage.restart()
    assert stage.held().cpu_cores == stage.app().held.cpu_cores == 2.0
    assert stage.store.adjustments("web")[0].phase is Phase.APPLIED


def test_killed_in_a_change_that_the_kernel_does_not_take_it_is_not_wanted_for_ever(web):
    killed_in_a_change(web, Amounts(memory_bytes=GIB // 4))
    web.runtime.program("web").memory_bytes = GIB // 2
    web.restart()
    told = web.store.adjustments("web")[0]
    assert (told.phase, told.applied.memory_bytes) == (Phase.PARTIAL, GIB)
    assert web.app().amounts.memory_bytes == web.app().safe.memory_bytes == web.held().memory_bytes == GIB


def test_a_stopped_one_holds_it_from_its_next_start(web):
    web.lifecycle.stop("web")
    assert web.sizing.adjust("web", Amounts(cpu_cores=2.0)).phase is Phase.APPLIED
    assert web.lifecycle.start("web").held.cpu_cores == 2.0


def test_not_all_adjustments_are_kept(web, monkeypatch):
    monkeypatch.setattr(stores, "ADJUSTMENTS_KEPT_MAX", 3)
    done = [web.sizing.adjust("web", Amounts(cpu_cores=cores)) for cores in (2, 1, 2, 1, 2)]
    assert [each.id for each in web.store.adjustments("web")] == [each.id for each in done[:1:-1]]


AMOUNTS = st.builds(
    Amounts,
    cpu_cores=st.none() | st.floats(0, 5),
    memory_bytes=st.none() | st.integers(0, 10 * GIB),
)
STEPS = st.one_of(
    st.tuples(st.just("create"), st.sampled_from("abc"), AMOUNTS, AMOUNTS),
    st.tuples(st.just("adjust"), st.sampled_from("abc"), AMOUNTS, st.sampled_from([0, MINUTE])),
    st.tuples(st.just("fail"), st.sampled_from(["adjust", "start", "stop"]), st.booleans(), st.just(0)),
    st.tuples(st.just("delete"), st.sampled_from("abc"), st.just(0), st.just(0)),
    st.tuples(st.just("wait"), st.integers(0, 90), st.just(0), st.just(0)),
    st.tuples(st.just("kill"), st.just(0), st.just(0), st.just(0)),
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEPS, max_size=25))
def test_a_card_never_gives_more_than_it_has(fresh_stage, steps):
    stage = fresh_stage()
    most = stage.room.allocatable.known()
    for what, who, one, other in steps:
        try:
            if what == "create":
                stage.lifecycle.create(who, ApplicationSpec(command=("x",), amounts=one, floor=other))
            elif what == "adjust":
                stage.sizing.adjust(who, one, ttl_nanoseconds=other)
            elif what == "fail":
                stage.runtime.fail(who, done=one)
            elif what == "delete":
                stage.lifecycle.delete(who)
            elif what == "wait":
                stage.clock.advance(who)
                stage.tending.tend()
            else:
                stage.restart()
        except (InputError, TidegateError):
            pass
        kept = allocated(stage.card.applications.values())
        held = [running.held.known() for running in stage.runtime.found()]
        here = {running.name for running in stage.runtime.found()} <= set(stage.card.applications)
        for name, limit in most.items():
            assert kept[name] <= limit * (1 + 1e-9)
            assert not here or sum(each.get(name, 0.0) for each in held) <= limit * (1 + 1e-9)
