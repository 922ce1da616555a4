"""A card's own applications in its fast loop: seen as they are, sized as the policy wants, expected ahead."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.agents.device.conftest import SPEC
from tidegate.agents.device.services.device import Device
from tidegate.agents.servers.expecting import AHEAD_SECONDS, STEP_SECONDS, Expecting
from tidegate.agents.servers.loop import device_loop
from tidegate.agents.servers.own import OwnApplications, identifier_of
from tidegate.agents.servers.servers import Servers
from tidegate.model.application import Amounts, ApplicationState
from tidegate.model.outcome import Phase
from tidegate.model.resources import Resource

RESOURCES = (Resource.CPU, Resource.MEMORY)
NANOSECONDS = 10**9


class Loop:
    """A card with its fast loop, turned by hand."""

    def __init__(self, stage, policy="reactive"):
        self.stage = stage
        self.device = Device(card=stage.card, moving=None, threads=ThreadPoolExecutor(1))
        self.servers = Servers(
            card=stage.name,
            epoch=1,
            now_nanoseconds=lambda: stage.clock.now_seconds() * NANOSECONDS,
            step_seconds=1,
            resources=RESOURCES,
        )
        self.own = OwnApplications(
            device=self.device, servers=self.servers, resources=RESOURCES, step_seconds=1
        )
        self.own.greet()
        self.loop = device_loop(self.servers, resources=RESOURCES, step_seconds=1, policy_name=policy)

    def turn(self, times=1):
        tick = None
        for _ in range(times):
            self.stage.clock.advance(1)
            self.device.profiling.turn()
            self.own.sample()
            tick = self.loop.tick()
            asyncio.run(self.own.carry_out())
        return tick

    def close(self):
        self.device.threads.shutdown()


@pytest.fixture
def loop(fresh_stage):
    stage = fresh_stage()
    stage.lifecycle.create("web", SPEC)
    made = Loop(stage)
    yield made
    made.close()


def test_an_application_is_a_row_under_its_fleet_wide_number(loop):
    loop.stage.runtime.program("web").cpu_cores_wanted = 0.8
    snapshot = loop.turn(4).snapshot
    assert snapshot.roster.names == ("web",)
    assert snapshot.places.is_card.tolist() == [True]
    assert snapshot.used[0, 0] == pytest.approx(0.8, rel=0.01)
    assert snapshot.grant[0, 0, 0] == loop.stage.held().cpu_cores
    assert snapshot.capacity[0, 0] == 3.0
    assert identifier_of("web") != identifier_of("web2")


def test_what_is_used_up_to_the_grant_is_pressed_and_grows(loop):
    loop.stage.runtime.program("web").cpu_cores_wanted = 2.0
    assert loop.turn(2).snapshot.pressed[0, 0]
    loop.turn(80)
    assert loop.stage.held().cpu_cores > 1.9
    assert loop.stage.app().held.cpu_cores == loop.stage.held().cpu_cores


def test_a_budget_is_the_most_it_may_hold(loop):
    card = loop.stage.card
    one = card.application("web")
    card.applications["web"] = replace(one, spec=replace(one.spec, budget=Amounts(cpu_cores=1.5)))
    loop.stage.runtime.program("web").cpu_cores_wanted = 3.0
    loop.turn(80)
    assert loop.stage.held().cpu_cores == pytest.approx(1.5)


def test_what_stands_by_or_is_stopped_is_no_row(loop):
    loop.stage.lifecycle.create(
        "waits", replace(SPEC, ports=(7001,)), epoch=1, start_as=ApplicationState.STANDBY
    )
    assert loop.turn(2).snapshot.roster.names == ("web",)
    loop.stage.lifecycle.stop("web", grace_seconds=1.0)
    assert loop.turn().snapshot.roster.names == ()


def test_a_resource_without_an_amount_has_no_limit_to_move(fresh_stage):
    stage = fresh_stage()
    stage.lifecycle.create("web", replace(SPEC, amounts=Amounts(memory_bytes=2**30), floor=Amounts()))
    made = Loop(stage)
    made.turn(70)
    assert not made.servers.settable[0, 0]
    assert made.servers.settable[1, 0]
    assert stage.held().cpu_cores is None
    made.close()


def test_the_next_minutes_are_expected_from_what_was_seen(fresh_stage):
    stage = fresh_stage()
    stage.lifecycle.create("web", SPEC)
    loop = Loop(stage, policy="static")
    expecting = Expecting(resources=RESOURCES)
    program = loop.stage.runtime.program("web")
    assert expecting.expected("web") is None
    for at in range(40 * STEP_SECONDS):
        program.cpu_cores_wanted = 0.9 if at % (6 * STEP_SECONDS) < STEP_SECONDS else 0.2
        expecting.show(loop.turn().snapshot)
    said = expecting.expected("web")
    assert said is not None
    assert 0.8 < said[0] <= 3.0  # within the next five minutes there is a burst, whatever is used now
    assert AHEAD_SECONDS > 6 * STEP_SECONDS
    assert np.isfinite(said).all()
    loop.close()


def test_an_application_that_is_sampled_no_more_is_missing_not_idle(loop):
    loop.stage.runtime.program("web").cpu_cores_wanted = 0.8
    loop.turn(4)
    loop.stage.runtime.usage = list  # tells of nobody
    snapshot = loop.turn(4).snapshot
    assert np.isnan(snapshot.used).all()
    assert not snapshot.pressed.any()


def test_an_amount_for_a_time_stands_until_it_is_over(loop):
    loop.stage.runtime.program("web").cpu_cores_wanted = 0.3
    loop.turn(70)
    loop.stage.sizing.adjust("web", Amounts(cpu_cores=2.5), ttl_nanoseconds=60 * NANOSECONDS)
    loop.turn(20)
    assert loop.stage.held().cpu_cores == 2.5
    assert "cpu_cores" in loop.stage.app().temporary
    loop.stage.clock.advance(60)
    loop.stage.tending.expire()
    loop.turn(10)
    assert loop.stage.held().cpu_cores < 1.0


def test_what_was_sized_since_an_order_was_decided_is_left_alone(loop):
    loop.stage.runtime.program("web").cpu_cores_wanted = 2.0
    loop.turn(1)
    ordered = False
    for _ in range(80):
        loop.stage.clock.advance(1)
        loop.device.profiling.turn()
        loop.own.sample()
        if ordered := len(loop.loop.tick().actions) > 0:
            break
        asyncio.run(loop.own.carry_out())
    assert ordered
    loop.stage.sizing.adjust("web", Amounts(cpu_cores=2.75, memory_bytes=3 * 2**30))
    asyncio.run(loop.own.carry_out())
    assert loop.stage.held().cpu_cores == 2.75
    assert loop.servers.collect().phase.tolist().count(Phase.REFUSED) > 0
