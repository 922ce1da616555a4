"""What servers and cards tell each other survives the wire exactly, and nothing that disagrees comes in."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields, replace

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from tidegate.drivers.local.server import LocalServer
from tidegate.model.outcome import Outcome, Phase
from tidegate.model.plan import Resize
from tidegate.model.refusals import Because, InvalidField, Refusal
from tidegate.model.resources import Resource
from tidegate.testing import places_of, roster_of, snapshot_of
from tidegate.wire import frames, orders
from tidegate.wire.card.v1 import telemetry_pb2 as pb
from tidegate.wire.frames import Greeting, ServerRoster
from tidegate.wire.orders import ServerOrders, ServerOutcomes

RESOURCES = (Resource.CPU, Resource.MEMORY)
NAN, INF = float("nan"), float("inf")


def greeting():
    return Greeting(
        server="web-1",
        incarnation="a1",
        resources=RESOURCES,
        step_seconds=1.0,
        allocatable=np.array([8.0, INF]),
        epoch=4,
    )


def a_roster(workloads=3):
    roster = roster_of(
        workloads,
        resources=2,
        ids=np.arange(workloads) * 7 - 5,
        violation_rate=0.02,
        priority=200,
        floor=[[0.5], [2.0**30]],
        offloadable_ratio=0.25,
    )
    settable = np.ones((2, workloads), dtype=np.bool_)
    settable[1, :1] = False
    return ServerRoster(version=6, roster=roster, settable=settable)


def a_snapshot(who, seed=0):
    generator = np.random.default_rng(seed)
    shape = who.shape
    used = generator.random(shape)
    used[0, 0] = NAN
    return snapshot_of(
        used,
        capacity=np.full(shape, 4.0),
        held=np.full(shape, 2.0),
        pressed=generator.random(shape) > 0.5,
        roster=who.roster,
        places=places_of(servers=[[8.0], [2.0**40]]),
        time_seconds=1_704_067_200,
    )


def some_orders():
    return ServerOrders(
        number=2,
        epoch=5,
        roster_version=6,
        batch_number=9,
        ttl_nanoseconds=2_500_000_000,
        workload_id=np.array([-5, 9]),
        resource_row=np.array([0, 1], dtype=np.uint8),
        amount_from=np.array([2.0, INF], dtype=np.float32),
        amount_to=np.array([3.0, 2.0**30], dtype=np.float32),
    )


def same(one, other):
    """Every field equal, arrays by their numbers."""
    for name in one.__slots__:
        left, right = getattr(one, name), getattr(other, name)
        if hasattr(left, "__slots__") and not isinstance(left, np.ndarray):
            same(left, right)
        else:
            np.testing.assert_array_equal(left, right, err_msg=name)


def test_a_greeting_survives():
    same(frames.greeting_record(frames.greeting_message(greeting())), greeting())


@given(st.integers(0, 40))
def test_a_roster_survives(workloads):
    who = a_roster(workloads)
    sent = frames.roster_message(who).SerializeToString()
    same(frames.roster_record(pb.RosterColumns.FromString(sent), 2), who)


@given(st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_a_batch_survives_as_the_server_s_own_snapshot(workloads, seed):
    who = a_roster(max(workloads, 1))
    snapshot = a_snapshot(who, seed)
    sent = frames.batch_message(snapshot, number=3, roster_version=6).SerializeToString()
    sample = frames.sample_record(pb.Batch.FromString(sent), who)
    again = frames.server_snapshot(greeting(), who, sample)
    assert again.time_seconds == snapshot.time_seconds
    for name in ("used", "capacity", "pressed", "grant", "in_flight", "host", "card"):
        np.testing.assert_array_equal(getattr(again, name), getattr(snapshot, name), err_msg=name)
    assert again.places.names == ("web-1",)
    assert again.held.shape == who.shape


def test_orders_and_outcomes_survive():
    given_orders = some_orders()
    same(orders.orders_record(orders.orders_message(given_orders), 2), given_orders)
    outcomes = ServerOutcomes(
        number=2,
        outcome=Outcome(
            workload_id=np.array([-5, 9]),
            resource_row=np.array([0, 1], dtype=np.uint8),
            share=np.zeros(2, dtype=np.uint8),
            phase=np.array([Phase.APPLIED, Phase.TIMED_OUT], dtype=np.uint8),
            amount_read_back=np.array([3.0, NAN], dtype=np.float32),
        ),
    )
    same(orders.outcomes_record(orders.outcomes_message(outcomes), 2), outcomes)


def test_orders_become_actions_on_the_server_s_own_rows():
    actions = orders.actions_of(some_orders(), a_snapshot(a_roster()), expires_seconds=1_704_067_205)
    assert actions.workload.tolist() == [0, 2]
    assert actions[0] == Resize(
        workload_id=-5, resource=Resource.CPU, place="server-1", amount_from=2.0, amount_to=3.0
    )
    assert actions.expires_seconds == 1_704_067_205


def test_orders_about_somebody_who_left_are_stale():
    gone = replace(some_orders(), workload_id=np.array([-5, 77]))
    with pytest.raises(Refusal, match="workload 77") as caught:
        orders.actions_of(gone, a_snapshot(a_roster()), expires_seconds=1)
    assert caught.value.because is Because.STALE


def test_arrays_that_came_in_are_read_only():
    sample = frames.sample_record(
        frames.batch_message(a_snapshot(a_roster()), number=3, roster_version=6), a_roster()
    )
    assert not any(getattr(sample, name).flags.writeable for name in ("used", "capacity", "grant", "pressed"))


def test_a_batch_of_another_roster_is_stale():
    message = frames.batch_message(a_snapshot(a_roster()), number=3, roster_version=5)
    with pytest.raises(Refusal, match="send the roster first") as caught:
        frames.sample_record(message, a_roster())
    assert caught.value.because is Because.STALE


def floats(*numbers):
    return np.array(numbers, dtype="<f4").tobytes()


SIX = (1.0,) * 5
BAD = (
    ("batch", {"used": b""}, "batch.used"),
    ("batch", {"used": floats(*SIX)}, "batch.used"),
    ("batch", {"used": floats(*SIX, -1.0)}, "batch.used"),
    ("batch", {"used": floats(*SIX, INF)}, "batch.used"),
    ("batch", {"capacity": floats(*SIX, -INF)}, "batch.capacity"),
    ("batch", {"grant": floats(*SIX, -0.5)}, "batch.grant"),
    ("batch", {"pressed": b"\0\0\0\0\0\2"}, "batch.pressed"),
    ("batch", {"pressed": b"\0" * 7}, "batch.pressed"),
    ("batch", {"time_nanoseconds": -1}, "batch.time_nanoseconds"),
    ("batch", {"number": -1}, "batch.number"),
    ("roster", {"ids": b"\0" * 24}, "roster"),
    ("roster", {"ids": b"\0" * 23}, "roster.ids"),
    ("roster", {"names": ["a"]}, "roster.violation_rates"),
    ("roster", {"names": ["a"] * 10_001}, "roster.names"),
    ("roster", {"names": ["a", "b", "c" * 1025]}, "roster.names"),
    ("roster", {"violation_rates": floats(0.1, 0.0, 0.1)}, "roster.violation_rates"),
    ("roster", {"violation_rates": floats(0.1, NAN, 0.1)}, "roster.violation_rates"),
    ("roster", {"priorities": b"\1"}, "roster.priorities"),
    ("roster", {"floors": floats(*SIX, NAN)}, "roster.floors"),
    ("roster", {"offloadable_ratios": floats(*SIX, 1.5)}, "roster.offloadable_ratios"),
    ("roster", {"settable": b"\3" * 6}, "roster.settable"),
    ("orders", {"resource_rows": b"\0\2"}, "orders.resource_rows"),
    ("orders", {"resource_rows": b"\0"}, "orders.amounts_from"),
    ("orders", {"amounts_to": floats(1.0, NAN)}, "orders.amounts_to"),
    ("orders", {"amounts_to": floats(1.0, INF)}, "orders.amounts_to"),
    ("orders", {"amounts_to": floats(1.0, -1.0)}, "orders.amounts_to"),
    ("orders", {"workload_ids": b"\0" * 8}, "orders.workload_ids"),
    ("orders", {"resource_rows": b"\0" * 50_001}, "orders.resource_rows"),
    ("orders", {"epoch": -3}, "orders.epoch"),
    ("hello", {"server": ""}, "hello.server"),
    ("hello", {"resources": [1, 0]}, "hello.resources"),
    ("hello", {"resources": [0, 0]}, "hello.resources"),
    ("hello", {"resources": [0, 5]}, "hello.resources"),
    ("hello", {"resources": []}, "hello.resources"),
    ("hello", {"allocatable": [1.0]}, "hello.allocatable"),
    ("hello", {"allocatable": [1.0, NAN]}, "hello.allocatable"),
    ("hello", {"step_nanoseconds": 0}, "hello.step_nanoseconds"),
    ("hello", {"incarnation": ""}, "hello.incarnation"),
    ("hello", {"incarnation": "x" * 65}, "hello.incarnation"),
    ("outcomes", {"phases": b"\5\0"}, "outcomes.phases"),
    ("outcomes", {"refused": "x" * 5000}, "outcomes.refused"),
)
READERS = {
    "hello": lambda: (frames.greeting_message(greeting()), frames.greeting_record),
    "roster": lambda: (frames.roster_message(a_roster()), lambda found: frames.roster_record(found, 2)),
    "batch": lambda: (
        frames.batch_message(a_snapshot(a_roster()), number=3, roster_version=6),
        lambda found: frames.sample_record(found, a_roster()),
    ),
    "orders": lambda: (
        orders.orders_message(some_orders()),
        lambda found: orders.orders_record(found, 2),
    ),
    "outcomes": lambda: (
        pb.Outcomes(
            number=1,
            workload_ids=b"\0" * 16,
            resource_rows=b"\0\0",
            phases=b"\0\0",
            amounts_read_back=floats(1, 1),
        ),
        lambda found: orders.outcomes_record(found, 2),
    ),
}


@pytest.mark.parametrize(("kind", "fields", "field"), BAD)
def test_what_disagrees_or_cannot_be_is_refused_by_its_field(kind, fields, field):
    good, read = READERS[kind]()
    read(good)
    changed = {name.name: value for name, value in good.ListFields()} | fields
    with pytest.raises(InvalidField) as caught:
        read(type(good)(**changed))
    assert caught.value.field == field


@pytest.mark.parametrize("kind", READERS)
@given(data=st.data())
def test_no_bytes_come_in_but_as_a_record_or_a_refusal(kind, data):
    good, read = READERS[kind]()
    sent = bytearray(good.SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    with suppress(DecodeError, Refusal):
        read(type(good).FromString(bytes(sent)))


def test_behaviour_arrives_as_it_was_measured():
    with LocalServer(step_seconds=1) as server:
        server.read()
        snapshot = server.read()
        measured = server.behaviour
        settable = server.settable
    who = frames.ServerRoster(version=1, roster=snapshot.roster, settable=settable)
    sent = frames.batch_message(snapshot, number=1, roster_version=1, behaviour=measured)
    got = frames.sample_record(pb.Batch.FromString(sent.SerializeToString()), who).behaviour
    assert got.roster is who.roster
    for field in fields(measured):
        if field.name in {"roster", "machine"}:
            continue
        expected, found = getattr(measured, field.name), getattr(got, field.name)
        np.testing.assert_array_equal(found, expected, err_msg=field.name)
    for field in fields(measured.machine):
        expected, found = getattr(measured.machine, field.name), getattr(got.machine, field.name)
        np.testing.assert_array_equal(found, expected, err_msg=field.name)


def test_a_batch_without_behaviour_says_nothing_of_it_and_one_of_another_size_is_refused():
    with LocalServer(step_seconds=1) as server:
        snapshot = server.read()
        settable = server.settable
    who = frames.ServerRoster(version=1, roster=snapshot.roster, settable=settable)
    sent = frames.batch_message(snapshot, number=1, roster_version=1)
    assert frames.sample_record(sent, who).behaviour is None
    sent.behaviour.throttled_seconds = b"12345678" * (len(snapshot.roster) + 1)
    with pytest.raises(InvalidField, match=r"batch\.behaviour\.throttled_seconds"):
        frames.sample_record(sent, who)
