"""This very machine, watched: its journal goes on over starts, and says what became of it."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.app.machine import MachineOptions, running
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import Reader
from tidegate.model.autonomy import Level
from tidegate.model.errors import InputError
from tidegate.model.plan import Reason


@pytest.fixture
def where(tmp_path):
    return location(str(tmp_path / "machine.db"))


def options(where, **of):
    return MachineOptions(
        ledger=where.path.with_name("limits.json"), **{"policy": "calibrated_reactive"} | of
    )


def test_the_second_start_goes_on_from_the_first(where):
    for start in range(3):
        with running(where, options(where)) as machine:
            assert (machine.resumed is None) == (start == 0)
            ticks = [machine.tick() for _ in range(2)]
        assert [tick.number for tick in ticks] == [2 * start, 2 * start + 1]
        assert machine.ticks == 2


def test_nobody_is_acted_on_unless_told_and_the_reason_says_so(where):
    with running(where, options(where)) as machine:
        ticks = [machine.tick() for _ in range(3)]
    assert sum(len(tick.actions) for tick in ticks) == 0
    assert not where.path.with_name("limits.json").exists()
    for tick in ticks:
        refused = (tick.planned.wanted != tick.snapshot.grant).any(axis=0) & ~np.isnan(tick.snapshot.grant[0])
        reasons = {Reason(int(code)) for code in tick.plan.reason[refused]}
        assert all(reason.is_of_guard for reason in reasons), reasons


def test_what_is_told_while_it_runs_holds_at_the_next_tick(where):
    with running(where, options(where)) as machine:
        machine.tick()
        machine._controls.allow("*", Level.RECOMMEND, now_seconds=1)
        for _ in range(2):
            tick = machine.tick()
        assert not (tick.plan.reason == Reason.HELD_OBSERVED).any()
        assert (machine.autonomy().levels(tick.snapshot.roster.names) == Level.RECOMMEND).all()


def test_start_and_end_are_noted(where):
    with running(where, options(where)) as machine:
        machine.tick()
    reader = Reader.of(where)
    noted = [(event.kind, event.sentence) for event in reader.events(last=9)]
    reader.close()
    assert noted == [
        ("started", "started with policy calibrated_reactive, step 1 s"),
        ("stopped", "stopped after 1 ticks"),
    ]


def fail_after_a_tick(where):
    with running(where, options(where)) as machine:
        machine.tick()
        raise ZeroDivisionError


def test_an_end_by_an_error_is_noted_too(where):
    with pytest.raises(ZeroDivisionError):
        fail_after_a_tick(where)
    reader = Reader.of(where)
    assert reader.events(last=1)[0].kind == "stopped"
    reader.close()


def test_a_journal_of_another_policy_is_refused(where):
    with running(where, options(where)) as machine:
        machine.tick()
    with (
        pytest.raises(InputError, match="--fresh, or name another with --journal"),
        running(where, options(where, policy="reactive")),
    ):
        pass


def test_the_league_is_of_everyone(where):
    with running(where, options(where)) as machine:
        for _ in range(3):
            machine.tick()
        standings = machine.company.league.standings(0)
    assert [standing.policy for standing in standings] == [
        "calibrated_reactive",
        "without_forecast",
        "calibrated_reactive",
        "vpa",
        "autopilot_window",
        "n_sigma",
    ]
