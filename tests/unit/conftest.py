"""Journals that commands read: one of a simulated fleet, and one whose every number is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tidegate.app.service import Service
from tidegate.app.wiring import SHADOWS, simulated
from tidegate.cli.worlds import made_world
from tidegate.drivers.simulated.build import read_scenario
from tidegate.forecast.profile import Profile
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.writer import opened
from tidegate.learn.observing import Observing
from tidegate.model.columns import prefixed
from tidegate.model.forecast import Drift, Drifts, Exceedance
from tidegate.model.outcome import Outcome, Phase, nothing_confirmed
from tidegate.model.plan import Reason, host_plan
from tidegate.model.roster import HOST
from tidegate.model.tick import Tick
from tidegate.plan.difference import difference
from tidegate.plan.league import League
from tidegate.testing import forecast_of, places_of, roster_of, snapshot_of

TWO_SERVERS = Path(__file__).resolve().parents[2] / "examples/scenarios/two_servers_one_card.toml"
LIVED_TICKS = 230
"""Enough for a checkpoint that holds an hour."""
STORY_START = 1_704_067_200
"""2024-01-01 00:00 UTC, a Monday."""
STORY_NAMES = ("[red]app", "web-1", "web-2", "db-1")
STORY_WHOLE = 3
"""The tick from which on the story can be read alone."""
WEB_1 = 1
GIB = 2**30
CPU, MEMORY = 0, 1


@pytest.fixture(scope="session")
def lived(tmp_path_factory):
    """The journal of a small simulated fleet."""
    path = tmp_path_factory.mktemp("lived") / "simulated.db"
    where = location(str(path))
    world = made_world(
        read_scenario(TWO_SERVERS), (), scenario=TWO_SERVERS, step_seconds=None, sla=None, seed=0
    )
    identity = {"loop": "simulated", "league": ",".join(("calibrated_reactive", *SHADOWS))}
    with opened(where, identity) as journal:
        profile = Profile(step_seconds=world.trace.step_seconds)
        loop = simulated(
            world,
            world.start(),
            policy_name="calibrated_reactive",
            journal=journal,
            learner=Observing(profile, profile),
            league=True,
        )
        service = Service(loop=loop, journal=journal)
        for _ in range(LIVED_TICKS):
            service.tick()
    return path


@pytest.fixture(scope="session")
def story(tmp_path_factory):
    """A journal of five ticks of `STORY_NAMES`, of a machine.

    web-1 is granted 2 cores, grows on a forecast to 3 at tick 1, of which a guard leaves 2.5; that its level
    has changed since the beginning is noticed then, too. At tick 2 it uses all it has, at tick 3 one core,
    and no sample comes at tick 4. Tick 3 finds the fleet anew, and is stored whole: it can be read without
    those before it.
    """
    path = tmp_path_factory.mktemp("story") / "machine.db"
    with opened(location(str(path)), {"loop": "local", "league": "tidegate,vpa"}) as journal:
        for number in range(5):
            journal.append(_story_tick(number))
            if number == 0:
                journal.checkpoint(0, _story_memory())
        journal.event(STORY_START + 300, "note", "somebody [bold]restarted[/bold] it", "web-1")
        journal.event(STORY_START + 300, "note", "everything was looked at")
        journal.event(STORY_START + 300, "note", "that is web-2's", "web-2")
        journal.event(STORY_START + 10 * 86_400, "note", "long after")
    return path


def _story_snapshot(number):
    used = np.array([[1.0, 1.5, 0.5, 0.25], [8 * GIB, 8 * GIB, 4 * GIB, 2 * GIB]])
    used[CPU, WEB_1] = (1.5, 1.9, 2.4999, 1.0, np.nan)[number]
    held = np.array([[2.0] * 4, [12 * GIB] * 4])
    held[CPU, WEB_1] = 2.0 if number < 2 else 2.5
    return snapshot_of(
        used,
        capacity=np.array([[4.0] * 4, [16 * GIB] * 4]),
        held=held,
        pressed=used == 2.4999,
        places=_PLACES,
        roster=_ROSTER if number < STORY_WHOLE else _SAME_ROSTER,
        card=[1, -1, -1, -1],
        time_seconds=STORY_START + 300 * (number + 1),
    )


def _story_tick(number):
    snapshot = _story_snapshot(number)
    grown = number >= 1
    wanted, left = snapshot.grant[HOST].copy(), snapshot.grant[HOST].copy()
    reason = np.full(wanted.shape, Reason.BASELINE, dtype=np.uint8)
    if grown:
        wanted[CPU, WEB_1], left[CPU, WEB_1] = 3.0, 2.5
        reason[CPU, WEB_1] = Reason.GROW_ON_FORECAST
    planned = replace(host_plan(snapshot, wanted, reason), counterfactual=snapshot.grant[HOST] * 1.1)
    guarded = reason.copy()
    guarded[CPU, WEB_1] = Reason.GUARD_PACE if grown else Reason.BASELINE
    plan = replace(host_plan(snapshot, left, guarded), counterfactual=planned.counterfactual)
    return Tick(
        number=number,
        snapshot=snapshot,
        forecast=_story_forecast(snapshot, acts=grown),
        scores=None,
        planned=planned,
        plan=plan,
        actions=difference(plan, snapshot),
        outcome=_STORY_OUTCOME if number == 2 else nothing_confirmed(),
        stage_seconds={},
    )


def _story_forecast(snapshot, *, acts):
    safe = snapshot.grant[HOST].copy()
    low, high = safe.copy(), safe.copy()
    acting = np.zeros(safe.shape, dtype=np.bool_)
    if acts:
        acting[CPU, WEB_1] = True
        low[CPU, WEB_1], high[CPU, WEB_1] = 2.0, 3.0
    curve = Exceedance(
        base=safe,
        offsets=np.zeros(1, dtype=np.float32),
        scale=safe,
        probability=np.zeros((1, *safe.shape), dtype=np.float32),
        acts=acting,
        safe=safe,
    )
    changed = Drifts(
        kind=np.where(acting, np.uint8(Drift.LEVEL), np.uint8(Drift.NONE)),
        age_seconds=np.where(acting, np.float32(snapshot.time_seconds - STORY_START), np.float32(0)),
        noticed=acting & (snapshot.time_seconds == STORY_START + 600),
    )
    return replace(forecast_of(snapshot, low, high, levels=(0.5, 0.99)), exceedance=curve, drift=changed)


def _story_memory():
    """The league of a day, and what a profile makes of eight days: web-1 peaks at 20:15 on weekdays."""
    league = League(("tidegate", "vpa"))
    for number in range(2):
        scale = league.begin(_story_snapshot(number))
        league.count(0, np.full((2, 4), 2.0, dtype=np.float32), np.zeros((2, 4), dtype=np.bool_), scale)
        league.count(1, np.full((2, 4), 4.0, dtype=np.float32), np.ones((2, 4), dtype=np.bool_), scale)
    profile = Profile(step_seconds=900)
    for slot in range(8 * 96):
        day, of_day = divmod(slot, 96)
        peak = 81 if day % 7 < 5 else 44
        used = np.full((2, 4), 1.0)
        used[CPU, WEB_1] = 0.5 + 2.6 * max(0, 1 - abs(of_day - peak) / 30)
        used[:, 3] = np.nan if slot < 7 * 96 else 0.5
        moment = STORY_START + (slot + 1) * 900
        profile.observe(
            snapshot_of(used, roster=_ROSTER, places=_PLACES, time_seconds=moment, step_seconds=900)
        )
    return prefixed("planner.league", dict(league.state())) | prefixed("learner", dict(profile.state()))


_ROSTER = roster_of(4, resources=2, names=STORY_NAMES, floor=[[0.2], [0.0]], priority=2)
_SAME_ROSTER = replace(_ROSTER)
_PLACES = places_of(servers=[[16.0], [64 * GIB]], cards=[[8.0], [16 * GIB]])
_STORY_OUTCOME = Outcome(
    workload_id=_ROSTER.ids[[WEB_1]],
    resource_row=np.array([CPU], dtype=np.uint8),
    share=np.array([HOST], dtype=np.uint8),
    phase=np.array([Phase.APPLIED], dtype=np.uint8),
    amount_read_back=np.array([2.5], dtype=np.float32),
)
