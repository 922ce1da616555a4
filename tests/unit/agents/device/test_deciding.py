"""A device decides: written down first, then done at once; what can't be written down is not done."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from tests.unit.agents.device.conftest import SPEC
from tidegate.agents.device.deciding import Deciding, Sizes
from tidegate.agents.device.services.device import Device
from tidegate.app.plan_shown import plan_shown
from tidegate.journal.sql.controls import Controls, controls_of
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import Reader
from tidegate.journal.sql.writer import opened
from tidegate.model.application import Amounts
from tidegate.model.autonomy import Autonomy, Level
from tidegate.model.errors import TidegateError

SIZES = Sizes(policy="reactive")


@pytest.fixture
def stage(fresh_stage):
    made = fresh_stage()
    made.lifecycle.create("web", SPEC)
    made.runtime.program("web").cpu_cores_wanted = 2.0
    return made


@contextmanager
def deciding_on(stage, folder):
    """Have what decides on a card, with its journal; gone on from that."""
    device = Device(card=stage.card, moving=None, threads=ThreadPoolExecutor(1))
    where = location(str(folder / "decisions.db"))
    with opened(where, SIZES.identity(stage.name)) as journal:
        made = Deciding(device=device, sizes=SIZES, journal=journal)
        made.go_on(where)
        made._own.greet()
        yield made
    device.threads.shutdown()


def turn(stage, deciding, times=3):
    for _ in range(times):
        stage.clock.advance(1)
        deciding.device.profiling.turn()
        deciding._tick()
        deciding._think()


def carried_out(deciding):
    """Let what was ordered be done, without another sample."""

    async def done():
        task = asyncio.create_task(deciding._carry_out())
        await asyncio.sleep(0.2)
        task.cancel()

    asyncio.run(done())


def ticks(folder):
    span = Reader.of(location(str(folder / "decisions.db"))).span()
    return 0 if span is None else span.last + 1


def test_what_is_ordered_for_its_own_applications_is_done_before_their_next_sample(stage, tmp_path):
    with deciding_on(stage, tmp_path) as deciding:
        turn(stage, deciding)
        assert stage.held().cpu_cores == 1.0
        carried_out(deciding)
    assert stage.held().cpu_cores > 1.2
    assert ticks(tmp_path) == 3


def test_what_can_t_be_written_down_is_not_done(stage, tmp_path, monkeypatch):
    def full(_tick):
        raise TidegateError("the disk is full")

    with capture_logs() as told, deciding_on(stage, tmp_path) as deciding:
        turn(stage, deciding, times=1)
        with monkeypatch.context() as patched:
            patched.setattr(deciding.journal, "append", full)
            turn(stage, deciding, times=3)
            carried_out(deciding)
            assert stage.held().cpu_cores == 1.0
        turn(stage, deciding, times=2)  # there is room again
        carried_out(deciding)
    assert stage.held().cpu_cores > 1.2
    assert ticks(tmp_path) == 3
    assert "the disk is full" in {str(one["exc_info"]) for one in told if "exc_info" in one}


def test_a_second_start_goes_on_from_the_journal(stage, tmp_path):
    with deciding_on(stage, tmp_path) as deciding:
        turn(stage, deciding)
    with deciding_on(stage, tmp_path) as deciding:
        turn(stage, deciding, times=2)
    assert ticks(tmp_path) == 5


def test_a_budget_does_not_hold_down_what_is_expected(stage, tmp_path):
    with deciding_on(stage, tmp_path) as deciding:
        app = stage.card.applications["web"]
        spec = replace(app.spec, budget=Amounts(cpu_cores=0.5))
        stage.card.applications["web"] = replace(app, spec=spec)
        turn(stage, deciding, times=3)
        assert deciding._own.ceilings[0, 0] == 3.0  # the ceiling it has agreed on
        turn(stage, deciding, times=60)
        assert deciding.device.outlook.of("web").cpu_cores > 0.9  # it used one core, and asked for more


def said(folder, how, *arguments):
    with controls_of(location(str(folder / "decisions.db")), Level.AUTO) as controls:
        getattr(controls, how)(*arguments, now_seconds=0)


def last_reasons(folder):
    reader = Reader.of(location(str(folder / "decisions.db")))
    try:
        shown = plan_shown(reader, Autonomy(default=Level.AUTO))
    finally:
        reader.close()
    return {row.resource: (row.guard or "", row.held, row.wanted) for row in shown.rows}


@pytest.mark.parametrize(
    ("how", "arguments", "why"),
    [
        ("pause", (), "paused"),
        ("allow", ("w*", Level.RECOMMEND), "recommended only"),
        ("allow", ("web", Level.OBSERVE), "observed only"),
    ],
)
def test_what_people_say_in_the_journal_stops_it_and_the_wish_is_noted(stage, tmp_path, how, arguments, why):
    with deciding_on(stage, tmp_path) as deciding:
        said(tmp_path, how, *arguments)
        deciding.listen()
        turn(stage, deciding, times=5)
        carried_out(deciding)
        assert stage.held().cpu_cores == 1.0
        assert why in last_reasons(tmp_path)["cpu"][0]
        said(tmp_path, *(("resume",) if how == "pause" else ("allow", "*", Level.AUTO)))
        deciding.listen()
        turn(stage, deciding, times=3)
        carried_out(deciding)
    assert stage.held().cpu_cores > 1.2


def test_a_rule_holds_for_whom_it_names_alone(stage, tmp_path):
    stage.lifecycle.create("other", replace(SPEC, ports=(7001,)))
    stage.runtime.program("other").cpu_cores_wanted = 2.0
    with deciding_on(stage, tmp_path) as deciding:
        said(tmp_path, "allow", "web", Level.OBSERVE)
        deciding.listen()
        turn(stage, deciding, times=3)
        carried_out(deciding)
    assert stage.held("web").cpu_cores == 1.0
    assert stage.held("other").cpu_cores > 1.0


def test_a_rule_is_heard_while_it_runs_without_being_asked(stage, tmp_path):
    async def scenario(deciding):
        running = asyncio.create_task(deciding._pace())
        said(tmp_path, "pause")
        for _ in range(60):
            await asyncio.sleep(0.05)
            if deciding._allowed.paused:
                break
        running.cancel()
        assert deciding._allowed.paused

    with deciding_on(stage, tmp_path) as deciding:
        asyncio.run(scenario(deciding))


def test_where_autonomy_can_t_be_read_what_was_said_last_holds(stage, tmp_path, monkeypatch):
    def broken(_self):
        raise TidegateError("the disk is gone")

    with capture_logs() as told, deciding_on(stage, tmp_path) as deciding:
        said(tmp_path, "pause")
        deciding.listen()
        monkeypatch.setattr(Controls, "autonomy", broken)
        deciding.listen()
        assert deciding._allowed.paused
    assert any("autonomy can't be read" in one["event"] for one in told)


def test_without_a_journal_the_level_at_its_start_holds(stage):
    device = Device(card=stage.card, moving=None, threads=ThreadPoolExecutor(1))
    made = Deciding(device=device, sizes=replace(SIZES, autonomy=Level.RECOMMEND))
    made._own.greet()
    turn(stage, made, times=5)
    carried_out(made)
    device.threads.shutdown()
    assert stage.held().cpu_cores == 1.0
