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
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import Reader
from tidegate.journal.sql.writer import opened
from tidegate.model.application import Amounts
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
