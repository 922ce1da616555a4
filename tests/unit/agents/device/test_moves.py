"""What can be asked of moves, and what a card remembers of those who came and went."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tidegate.agents.device.handouts import Handouts
from tidegate.agents.device.moving import SETTLE_NANOSECONDS, Moving
from tidegate.agents.device.peers import LISTEN_SECONDS_MAX, Standby
from tidegate.agents.device.records import MigrationPhase, Strategy
from tidegate.model.application import Amounts, ApplicationState
from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Because, Refusal

STANDBY, RUNNING = ApplicationState.STANDBY, ApplicationState.RUNNING


def refused(because, call, *given, match=None, **named):
    with pytest.raises(Refusal, match=match) as raised:
        call(*given, **named)
    assert raised.value.because is because


class Silent:
    """A card that does not answer."""

    def __getattr__(self, call):
        def ask(*given, **named):
            raise Refusal(Because.UNREACHABLE, "nobody answers")

        return ask


def test_while_it_moves_it_is_nobodys_to_stop_or_delete(stage, spec):
    stage.lifecycle.create("web", spec)
    move = stage.moves.begin("web", target="card-b", address="b")
    for call in (stage.lifecycle.stop, stage.lifecycle.delete):
        refused(Because.NOT_NOW, call, "web", match="being moved by migration")
    refused(Because.NOT_NOW, stage.moves.begin, "web", target="card-c", address="c")
    assert stage.sizing.adjust("web", Amounts(cpu_cores=2.0)).applied.cpu_cores == 2.0
    assert stage.moves.abort(move.id).by_request


def test_only_what_runs_moves_and_not_with_a_used_epoch(stage, spec):
    stage.lifecycle.create("web", spec, start_as=ApplicationState.STOPPED)
    refused(Because.NOT_NOW, stage.moves.begin, "web", target="card-b", address="b", match="is stopped")
    stage.lifecycle.start("web")
    begin = stage.moves.begin
    refused(Because.UNSUPPORTED, begin, "web", target="card-b", address="b", strategy=Strategy.LIVE)
    plain = replace(spec, hands_off=False, ports=())
    stage.lifecycle.create("plain", plain)
    refused(Because.NOT_NOW, begin, "plain", target="b", address="b", strategy=Strategy.HANDOFF)
    assert begin("plain", target="b", address="b").strategy is Strategy.RESTART
    move = begin("web", target="card-b", address="b", epoch=7)
    moving = Moving(stage.card, lambda *_: Silent())
    stage.moves.abort(move.id)
    for _ in range(3):
        moving.step(move.id)
    assert stage.card.migration(move.id).phase is MigrationPhase.ABORTED
    refused(Because.NOT_NOW, begin, "web", target="card-c", address="c", epoch=7, match="give 8 or a higher")
    refused(Because.NOT_NOW, begin, "web", target="card-b", address="b", match="may still have a standby")
    assert begin("web", target="card-c", address="c").epoch == 8


def test_a_target_that_never_answers_costs_nothing(stage, spec, clock):
    stage.lifecycle.create("web", spec)
    move = stage.moves.begin("web", target="card-b", address="b")
    moving = Moving(stage.card, lambda *_: Silent())
    for _ in range(120):
        for identifier in moving.due():
            moving.step(identifier)
        clock.advance(1)
    ended = stage.card.migration(move.id)
    assert (ended.phase, ended.leftover, ended.pause_nanoseconds) == (MigrationPhase.FAILED, True, 0)
    assert stage.runtime.program("web").serving
    assert stage.app().migration == ""


def test_a_standby_that_does_not_stay_up_is_not_relied_on(stage, spec, clock):
    class Falling(Silent):
        def prepare(self, *given, **named):
            return ("10.0.0.2:7000",)

        def standing(self, *given, **named):
            return Standby("it does not stay up")

    stage.lifecycle.create("web", spec)
    move = stage.moves.begin("web", target="card-b", address="b")
    moving = Moving(stage.card, lambda *_: Falling())
    for _ in range(10):
        for identifier in moving.due():
            moving.step(identifier)
        clock.advance(1)
    ended = stage.card.migration(move.id)
    assert (ended.phase, ended.why) == (MigrationPhase.FAILED, "it does not stay up")
    assert not [call for call, _ in stage.runtime.calls if call == "export_state"]
    assert SETTLE_NANOSECONDS > 10**9  # the target looks after its programs every second


def loading(stage, spec, clock, *, until):
    """Move to a target whose program is being loaded for so many seconds; yields each second of it."""

    class Loading(Silent):
        def prepare(self, *given, **named):
            return ("10.0.0.2:7000",)

        def standing(self, *given, **named):
            return Standby(listens=clock.now_seconds() >= began + until)

        def activate(self, *given, **named):
            pass

    began = clock.now_seconds()
    stage.lifecycle.create("web", spec)
    move = stage.moves.begin("web", target="card-b", address="b")
    moving = Moving(stage.card, lambda *_: Loading())
    for second in range(until + 10):
        for identifier in moving.due():
            moving.step(identifier)
        yield second, stage.card.migration(move.id)
        clock.advance(1)


def test_it_serves_until_its_standby_has_been_loaded(stage, spec, clock):
    """A standby on a full card takes long to load; who let go before served nobody for so long."""
    for second, move in loading(stage, spec, clock, until=30):
        if second < 30:
            assert move.phase in {MigrationPhase.PENDING, MigrationPhase.PREPARING}
            assert stage.runtime.program("web").serving
    assert move.phase is MigrationPhase.SUCCEEDED
    assert move.pause_nanoseconds == 0


def test_a_standby_that_never_listens_is_given_up(stage, spec, clock):
    *_, (_, move) = loading(stage, spec, clock, until=round(LISTEN_SECONDS_MAX) + 10)
    assert move.phase is MigrationPhase.FAILED
    assert "does not listen on its control socket after 120 s" in move.why
    assert stage.runtime.program("web").serving


def test_an_owner_is_never_withdrawn(stage, spec):
    taking = stage.taking_in
    stage.lifecycle.create("web", spec, epoch=3, start_as=STANDBY, owner="card-b")
    assert not stage.runtime.program("web").serving
    refused(
        Because.NOT_ALLOWED, taking.activate, "web", epoch=3, state=[b"x"], state_bytes=1, asked_by="card-c"
    )
    refused(Because.NOT_NOW, taking.activate, "web", epoch=2, state=[b"x"], state_bytes=1)
    taking.activate("web", epoch=3, state=[b"x"], state_bytes=1, asked_by="card-b")
    assert (stage.app().state, stage.runtime.program("web").state) == (RUNNING, b"x")
    stage.runtime.program("web").state = b"xy"
    taking.activate("web", epoch=3, state=[b"x"], state_bytes=1, asked_by="card-b")
    assert stage.runtime.program("web").state == b"xy"
    refused(Because.NOT_NOW, taking.withdraw, "web", epoch=3, match="can't be withdrawn")
    stage.lifecycle.delete("web")
    refused(Because.NOT_NOW, taking.withdraw, "web", epoch=3)
    assert taking.activate("web", epoch=3, state=[b"x"], state_bytes=1) == 0
    assert stage.runtime.found() == []


def test_a_withdrawn_epoch_is_never_taken_in_even_if_it_comes_late(stage, spec):
    stage.taking_in.withdraw("web", epoch=3)
    refused(
        Because.NOT_NOW, stage.lifecycle.create, "web", spec, epoch=3, start_as=STANDBY, match="from epoch 4"
    )
    stage.restart()
    refused(Because.NOT_NOW, stage.lifecycle.create, "web", spec, epoch=3, start_as=STANDBY)
    assert stage.lifecycle.create("web", spec, epoch=4, start_as=STANDBY).epoch == 4


def test_a_standby_is_started_again_and_nobody_elses_to_start(stage, spec):
    stage.lifecycle.create("web", spec, epoch=1, start_as=STANDBY, owner="card-b")
    stage.runtime.end("web")
    stage.restart()
    assert not stage.runtime.program("web").serving
    for call in (stage.lifecycle.start, stage.lifecycle.stop, stage.lifecycle.delete):
        refused(Because.NOT_NOW, call, "web", match="waits here for its state from card card-b")


def test_a_state_is_kept_as_a_file_until_its_move_is_settled(tmp_path):
    handouts = Handouts(tmp_path / "handouts")
    asked = []

    def export():
        asked.append(1)
        yield b"ab"
        yield b"cd"

    kept = handouts.keep("m1", export)
    assert (kept.size_bytes, b"".join(kept.chunks())) == (4, b"abcd")
    again = Handouts(tmp_path / "handouts").find("m1")
    assert (again.size_bytes, b"".join(again.chunks()), asked) == (4, b"abcd", [1])
    handouts.drop("m1")
    assert handouts.find("m1") is None
    for move in ("m2", "m3"):
        handouts.keep(move, export)
    (tmp_path / "handouts/m4.part").touch()
    Handouts(tmp_path / "handouts").drop_all_but(["m3"])
    assert [file.name for file in (tmp_path / "handouts").iterdir()] == ["m3.state"]
    with pytest.raises(TidegateError, match="can't be read"):
        list(again.chunks())


def test_half_a_state_is_no_state_and_a_full_disk_no_reason_to_lose_one(tmp_path):
    def breaking():
        yield b"ab"
        raise TidegateError("it broke off")

    handouts = Handouts(tmp_path / "handouts")
    with pytest.raises(TidegateError, match="broke off"):
        handouts.keep("m1", breaking)
    assert Handouts(tmp_path / "handouts").find("m1") is None
    (tmp_path / "file").write_text("no folder")
    full = Handouts(tmp_path / "file")
    assert b"".join(full.keep("m2", lambda: [b"ab", b"c"]).chunks()) == b"abc"
    assert b"".join(full.find("m2").chunks()) == b"abc"
