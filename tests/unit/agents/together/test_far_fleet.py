"""A simulated fleet in another process: steps come in turn, and whoever comes anew learns where it stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tidegate.agents.together.far_fleet import FarFleet
from tidegate.cli.worlds import made_world
from tidegate.drivers.simulated.build import read_scenario
from tidegate.model.plan import Actions, Kind
from tidegate.model.refusals import InvalidField, Refusal
from tidegate.model.roster import HOST
from tidegate.wire.simulated.v1 import world_pb2
from tidegate.wire.worlds import Step, actions_record, positioned, step_message

TWO_SERVERS = Path(__file__).resolve().parents[4] / "examples/scenarios/two_servers_one_card.toml"


@pytest.fixture(scope="module")
def world():
    return made_world(
        read_scenario(TWO_SERVERS), (), scenario=TWO_SERVERS, step_seconds=None, sla=None, seed=0
    )


class Agent:
    """Computes the world, as far as it is let."""

    def __init__(self, world, far):
        self.world, self.far, self.like = world, far, world.template()
        self.fleet, self.heard = None, []
        far.connect(self.hear)

    def hear(self, response):
        said = world_pb2.ConnectResponse.FromString(response.SerializeToString())
        self.heard.append(said.WhichOneof("message"))
        if said.HasField("position"):
            begin = positioned(said.position, self.like)
            self.fleet = self.world.start()
            if begin is not None:
                self.fleet.go_on(begin)
        else:
            self.fleet.submit(actions_record(said.decisions, self.like))

    def step(self):
        outcome = self.fleet.collect()
        step = Step(
            snapshot=self.fleet.read(),
            outcome=outcome,
            used_by_place=self.fleet.used_by_place,
            link_bytes_per_second=self.fleet.link_bytes_per_second,
        )
        self.far.step(world_pb2.Step.FromString(step_message(step).SerializeToString()), self.hear)


def resized(snapshot, amount):
    one = np.zeros(1, dtype=np.int64)
    return Actions(
        time_seconds=snapshot.time_seconds,
        expires_seconds=snapshot.time_seconds + 300,
        kind=np.full(1, Kind.RESIZE, dtype=np.uint8),
        workload=one,
        workload_id=snapshot.roster.ids[one],
        resource_row=np.zeros(1, dtype=np.uint8),
        share=np.full(1, HOST, dtype=np.uint8),
        place_from=snapshot.host[one],
        place_to=snapshot.host[one],
        amount_from=snapshot.grant[HOST, 0, one],
        amount_to=np.array([amount], dtype=np.float32),
        resources=snapshot.resources,
        place_names=snapshot.places.names,
    )


@pytest.fixture
def far(world):
    return FarFleet(world, "a fleet", arrived=lambda: None)


def turned(far, agent, amount):
    agent.step()
    outcome = far.collect()
    snapshot = far.read()
    far.submit(resized(snapshot, amount))
    return snapshot, outcome


def test_steps_are_those_of_a_fleet_in_this_process(world, far):
    agent, here = Agent(world, far), world.start()
    far.begin()
    for number in range(5):
        expected_outcome, expected = here.collect(), here.read()
        here.submit(resized(expected, 0.5 + number))
        snapshot, outcome = turned(far, agent, 0.5 + number)
        for name in ("used", "capacity", "pressed", "grant", "in_flight", "card"):
            np.testing.assert_array_equal(getattr(snapshot, name), getattr(expected, name), err_msg=name)
        assert snapshot.roster is world.fleet.roster
        assert (snapshot.time_seconds, far.ticks_left) == (expected.time_seconds, here.ticks_left)
        np.testing.assert_array_equal(outcome.amount_read_back, expected_outcome.amount_read_back)
        np.testing.assert_array_equal(far.used_by_place, here.used_by_place)


def test_nothing_is_computed_before_it_begins(world, far):
    agent = Agent(world, far)
    assert agent.heard == []
    far.begin()
    assert agent.heard == ["position"]
    assert not far.is_ready
    agent.step()
    assert far.is_ready


@pytest.mark.parametrize("when", ["waiting for a step", "a step unread", "a step undecided"])
def test_who_comes_anew_goes_on_with_what_was_decided(world, far, when):
    first = Agent(world, far)
    far.begin()
    turned(far, first, 0.75)
    if when == "waiting for a step":
        second = Agent(world, far)
    else:
        first.step()
        if when == "a step unread":
            second = Agent(world, far)
            snapshot = far.read()
        else:
            snapshot = far.read()
            second = Agent(world, far)
        assert second.heard == [], "nobody knows yet what is decided"
        far.submit(resized(snapshot, 0.75))
    assert second.heard == ["position"]
    before = far.now_seconds()
    second.step()
    snapshot = far.read()
    assert snapshot.time_seconds == before + 300
    assert snapshot.grant[HOST, 0, 0] == np.float32(0.75)


def test_a_step_of_who_was_replaced_or_that_is_not_due_is_refused(world, far):
    first = Agent(world, far)
    far.begin()
    second = Agent(world, far)
    with pytest.raises(Refusal, match="another agent"):
        first.step()
    second.step()
    with pytest.raises(InvalidField, match="is not due"):
        second.step()


def test_a_message_of_another_size_is_refused(world, far):
    agent = Agent(world, far)
    far.begin()
    with pytest.raises(InvalidField, match=r"step\.used"):
        far.step(world_pb2.Step(time_seconds=1, used=b"1234"), agent.hear)
