"""Applications are watched at a rate; amounts of CPU are tried on them, and always given back."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.agents.device.card import SECOND
from tidegate.agents.device.curve import fitted, least_cpu_cores
from tidegate.agents.device.profiling import Profiling
from tidegate.agents.device.records import CurvePoint, Profile
from tidegate.agents.device.samples import Sample
from tidegate.agents.device.watching import QUEUE_MAX, WATCHERS_MAX, Watchers
from tidegate.model.application import Amounts, Sla
from tidegate.model.refusals import Because, Refusal


def point(cores, seconds, rate=10.0):
    return CurvePoint(cpu_cores=cores, latency_p99_seconds=seconds, requests_per_second=rate)


def test_a_curve_never_rises_and_noise_is_shared():
    points = [point(2, 0.02), point(1, 0.05), point(3, 0.03), point(4, 0.01)]
    assert fitted(points) == [(1, 0.05), (2, 0.025), (3, 0.025), (4, 0.01)]
    assert fitted([point(1, 0.04, rate=30), point(1, 0.08, rate=10)]) == [(1, pytest.approx(0.05))]
    assert fitted([point(1, 4.0), point(6, 5.0), point(6, 1.0)]) == [(1, 4.0), (6, 3.0)]


def test_the_least_cpu_lies_between_the_amounts_measured():
    points = [point(1, 0.05), point(2, 0.03), point(4, 0.01)]
    assert least_cpu_cores(points, 0.03) == 2
    assert least_cpu_cores(points, 0.02) == pytest.approx(3)
    assert least_cpu_cores(points, 0.06) == 1
    assert least_cpu_cores(points, 0.001) is None
    assert least_cpu_cores(points, None) is None
    assert least_cpu_cores([], 0.1) is None


@given(
    st.lists(st.tuples(st.integers(1, 12), st.floats(1e-4, 10), st.floats(1, 1e4)), min_size=1, max_size=12)
)
def test_no_other_curve_that_never_rises_fits_better(measured):
    points = [point(*one) for one in measured]
    curve = dict(fitted(points))
    amounts = sorted(curve)
    values = [curve[amount] for amount in amounts]
    assert amounts == sorted({one[0] for one in measured})
    assert all(after <= before + 1e-12 for before, after in pairwise(values))
    weights = np.array([one.requests_per_second for one in points])
    seconds = np.array([one.latency_p99_seconds for one in points])
    fit = np.array([curve[one.cpu_cores] for one in points])
    loss = float(weights @ (seconds - fit) ** 2)
    # Whatever is convex is best where no step towards any other allowed curve makes it better.
    for limit in seconds:
        other = np.array([max(seconds) if one.cpu_cores < 6 else limit for one in points])
        step = fit + 1e-6 * (other - fit)
        if max(seconds) >= limit:
            assert float(weights @ (seconds - step) ** 2) >= loss - 1e-9 * max(loss, 1e-9)


@pytest.fixture
def watched(stage, spec):
    from dataclasses import replace

    stage.lifecycle.create("web", replace(spec, sla=Sla(latency_p99_max_seconds=0.02)))
    stage.profiling = Profiling(stage.card)
    return stage


def live(stage, seconds):
    """Let time pass, with a program that is faster the more CPU it has."""
    for _ in range(seconds):
        program = stage.runtime.program("web")
        program.latency_p99_seconds = 0.02 / program.held.cpu_cores
        program.requests_per_second = 100
        program.cpu_cores_wanted = 0.5
        stage.clock.advance(1)
        stage.profiling.turn()
        stage.tending.tend()


def test_amounts_are_tried_and_the_curve_is_learned(watched):
    tried = Profile(
        application="web",
        interval_nanoseconds=0,
        tried_cpu_cores=(0.5, 2.0),
        trial_nanoseconds=10 * SECOND,
    )
    watched.profiling.begin(tried)
    live(watched, 4)
    assert watched.held().cpu_cores == 0.5
    live(watched, 30)
    learned = watched.profiling.learned("web")
    assert [(one.cpu_cores, one.latency_p99_seconds) for one in learned.profile.curve] == [
        (0.5, 0.04),
        (2.0, 0.01),
    ]
    assert learned.profile.curve[0].requests_per_second == pytest.approx(100)
    assert learned.cpu_cores_for_sla == pytest.approx(1.5)
    assert learned.profile.trials_left == ()
    assert watched.held().cpu_cores == watched.app().amounts.cpu_cores == 1.0
    assert learned.samples == 33
    assert learned.peak.cpu_cores == pytest.approx(0.5)


def test_a_trial_is_given_back_after_a_kill_and_when_nobody_watches(watched):
    tried = Profile(application="web", interval_nanoseconds=0, tried_cpu_cores=(2.0, 3.0))
    watched.profiling.begin(tried)
    live(watched, 3)
    assert watched.held().cpu_cores == 2.0
    watched.restart()
    watched.profiling = Profiling(watched.card)
    watched.profiling.recover()
    assert watched.held().cpu_cores == watched.app().amounts.cpu_cores == 1.0
    live(watched, 30)
    assert watched.held().cpu_cores == 1.0
    watched.profiling.end("web")
    watched.profiling.begin(tried)
    live(watched, 3)
    watched.profiling.end("web")
    assert watched.held().cpu_cores == 1.0


def test_a_trial_also_ends_where_nobody_comes_back_to_end_it(watched):
    watched.profiling.begin(Profile(application="web", interval_nanoseconds=0, tried_cpu_cores=(2.0,)))
    live(watched, 3)
    watched.restart()
    watched.clock.advance(60)
    watched.tending.tend()
    assert watched.held().cpu_cores == 1.0


def test_a_decision_goes_before_a_trial(watched):
    watched.profiling.begin(Profile(application="web", interval_nanoseconds=0, tried_cpu_cores=(2.0, 3.0)))
    live(watched, 3)
    watched.sizing.adjust("web", Amounts(cpu_cores=1.5))
    live(watched, 40)
    assert watched.held().cpu_cores == 1.5
    assert watched.profiling.learned("web").profile.trials_left == ()


def sample(number, cores=1.0, application="web"):
    held = Amounts(cpu_cores=2.0)
    return Sample(
        application=application,
        time_nanoseconds=number,
        seconds=1.0,
        used=Amounts(cpu_cores=cores),
        held=held,
    )


def test_a_slow_watcher_gets_the_newest_and_is_told_how_many_it_missed():
    watchers = Watchers()
    slow = watchers.join("web")
    watchers.publish(sample(number) for number in range(QUEUE_MAX + 10))
    watchers.publish([sample(0, application="other")])
    taken = watchers.take(slow)
    assert (len(taken), taken[0].missed, taken[-1].time_nanoseconds) == (QUEUE_MAX, 10, QUEUE_MAX + 9)
    watchers.publish([sample(1)])
    assert [one.missed for one in watchers.take(slow)] == [0]


def test_who_asks_for_changes_hears_of_more_than_a_hundredth():
    watchers = Watchers()
    watcher = watchers.join("", known=[sample(0)], on_change=True)
    watchers.publish([sample(1, cores=1.01), sample(2, cores=1.03), sample(3, cores=1.04)])
    assert [one.time_nanoseconds for one in watchers.take(watcher)] == [0, 2]


def test_there_are_not_more_watchers_than_a_card_bears():
    watchers = Watchers()
    joined = [watchers.join("") for _ in range(WATCHERS_MAX)]
    with pytest.raises(Refusal) as raised:
        watchers.join("")
    assert raised.value.because is Because.NO_ROOM
    watchers.leave(joined[0])
    watchers.join("")
