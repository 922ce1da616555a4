"""The runtime in memory: what tests of a device lean on."""

from __future__ import annotations

import pytest

from tidegate.model.application import Amounts, ApplicationSpec
from tidegate.model.errors import InputError, TidegateError
from tidegate.testing import ManualClock
from tidegate.testing.fake_runtime import CHUNK_BYTES, FakeRuntime

SPEC = ApplicationSpec(
    command=("serve",), hands_off=True, amounts=Amounts(cpu_cores=0.5, memory_bytes=1 << 26)
)


@pytest.fixture
def clock():
    return ManualClock(1000)


@pytest.fixture
def runtime(clock):
    return FakeRuntime(clock)


def test_what_is_used_grows_with_the_clock_up_to_what_is_held(runtime, clock):
    runtime.start("web", SPEC, epoch=3, standby=False)
    runtime.program("web").cpu_cores_wanted = 2.0
    clock.advance(10)
    (used,) = runtime.usage()
    assert (used.time_seconds, used.cpu_seconds, used.throttled_seconds) == (1010, 5.0, 10.0)
    runtime.adjust("web", Amounts(cpu_cores=4.0))
    clock.advance(10)
    (used,) = runtime.usage()
    assert (used.cpu_seconds, used.throttled_seconds) == (25.0, 10.0)


def test_memory_in_use_is_not_taken_away(runtime):
    runtime.start("web", SPEC, epoch=0, standby=False)
    runtime.program("web").memory_bytes = 5 << 20
    assert runtime.adjust("web", Amounts(memory_bytes=1 << 20)).memory_bytes == 1 << 26
    assert runtime.adjust("web", Amounts(memory_bytes=6 << 20)).memory_bytes == 6 << 20
    assert runtime.found()[0].held == Amounts(cpu_cores=0.5, memory_bytes=6 << 20)


def test_a_state_goes_from_one_card_to_another(runtime, clock):
    other = FakeRuntime(clock)
    runtime.start("kv", SPEC, epoch=0, standby=False)
    other.start("kv", SPEC, epoch=1, standby=True)
    assert not other.program("kv").serving
    runtime.program("kv").state = state = bytes(range(256)) * 1024
    chunks = list(runtime.export_state("kv", ["10.0.0.2:7000"]))
    assert max(map(len, chunks)) == CHUNK_BYTES
    assert (runtime.program("kv").serving, runtime.program("kv").moved_to) == (False, ("10.0.0.2:7000",))
    other.import_state("kv", chunks, state_bytes=len(state))
    assert (other.program("kv").serving, other.program("kv").state) == (True, state)


def test_a_state_of_another_length_changes_nothing(runtime):
    runtime.start("kv", SPEC, epoch=1, standby=True)
    with pytest.raises(TidegateError, match="has 3 bytes, not 4"):
        runtime.import_state("kv", [b"abc"], state_bytes=4)
    assert runtime.found()[0].standby


def test_a_failure_comes_before_or_after_it_was_done_and_only_as_often_as_ordered(runtime):
    runtime.fail("start", OSError("no"), times=2)
    for _ in range(2):
        with pytest.raises(OSError, match="no"):
            runtime.start("web", SPEC, epoch=0, standby=False)
    assert runtime.found() == []
    runtime.fail("start", KeyboardInterrupt(), done=True)
    with pytest.raises(KeyboardInterrupt):
        runtime.start("web", SPEC, epoch=0, standby=False)
    assert [running.name for running in runtime.found()] == ["web"]
    runtime.program("web").state = b"1234"
    runtime.fail("export_state", done=True)
    taken = []
    with pytest.raises(TidegateError, match="as the test ordered"):
        taken.extend(runtime.export_state("web", []))
    assert not runtime.program("web").serving


def test_who_ended_is_gone_and_who_does_not_listen_is_killed(runtime):
    runtime.start("a", SPEC, epoch=0, standby=False)
    runtime.start("b", SPEC, epoch=0, standby=False)
    runtime.end("a")
    runtime.program("b").ignores_asking = True
    runtime.stop("a", grace_seconds=1.0)
    runtime.stop("b", grace_seconds=1.0)
    assert (runtime.found(), runtime.killed) == ([], ["b"])
    with pytest.raises(InputError, match="no application a runs here"):
        runtime.adjust("a", Amounts())
    assert ("stop", "a") in runtime.calls


def test_it_limits_only_what_it_was_told_it_can(clock):
    runtime = FakeRuntime(clock, limits=["cpu_cores"])
    assert runtime.start("web", SPEC, epoch=0, standby=False).held == Amounts(cpu_cores=0.5)
