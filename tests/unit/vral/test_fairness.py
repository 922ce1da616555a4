"""Rates hold and nobody starves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidegate.vral.fairness import FairQueue, TokenBucket


@given(st.lists(st.floats(0, 2), min_size=1, max_size=200))
def test_no_more_comes_through_than_the_rate_and_the_burst(pauses):
    bucket, now = TokenBucket(per_second=10, burst=5, now_seconds=0.0), 0.0
    for through, pause in enumerate(pauses, 1):
        now += pause + bucket.take(now + pause)
        assert through <= 5 + 10 * now + 1e-6


def test_who_is_within_the_rate_never_waits():
    bucket = TokenBucket(per_second=10, burst=5, now_seconds=0.0)
    assert all(bucket.take(at / 10) == 0.0 for at in range(100))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), max_size=60))
def test_they_take_turns_each_in_its_own_order(puts):
    queue, waiting = FairQueue(waiting_max=8), {}
    for name, item in puts:
        if queue.put(name, item):
            waiting.setdefault(name, []).append(item)
        else:
            assert len(waiting[name]) == 8
    served = []
    while (found := queue.pop()) is not None:
        served.append(found)
    assert {name: [item for who, item in served if who == name] for name in waiting} == waiting
    for at, (name, _) in enumerate(served):
        # Between two turns of one nobody else has two.
        after = [who for who, _ in served[at + 1 :]]
        if name in after:
            between = after[: after.index(name)]
            assert len(between) == len(set(between))


def test_who_waits_is_served_after_one_turn_of_each_other():
    queue = FairQueue(waiting_max=100)
    for at in range(100):
        queue.put("flood", at)
    queue.put("quiet", "hello")
    assert [queue.pop()[0] for _ in range(2)] == ["flood", "quiet"]


def test_who_is_gone_wants_nothing_more():
    queue = FairQueue(waiting_max=8)
    queue.put("a", 1)
    queue.drop("a")
    assert queue.pop() is None
    assert len(queue) == 0
