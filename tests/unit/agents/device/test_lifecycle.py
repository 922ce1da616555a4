"""Applications come, run, fail, are started again, and go, with their card killed in between."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from tidegate.agents.device import store as stores
from tidegate.agents.device.card import SECOND
from tidegate.agents.device.lifecycle import set_draining
from tidegate.agents.device.records import Request
from tidegate.agents.device.tending import RESTARTS_PER_HOUR_MAX
from tidegate.model.application import Amounts, ApplicationState, Restart
from tidegate.model.errors import InputError, TidegateError
from tidegate.model.refusals import Because, Refusal

RUNNING, STOPPED, FAILED = ApplicationState.RUNNING, ApplicationState.STOPPED, ApplicationState.FAILED
GIB = 2**30


def refused(because, call, *given, match=None, **named):
    with pytest.raises(Refusal, match=match) as raised:
        call(*given, **named)
    assert raised.value.because is because
    return raised.value


def test_an_application_is_taken_in_and_outlives_the_program_on_its_card(stage, spec):
    made = stage.lifecycle.create("web", spec)
    assert (made.state, made.held) == (RUNNING, spec.amounts)
    stage.restart()
    assert stage.app() == made
    assert [call for call, _ in stage.runtime.calls].count("start") == 1


def test_who_does_not_fit_is_told_how_much_is_missing(stage, spec):
    stage.lifecycle.create("web", spec)
    large = replace(spec, amounts=Amounts(cpu_cores=3.0, memory_bytes=7 * GIB), ports=())
    refused(
        Because.NO_ROOM,
        stage.lifecycle.create,
        "more",
        large,
        match=r"cpu_cores is short by 0.5 \(3 wanted, 2.5 left of 3.5\); memory_bytes is short by 1.07",
    )
    assert "more" not in stage.card.applications


def test_a_gpu_nobody_knows_of_is_not_given(stage, spec):
    wanted = replace(spec, amounts=Amounts(cpu_cores=1.0, gpu_fraction=0.5))
    refused(Because.NO_ROOM, stage.lifecycle.create, "web", wanted, match="gpu_fraction is short by 0.5")


def test_what_can_not_be_taken_in_is_refused(stage, spec):
    create = stage.lifecycle.create
    create("web", spec, epoch=4)
    refused(Because.EXISTS, create, "web", spec)
    refused(Because.INVALID, create, "a b", spec, match="application_id")
    refused(Because.INVALID, create, "b", spec, start_as=FAILED, match="start_as")
    refused(Because.NOT_NOW, create, "b", spec, match="port 7000 is application web's")
    stage.lifecycle.delete("web")
    refused(Because.NOT_NOW, create, "web", spec, epoch=3, match="from epoch 4 on")
    set_draining(stage.card, draining=True)
    refused(Because.NOT_NOW, create, "web", spec, epoch=5, match="draining")
    assert stage.runtime.found() == []


def test_who_does_not_start_is_not_there(stage, spec):
    stage.runtime.fail("start")
    request = Request(id="1", asked="x")
    refused(Because.BROKEN, stage.lifecycle.create, "web", spec, request=request, match="does not start")
    assert stage.card.applications == {}
    assert stage.lifecycle.create("web", spec, request=request).state is RUNNING


def test_the_same_request_is_answered_the_same_also_after_a_kill(stage, spec):
    request = Request(id="1", asked="create web")
    made = stage.lifecycle.create("web", spec, request=request)
    assert stage.lifecycle.create("web", spec, request=request) == made
    stage.restart()
    assert stage.lifecycle.create("web", spec, request=request) == made
    refused(Because.INVALID, stage.lifecycle.start, "web", request=replace(request, asked="other"))
    gone = Request(id="2", asked="delete web")
    stage.lifecycle.delete("web", request=gone)
    stage.lifecycle.delete("web", request=gone)


def test_a_kill_between_writing_and_starting_is_made_good(stage, spec):
    class Killed(BaseException):
        pass

    request = Request(id="1", asked="create web")
    stage.runtime.fail("start", Killed())
    with pytest.raises(Killed):
        stage.lifecycle.create("web", spec, request=request)
    stage.restart()
    assert stage.app().state is RUNNING
    assert [running.name for running in stage.runtime.found()] == ["web"]
    assert stage.lifecycle.create("web", spec, request=request).name == "web"


def test_answers_are_kept_for_a_day_and_not_without_end(stage, spec, clock, monkeypatch):
    monkeypatch.setattr(stores, "ANSWERS_KEPT_MAX", 3)
    stage.lifecycle.create("web", spec)
    for number in range(6):
        stage.lifecycle.update("web", lambda spec: spec, request=Request(id=str(number), asked="x"))
    assert [number for number in range(6) if stage.store.answer(Request(id=str(number), asked="x"))] == [
        3,
        4,
        5,
    ]
    clock.advance(86_401)
    stage.lifecycle.update("web", lambda spec: spec, request=Request(id="new", asked="x"))
    assert stage.store.answer(Request(id="5", asked="x")) is None


def test_stopped_it_keeps_what_it_holds(stage, spec):
    stage.lifecycle.create("web", spec)
    assert stage.lifecycle.stop("web").state is STOPPED
    assert stage.runtime.found() == []
    wanted = replace(spec, amounts=Amounts(cpu_cores=3.0), ports=())
    refused(Because.NO_ROOM, stage.lifecycle.create, "more", wanted)
    stage.restart()
    assert stage.app().state is STOPPED
    assert stage.lifecycle.start("web").held == spec.amounts


def test_who_does_not_end_is_ended_later(stage, spec):
    stage.lifecycle.create("web", spec)
    stage.runtime.fail("stop", times=1)
    refused(Because.BROKEN, stage.lifecycle.delete, "web", match="does not end")
    assert stage.card.applications == {}
    stage.tending.tend()
    assert stage.runtime.found() == []


def test_a_stale_etag_or_another_epoch_changes_nothing(stage, spec):
    old = stage.lifecycle.create("web", spec)
    new = stage.lifecycle.update("web", lambda spec: replace(spec, state_bytes=7), etag=old.etag)
    assert (new.spec.state_bytes, new.etag) == (7, stage.app().etag)
    refused(Because.STALE, stage.lifecycle.update, "web", lambda spec: spec, etag=old.etag, match="stale")
    refused(Because.STALE, stage.lifecycle.delete, "web", etag=old.etag)
    refused(Because.NOT_NOW, stage.lifecycle.delete, "web", epoch=3, match="has epoch 0, not 3")
    refused(Because.NOT_FOUND, stage.lifecycle.delete, "nobody", match="has no application nobody")
    stage.lifecycle.delete("nobody", allow_missing=True)
    with pytest.raises(InputError, match="below the floor"):
        stage.lifecycle.update("web", lambda spec: replace(spec, floor=Amounts(cpu_cores=2.0)))
    assert stage.app() == new


def test_a_full_disk_refuses_and_costs_no_application(stage, spec, clock):
    stage.lifecycle.create("web", spec)
    before = stage.app()
    stage.store.full = True
    calls = len(stage.runtime.calls)
    for call, given in (
        (stage.lifecycle.create, ("more", replace(spec, ports=()))),
        (stage.lifecycle.stop, ("web",)),
        (stage.lifecycle.delete, ("web",)),
        (stage.sizing.adjust, ("web", Amounts(cpu_cores=2.0))),
        (stage.moves.begin, ("web",)),
    ):
        named = {"target": "card-b", "address": "b"} if call == stage.moves.begin else {}
        refused(Because.UNREACHABLE, call, *given, match="disk is full", **named)
    assert (stage.app(), len(stage.runtime.calls)) == (before, calls)
    stage.runtime.end("web")
    stage.tending.tend()
    assert stage.runtime.program("web").serving
    assert stage.tending.trouble == ""
    stage.store.full = False
    clock.advance(1)
    stage.tending.tend()
    stage.restart()
    assert stage.app().restarts == 1


def test_who_ends_by_itself_is_started_again_later_each_time_and_not_for_ever(stage, spec, clock):
    stage.lifecycle.create("web", spec)
    started = []
    for second in range(3000):
        if stage.runtime.found():
            stage.runtime.end("web")
        stage.tending.tend()
        if stage.runtime.found():
            started.append(second)
        clock.advance(1)
    assert len(started) == RESTARTS_PER_HOUR_MAX
    waits = [after - before for before, after in itertools.pairwise(started)]
    assert waits[:4] == [1, 2, 4, 8]
    assert waits == sorted(waits)
    assert max(waits) <= 300
    assert stage.app().state is FAILED
    assert "within an hour" in stage.app().failure
    assert stage.lifecycle.start("web").state is RUNNING


def test_who_is_not_to_be_started_again_has_failed(stage, spec):
    stage.lifecycle.create("web", replace(spec, restart=Restart.NEVER))
    stage.runtime.end("web")
    stage.tending.tend()
    assert (stage.app().state, stage.runtime.found()) == (FAILED, [])
    stage.restart()
    assert stage.runtime.found() == []


def test_a_start_takes_over_starts_and_ends(stage, spec):
    stage.lifecycle.create("kept", spec)
    stage.lifecycle.create("missing", replace(spec, ports=()))
    stage.runtime.end("missing")
    stage.runtime.start("stranger", spec, epoch=0, standby=False)
    stage.runtime.adjust("kept", Amounts(cpu_cores=3.0))
    stage.restart()
    assert [running.name for running in stage.runtime.found()] == ["kept", "missing"]
    assert stage.held("kept").cpu_cores == 1.0
    assert stage.app("missing").restarts == 0


def test_where_nobody_can_look_nothing_is_touched(stage, spec):
    stage.lifecycle.create("web", spec)
    stage.runtime.fail("found")
    with pytest.raises(TidegateError):
        stage.restart()
    stage.runtime.fail("found")
    stage.tending.tend()
    assert "can't be found out" in stage.tending.trouble
    assert stage.runtime.program("web").serving


def test_the_store_of_another_card_is_refused(stage, clock):
    stage.name = "card-b"
    refused(Because.NOT_NOW, stage.restart, match="the store of card card-a")


def test_times_are_those_of_the_clock(stage, spec, clock):
    assert stage.lifecycle.create("web", spec).changed_nanoseconds == clock.now_seconds() * SECOND


def test_a_store_on_disk_is_opened_once_and_not_by_an_older_program(tmp_path):
    with stores.opened(tmp_path) as store:
        assert store.adjustments("web") == []
        with pytest.raises(InputError, match="in use by another device"), stores.opened(tmp_path):
            pass
        with store._engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA user_version=99")
    with pytest.raises(TidegateError, match="newer Tidegate"), stores.opened(tmp_path):
        pass


def test_an_application_that_does_not_start_leaves_its_card_well(stage, clock, spec):
    stage.lifecycle.create("web", spec)
    stage.runtime.end("web")
    stage.runtime.start = lambda *_, **__: (_ for _ in ()).throw(TidegateError("no such program"))
    clock.advance(1)
    stage.tending.tend()
    assert "does not start" in stage.tending.unwell
    assert stage.tending.trouble == ""
