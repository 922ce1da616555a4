"""This machine through a stream: samples once each, orders only on workloads that are still those."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tidegate.agents.together.background import Background
from tidegate.agents.together.far_server import FarServer, OneServer
from tidegate.drivers.local.clock import SystemClock
from tidegate.model.outcome import Phase
from tidegate.model.plan import Actions, Kind
from tidegate.model.refusals import Refusal
from tidegate.model.resources import Resource
from tidegate.model.roster import HOST
from tidegate.testing import roster_of
from tidegate.wire.frames import Greeting, Sample, ServerRoster

NAME = "server"


def greeting(server=NAME, resources=(Resource.CPU, Resource.MEMORY)):
    return Greeting(
        server=server,
        incarnation="1",
        resources=resources,
        step_seconds=1,
        allocatable=np.array([4.0, 2.0**33]),
        settings_given_back=3,
    )


def who(version, workloads=2):
    return ServerRoster(
        version=version,
        roster=roster_of(workloads, resources=2, ids=np.arange(workloads) + 7),
        settable=np.ones((2, workloads), dtype=np.bool_),
    )


def sample(number, of):
    full = np.ones(of.shape, dtype=np.float32)
    return Sample(
        number=number,
        roster_version=of.version,
        time_nanoseconds=SystemClock().now_nanoseconds(),
        used=full / 2,
        capacity=full * 4,
        grant=full,
        pressed=np.zeros(of.shape, dtype=np.bool_),
    )


@pytest.fixture
def one():
    return OneServer(
        card="up",
        server=NAME,
        step_seconds=1,
        now_nanoseconds=SystemClock().now_nanoseconds,
        arrived=lambda: None,
    )


@pytest.fixture
def far(one):
    with Background() as background:
        background.call(partial(one.greet, greeting()))
        yield FarServer(one, background, end=lambda: one.parted(NAME, 5) or 0)


def shown(one, far, number, of):
    far._background.call(partial(one.sample, NAME, sample(number, of)))


def resize(snapshot):
    row = np.array([1])
    return Actions(
        time_seconds=snapshot.time_seconds,
        expires_seconds=snapshot.time_seconds + 5,
        kind=np.full(1, Kind.RESIZE, dtype=np.uint8),
        workload=row,
        workload_id=snapshot.roster.ids[row],
        resource_row=np.zeros(1, dtype=np.uint8),
        share=np.full(1, HOST, dtype=np.uint8),
        place_from=np.zeros(1, dtype=np.int32),
        place_to=np.zeros(1, dtype=np.int32),
        amount_from=np.ones(1, dtype=np.float32),
        amount_to=np.full(1, 2, dtype=np.float32),
        resources=snapshot.resources,
        place_names=snapshot.places.names,
    )


def test_a_sample_is_read_once_under_the_names_it_has_in_one_process(one, far):
    of = who(1)
    far._background.call(partial(one.roster, NAME, of))
    assert not far.is_ready
    shown(one, far, 1, of)
    assert far.is_ready
    snapshot = far.read()
    assert not far.is_ready
    assert snapshot.roster.ids.tolist() == [7, 8]
    assert far.settable.all()
    assert far.given_back == 3
    far.submit(resize(snapshot))
    orders = far._background.call(partial(one.next_orders, NAME))
    assert orders.workload_id.tolist() == [8]
    assert far.end() == 5
    assert far.end() == 0


@pytest.mark.parametrize("change", ["a workload came", "the agent came anew"])
def test_what_was_decided_on_workloads_of_before_is_refused(one, far, change):
    of = who(1)
    far._background.call(partial(one.roster, NAME, of))
    shown(one, far, 1, of)
    snapshot = far.read()
    if change == "a workload came":
        far._background.call(partial(one.roster, NAME, who(2, workloads=3)))
    else:
        far._background.call(partial(one.greet, greeting()))
    far.submit(resize(snapshot))
    assert far._background.call(partial(one.next_orders, NAME)) is None
    outcome = far.collect()
    assert outcome.phase.tolist() == [Phase.REFUSED]
    assert not far.is_ready


def test_only_the_server_it_is_about_may_speak_and_only_of_the_same_resources(one, far):
    with pytest.raises(Refusal, match="only server 'server'"):
        one.greet(greeting(server="another"))
    with pytest.raises(Refusal, match="other resources"):
        one.greet(greeting(resources=(Resource.CPU, Resource.STORAGE)))


def test_who_waits_for_a_sample_that_does_not_come_may_end(one, far):
    def ended():
        raise KeyboardInterrupt

    far._check = ended
    with pytest.raises(KeyboardInterrupt):
        far.read()


def test_settings_given_back_are_those_of_the_last_agent_and_those_given_back_for_it(one):
    with Background() as background:
        background.call(partial(one.greet, greeting()))
        far = FarServer(one, background, end=lambda: 2)
        background.call(partial(one.parted, NAME, 5))
        background.call(partial(one.greet, greeting()))
        assert far.end() == 2
