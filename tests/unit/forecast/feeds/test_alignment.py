"""What feeds were at every step, as they were known then, and what a forecast may know of what comes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.forecast.feeds import alignment
from tidegate.forecast.feeds.groups import GROUPS_MAX, OTHERS, bounded, by_server, by_stem
from tidegate.forecast.feeds.known import known_at, known_then
from tidegate.model.feed import Feed, FeedKind
from tidegate.model.panel import Panel

DAY = 86_400
MIDNIGHT = 1_700_006_400

points = st.lists(
    st.tuples(st.integers(0, 40), st.integers(-20, 60), st.integers(-5, 5)), min_size=0, max_size=12
)


def feed_of(drawn, *, holds=15, kind=FeedKind.SERIES, name="f", vms=None):
    valid, issued, values = (np.array(part) for part in zip(*drawn, strict=True)) if drawn else ([], [], [])
    return Feed(
        name=name,
        kind=kind,
        valid_seconds=np.asarray(valid, dtype=np.int64),
        issued_seconds=np.asarray(issued, dtype=np.int64),
        values=np.asarray(values, dtype=np.float32),
        holds_seconds=holds,
        vms=vms,
    )


def measured(values, *, every=900, start=MIDNIGHT, **changed):
    drawn = [(start + every * at, start + every * at, value) for at, value in enumerate(values)]
    return feed_of(drawn, holds=3 * every, **changed)


def panel_of(shares, *, step=900, feeds=()):
    shares = np.asarray(shares, dtype=np.float32)
    return Panel(
        start_seconds=MIDNIGHT,
        step_seconds=step,
        names=tuple(f"vm-{at}" for at in range(shares.shape[1])),
        shares=shares,
        capacity=np.ones(shares.shape[1], dtype=np.float32),
        feeds=tuple(feeds),
    )


@given(points, st.booleans(), st.booleans())
def test_many_nows_at_once_are_as_known_one_by_one(drawn, is_measured, is_early):
    drawn = [(v, v if is_measured else min(i, -1) if is_early else i, x) for v, i, x in drawn]
    feed = feed_of(drawn)
    nows = np.array([0, 7, 20, 45])
    at = nows[:, None] + np.array([-12, 0, 3, 30])
    wanted = np.stack([feed.as_known(int(now), row) for now, row in zip(nows, at, strict=True)])
    np.testing.assert_array_equal(known_at(feed, nows, at), wanted)


@given(points)
def test_known_then_is_as_known_at_each_time(drawn):
    feed = feed_of(drawn)
    times = np.arange(-5, 70, 3)
    wanted = [feed.as_known(int(time), np.array([time]))[0] for time in times]
    np.testing.assert_array_equal(known_then(feed, times), np.array(wanted, dtype=np.float32))


def test_history_and_what_comes():
    panel = panel_of(np.zeros((4, 1)))
    values = measured([1, 2, 3, 4, 5])
    forecast = replace(values, issued_seconds=np.zeros(5, dtype=np.int64))
    assert alignment.history([values], panel)[:, 0].tolist() == [2, 3, 4, 5]
    coming = alignment.coming([values, forecast], panel.until(2), 2)
    assert coming.tolist() == [[3, 3], [3, 4]]
    assert alignment.history([], panel).shape == (4, 0)
    assert alignment.coming([], panel, 2).shape == (2, 0)


def test_a_feed_that_stopped_is_unknown_and_has_an_age():
    panel = panel_of(np.zeros((8, 1)))
    feed = measured([1, 2])
    known = alignment.history([feed], panel)[:, 0]
    assert np.isnan(known).tolist() == [False, False, False, True, True, True, True, True]
    assert alignment.age_seconds(feed, panel.end_seconds) == 7 * 900
    assert alignment.age_seconds(feed, MIDNIGHT - 1) is None


def told(feed, panel, *, origins, leads):
    shape = (len(origins), len(leads), len(panel.names))
    (named,) = alignment.by_name([feed])
    return alignment.features(
        named,
        panel,
        origins=np.array(origins),
        leads=np.array(leads),
        rest_day=np.full(shape, 0.5, np.float32),
    )


def test_a_lag_looks_back_from_the_step_and_no_further_than_now():
    random = np.random.default_rng(0)
    values = random.normal(size=200)
    panel = panel_of(np.zeros((150, 1)))
    found = told(measured(values), panel, origins=[150], leads=[1, 8]).values[0, :, 0]
    spread = values[1:151].std()
    half_hour = alignment.LAGS_SECONDS.index(1_800)
    column = 1 + half_hour
    # Lead 1 is 15 minutes: its middle less 30 minutes is the sample before last; lead 8 is not known yet.
    assert found[0, column] * spread == pytest.approx(values[148] - values[150], abs=1e-3)
    assert found[1, column] == 0


def test_scales_never_look_ahead():
    random = np.random.default_rng(1)
    values = random.normal(size=400)
    later = np.where(np.arange(400) > 200, 1_000 * values, values)
    panel = panel_of(np.zeros((300, 1)))
    first, second = (
        told(measured(each), panel, origins=[200, 250], leads=[1, 4]) for each in (values, later)
    )
    np.testing.assert_array_equal(first.values[0], second.values[0])
    assert (first.values[1] != second.values[1]).any()


def test_a_feed_that_never_moved_is_unknown():
    found = told(measured([7.0] * 200), panel_of(np.zeros((150, 2))), origins=[100], leads=[1])
    assert not found.known.any()


def test_events_have_a_day_before_and_after():
    begin = MIDNIGHT + 3 * DAY
    drawn = [(MIDNIGHT - 9 * DAY, 0, 0), (begin, 0, 1), (begin + DAY, 0, 0)]
    feed = feed_of(drawn, holds=366 * DAY, kind=FeedKind.EVENT)
    panel = panel_of(np.zeros((96, 2)))
    leads = [1, 96, 97, 192, 193, 289]
    found = told(feed, panel, origins=[96], leads=leads).values[0, :, 0]
    inside, rest, begun, before, _, after = (found[:, at].tolist() for at in range(6))
    assert inside == [0, 0, 0, 0, 1, 0]
    assert rest == [0, 0, 0, 0, 0.5, 0]
    assert begun == inside  # none is on now
    assert before == [0, 0, 1, 1, 0, 0]
    assert after == [0, 0, 0, 0, 0, 1]


def test_an_event_that_is_on_now_tells_of_its_end():
    drawn = [(MIDNIGHT - 9 * DAY, 0, 0), (MIDNIGHT + DAY, 0, 1), (MIDNIGHT + DAY + 7_200, 0, 0)]
    feed = feed_of(drawn, holds=366 * DAY, kind=FeedKind.EVENT)
    found = told(feed, panel_of(np.zeros((100, 2))), origins=[92, 100], leads=[2, 4, 6, 13]).values[:, :, 0]
    assert found[:, :, 0].tolist() == [[0, 0, 1, 0], [1, 1, 0, 0]]
    assert found[:, :, 2].tolist() == [[0, 0, 1, 0], [0, 0, -1, -1]]


def test_each_vm_sees_its_own_metric():
    mine = measured(np.arange(200.0), name="app_x", vms=("vm-1",))
    found = told(mine, panel_of(np.zeros((150, 3))), origins=[150], leads=[1])
    assert found.known[0, 0].tolist() == [False, True, False]
    assert (found.values[0, 0, 0] == 0).all()


@pytest.mark.parametrize("first_day", range(7))
def test_a_day_of_rest_is_the_last_sundays_before_the_origin(first_day):
    # 2023-11-15, a Wednesday, is the first day: Sundays are days 4, 11, 18 from it.
    days = np.repeat(np.arange(28.0), 24)[:, None]
    panel = panel_of(days, step=3_600)
    origin = (14 + first_day) * 24 + 5
    leads = np.arange(1, 49)
    found = alignment.rest_days(panel, origins=np.array([origin]), leads=leads, weeks=1)[0, :, 0]
    wanted = []
    for lead in leads:
        row = origin + lead - 1
        sundays = [at for at in range(min(row, origin)) if at % 24 == row % 24 and (at // 24) % 7 == 4]
        wanted.append(float(days[sundays[-1], 0]))
    assert found.tolist() == wanted


def test_groups_are_bounded_and_the_smallest_are_one():
    labels = ["big"] * 3 + [f"g{at}" for at in range(400)]
    found = bounded(labels)
    assert len(set(found)) == GROUPS_MAX
    assert found[0] == "big"
    assert found.count(OTHERS) == 400 - (GROUPS_MAX - 2)


def test_groups_by_server_or_by_the_start_of_the_name():
    panel = replace(panel_of(np.zeros((1, 3))), names=("web-01", "web-02", "db"))
    assert by_stem(panel) == ("web", "web", "db")
    assert by_server(panel) == ("all",) * 3
    assert by_server(replace(panel, groups=("a", "b", "a"))) == ("a", "b", "a")
