"""Specs survive the wire, and each of their fields is checked under its own name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.application import Amounts, ApplicationSpec, ApplicationState, Restart, Running, Sla
from tidegate.model.outcome import Phase
from tidegate.model.refusals import InvalidField
from tidegate.wire import applications as codec
from tidegate.wire.card.v1 import amounts_pb2, application_pb2

words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
millis = st.integers(2_000, 5_000).map(lambda count: count / 1000)
SPECS = st.builds(
    ApplicationSpec,
    command=st.lists(words.filter(bool), min_size=1, max_size=5).map(tuple),
    environment=st.dictionaries(st.from_regex(codec.VARIABLE, fullmatch=True), words, max_size=3),
    working_folder=st.just("") | words.map("/".__add__),
    ports=st.lists(st.integers(1, 65535), max_size=4, unique=True).map(tuple),
    amounts=st.builds(Amounts, cpu_cores=millis, memory_bytes=st.integers(10, 20)),
    floor=st.builds(Amounts, cpu_cores=st.just(1.0), memory_bytes=st.none() | st.just(10)),
    ceiling=st.builds(Amounts, cpu_cores=st.just(5.0), memory_bytes=st.none() | st.just(20)),
    sla=st.builds(
        Sla,
        violation_rate=st.floats(0.001, 0.5),
        latency_p99_max_seconds=st.none() | st.integers(1, 10_000).map(lambda count: count / 1000),
        priority=st.integers(0, 255),
    ),
    hands_off=st.booleans(),
    server=st.just("") | st.just("web-1"),
    state_bytes=st.integers(0, codec.STATE_BYTES_MAX),
    restart=st.sampled_from(Restart),
)


@given(SPECS)
def test_a_spec_survives(spec):
    sent = codec.spec_message(spec).SerializeToString()
    assert codec.spec_record(application_pb2.ApplicationSpec.FromString(sent)) == spec


BAD = (
    ({"command": []}, "application.spec"),
    ({"command": ["a\0b"]}, "application.spec.command"),
    ({"command": ["x"] * 257}, "application.spec.command"),
    ({"command": ["x" * 16_385]}, "application.spec.command"),
    ({"environment": {"A=B": "c"}}, "application.spec.environment"),
    ({"environment": {f"V{number}": "" for number in range(257)}}, "application.spec.environment"),
    ({"working_folder": "here"}, "application.spec.working_folder"),
    ({"ports": [70_000]}, "application.spec"),
    ({"ports": [-1]}, "application.spec"),
    ({"ports": [80, 80]}, "application.spec.ports"),
    ({"ports": range(1, 18)}, "application.spec.ports"),
    ({"amounts": amounts_pb2.Amounts(cpu_millis=-1)}, "application.spec.amounts.cpu_millis"),
    ({"floor": amounts_pb2.Amounts(memory_bytes=2**60)}, "application.spec.floor.memory_bytes"),
    (
        {"amounts": amounts_pb2.Amounts(gpu_millis=3), "ceiling": amounts_pb2.Amounts(gpu_millis=2)},
        "application.spec",
    ),
    ({"sla": application_pb2.Sla(violation_rate=0.7)}, "application.spec.sla"),
    ({"sla": application_pb2.Sla(violation_rate=float("nan"))}, "application.spec.sla"),
    ({"sla": application_pb2.Sla(latency_p99_max_nanoseconds=0)}, "application.spec.sla"),
    (
        {"sla": application_pb2.Sla(latency_p99_max_nanoseconds=-5)},
        "application.spec.sla.latency_p99_max_nanoseconds",
    ),
    ({"sla": application_pb2.Sla(priority=256)}, "application.spec.sla"),
    ({"server": "../etc"}, "application.spec.server"),
    ({"state_bytes": -1}, "application.spec.state_bytes"),
    ({"restart": 7}, "application.spec.restart"),
)


@pytest.mark.parametrize(("fields", "field"), BAD)
def test_a_field_that_cannot_be_is_refused_by_its_name(fields, field):
    message = application_pb2.ApplicationSpec(**{"command": ["true"]} | fields)
    with pytest.raises(InvalidField) as caught:
        codec.spec_record(message)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


def test_an_sla_nobody_agreed_on_is_one_sample_in_a_hundred():
    assert codec.spec_record(application_pb2.ApplicationSpec(command=["true"])).sla == Sla()


def test_an_update_changes_what_its_mask_names_and_no_more():
    spec = ApplicationSpec(command=("true",), floor=Amounts(cpu_cores=1.0), state_bytes=5)
    wanted = application_pb2.ApplicationSpec(
        command=["false"], ceiling=amounts_pb2.Amounts(cpu_millis=2000), state_bytes=9
    )
    changed = codec.updated(spec, wanted, ["spec.ceiling"])
    assert changed.ceiling == Amounts(cpu_cores=2.0)
    assert (changed.command, changed.floor, changed.state_bytes) == (("true",), Amounts(cpu_cores=1.0), 5)


@pytest.mark.parametrize("paths", [[], ["spec.command"], ["status"], ["spec.floor"] * 17])
def test_a_mask_that_names_nothing_or_too_much_is_refused(paths):
    with pytest.raises(InvalidField, match="update_mask"):
        codec.updated(ApplicationSpec(command=("true",)), application_pb2.ApplicationSpec(), paths)


def test_an_update_that_would_cross_floor_and_ceiling_is_refused():
    spec = ApplicationSpec(command=("true",), floor=Amounts(cpu_cores=1.0))
    low = application_pb2.ApplicationSpec(ceiling=amounts_pb2.Amounts(cpu_millis=500))
    with pytest.raises(InvalidField, match="above the ceiling"):
        codec.updated(spec, low, ["spec.ceiling"])


def test_states_and_phases_survive_and_unknown_ones_are_refused():
    assert [codec.state_record(codec.state_message(state)) for state in ApplicationState] == list(
        ApplicationState
    )
    assert [codec.phase_record(codec.phase_message(phase)) for phase in Phase] == list(Phase)
    assert codec.start_as(0) is ApplicationState.RUNNING
    assert codec.start_as(3) is ApplicationState.STANDBY
    for bad in (codec.state_record, codec.phase_record, codec.start_as, codec.epoch):
        for number in (-1, 2**62 + 1) if bad is codec.epoch else (99, 4 + 5):
            with pytest.raises(InvalidField):
                bad(number)


def test_what_was_found_running_is_told():
    running = Running(name="a", epoch=3, standby=True, processes=2, held=Amounts(cpu_cores=0.5))
    status = codec.running_status(running)
    assert (status.state, status.epoch, status.processes, status.held.cpu_millis) == (3, 3, 2, 500)
