"""Feeds that help are found, others are off, none sees the future, and a dead one breaks nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegate.forecast.feeds import WithFeeds
from tidegate.model.errors import InputError
from tidegate.model.feed import FeedKind

DAY = 86_400
STEP = 1_800
DAYS = 56
SERIES = 12
PER_DAY = DAY // STEP
EFFECT = {"weather": slice(0, 3), "launch": slice(3, 6), "app_queue_length": slice(6, 9)}
"""Which series follow what; the last three follow nothing."""


def weather(random, days):
    """Degrees: a daily wave, and days that are warmer or colder for a while."""
    slow = np.zeros(days)
    for day in range(1, days):
        slow[day] = 0.6 * slow[day - 1] + random.normal()
    hours = np.arange(days * 24)
    return 15 + 5 * np.sin(2 * np.pi * hours / 24) + 4 * np.interp(hours / 24, np.arange(days) + 0.5, slow)


def useless(made, random, days):
    """Four that say nothing."""
    steps = days * PER_DAY
    real = weather(random, days).reshape(-1, 24)
    waves = np.sin(2 * np.pi * np.arange(steps) / PER_DAY + 1)
    return (
        made.measured("walk", np.cumsum(random.normal(size=steps)), every=STEP),
        made.measured("white", random.normal(size=steps), every=STEP),
        made.measured("sine", waves, every=STEP),
        made.measured("shuffled", random.permutation(real).ravel(), every=3_600, kind=FeedKind.WEATHER),
    )


@pytest.fixture(scope="module")
def world(made):
    """A fleet of which a part follows the weather, a part launches, a part its queues, and a part nothing."""
    random = np.random.default_rng(7)
    days = DAYS + 3
    panel = made.fleet(series=SERIES, days=DAYS, step_seconds=STEP, seed=7)
    shares = panel.shares.copy()
    at = np.arange(panel.steps)
    degrees = weather(random, days)
    issued = made.START + 3_600 * np.arange(degrees.size) - 2 * DAY
    heat = (np.interp(at * STEP / 3_600, np.arange(degrees.size), degrees) - 15) / 6
    shares[:, EFFECT["weather"]] += (0.06 * heat)[:, None]
    launches = random.choice(np.arange(1, DAYS + 1), 12, replace=False)
    shares[np.isin(at // PER_DAY, launches), EFFECT["launch"]] += 0.12
    feeds = [
        *useless(made, random, days),
        made.measured("weather", degrees, every=3_600, kind=FeedKind.WEATHER, issued=issued),
        made.days_of("launch", launches),
    ]
    for series in range(SERIES)[EFFECT["app_queue_length"]]:
        queue = np.convolve(random.normal(size=panel.steps + 4), np.ones(3) / np.sqrt(3), "same")
        shares[:, series] += 0.06 * queue[: panel.steps]
        # What is measured as a step begins is what the step after it uses: half an hour later.
        feeds.append(
            made.measured(
                "app_queue_length",
                queue[1:],
                every=STEP,
                kind=FeedKind.APPLICATION,
                vms=(panel.names[series],),
            )
        )
    return replace(panel, shares=np.clip(shares, 0, 1), feeds=tuple(feeds))


@pytest.fixture(scope="module")
def fitted(made, world):
    model = WithFeeds(made.TimeOfDay(), seed=1, horizon_seconds=DAY)
    model.fit(world)
    return model


def on(model, feed):
    """The series (each a group of its own) a feed is on for."""
    return {int(gain.group.removeprefix("server-")) for gain in model.gains if gain.feed == feed and gain.on}


@pytest.mark.parametrize("feed", EFFECT)
def test_real_effects_are_found_where_they_are(fitted, feed):
    wanted = set(range(SERIES)[EFFECT[feed]])
    assert on(fitted, feed) >= wanted
    assert len(on(fitted, feed) - wanted) <= 1


@pytest.mark.parametrize("feed", ["walk", "white", "sine", "shuffled"])
def test_useless_feeds_are_off(fitted, feed):
    assert len(on(fitted, feed)) == 0


def test_every_feed_and_group_has_a_record(fitted):
    assert len(fitted.gains) == 7 * SERIES
    for gain in fitted.gains:
        assert gain.low <= gain.gain_ratio <= gain.high
        assert not gain.on or gain.low > 0


def test_useless_feeds_alone_are_off_whatever_the_seed(made):
    found = []
    for seed in range(3):
        random = np.random.default_rng(seed)
        panel = made.fleet(series=10, days=28, step_seconds=STEP, seed=seed)
        feeds = (*useless(made, random, 30), made.days_of("days", random.choice(28, 6, replace=False)))
        model = WithFeeds(made.TimeOfDay(), seed=seed)
        model.fit(replace(panel, feeds=feeds))
        found += [gain.on for gain in model.gains]
    assert len(found) == 150
    assert np.mean(found) < 0.05


def test_days_are_not_credited_with_what_any_day_would_have_gained(made):
    """A day of rest corrects a model that follows its last error too far, on days of events and on others."""
    found = []
    for seed in range(2):
        panel = made.fleet(series=32, days=14, step_seconds=900, seed=seed)
        days = np.random.default_rng(seed).choice(np.arange(1, 14), 5, replace=False)
        groups = tuple(f"server-{at % 4}" for at in range(32))
        model = WithFeeds(made.TimeOfDay(), seed=seed)
        model.fit(replace(panel, groups=groups, feeds=(made.days_of("days", days),)))
        found += [gain.on for gain in model.gains]
    assert sum(found) <= 1


def test_the_paths_get_better_for_it(made, fitted, world):
    plain, random = made.TimeOfDay(), np.random.default_rng(3)
    losses = []
    for days in (40, 45, 50, 54):
        now = world.until(days * PER_DAY + int(random.integers(PER_DAY)))
        came = world.shares[now.steps : now.steps + PER_DAY]
        losses.append(
            [np.abs(model.paths(now, PER_DAY).quantiles[4] - came).mean(axis=0) for model in (plain, fitted)]
        )
    without, with_them = np.mean(losses, axis=0)
    assert (with_them[:3] < 0.85 * without[:3]).all()
    assert (with_them[3:6] < 0.95 * without[3:6]).all()
    assert (with_them[6:9] < without[6:9]).all()
    np.testing.assert_array_equal(with_them[9:], without[9:])


def test_paths_are_paths(fitted, world):
    paths = fitted.paths(world, PER_DAY)
    assert paths.quantiles.shape == (11, PER_DAY, SERIES)
    assert (np.diff(paths.quantiles, axis=0) >= 0).all()
    assert paths.quantiles.min() >= 0
    assert paths.quantiles.max() <= 1


@pytest.mark.parametrize("how", ["gone", "stopped", "empty", "nan"])
def test_a_dead_feed_costs_its_own_shift_and_nothing_else(made, fitted, world, how):
    def killed(feed):
        if how == "nan":
            return replace(feed, values=np.full_like(feed.values, np.nan))
        kept = feed.valid_seconds < (made.START + DAY if how == "stopped" else 0)
        return replace(
            feed,
            valid_seconds=feed.valid_seconds[kept],
            issued_seconds=feed.issued_seconds[kept],
            values=feed.values[kept],
        )

    rest = tuple(feed for feed in world.feeds if feed.name != "weather")
    dead = () if how == "gone" else tuple(killed(feed) for feed in world.feeds if feed.name == "weather")
    found = fitted.paths(replace(world, feeds=rest + dead), PER_DAY).quantiles
    np.testing.assert_array_equal(found[:, :, :3], made.TimeOfDay().paths(world, PER_DAY).quantiles[:, :, :3])
    np.testing.assert_array_equal(found[:, :, 3:9], fitted.paths(world, PER_DAY).quantiles[:, :, 3:9])


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), steps=st.integers(DAYS * PER_DAY // 2, DAYS * PER_DAY))
def test_what_is_issued_later_changes_nothing(fitted, world, seed, steps):
    random = np.random.default_rng(seed)
    now = world.until(steps)

    def changed(feed):
        later = feed.issued_seconds > now.end_seconds
        noise = random.normal(0, 100, size=feed.values.size).astype(np.float32)
        moved = np.where(later, feed.valid_seconds + random.integers(-DAY, DAY), feed.valid_seconds)
        return replace(feed, values=np.where(later, noise, feed.values), valid_seconds=moved)

    other = replace(now, feeds=tuple(changed(feed) for feed in now.feeds))
    np.testing.assert_array_equal(
        fitted.paths(other, PER_DAY).quantiles, fitted.paths(now, PER_DAY).quantiles
    )


def test_what_is_issued_later_is_not_learned_either(made, world):
    now = world.until(30 * PER_DAY).of(np.array([0, 4, 7, 10]))

    def changed(feed):
        later = feed.issued_seconds > now.end_seconds
        return replace(feed, values=np.where(later, np.float32(1e6), feed.values))

    found = []
    for panel in (now, replace(now, feeds=tuple(changed(feed) for feed in now.feeds))):
        model = WithFeeds(made.TimeOfDay(), seed=1, horizon_seconds=DAY)
        model.fit(panel)
        found.append((model.gains, model.paths(panel, 12).quantiles.tolist()))
    assert found[0] == found[1]


def test_the_same_seed_says_the_same(made, world, fitted):
    again = WithFeeds(made.TimeOfDay(), seed=1, horizon_seconds=DAY)
    again.fit(world)
    assert again.gains == fitted.gains


def test_other_series_and_no_feeds_are_left_to_the_model(made, fitted, world):
    strangers = replace(world, names=tuple(f"new-{at}" for at in range(SERIES)))
    plain = made.TimeOfDay().paths(world, 6).quantiles
    np.testing.assert_array_equal(fitted.paths(strangers, 6).quantiles, plain)
    np.testing.assert_array_equal(fitted.paths(replace(world, feeds=()), 6).quantiles, plain)
    some = fitted.paths(world.of(np.array([4, 0])), 6).quantiles
    np.testing.assert_allclose(some, fitted.paths(world, 6).quantiles[:, :, [4, 0]], atol=1e-6)


@pytest.mark.parametrize("what", ["short", "one series", "missing", "constant", "no series"])
def test_odd_panels_are_answered(made, world, what):
    panel = world.until(30 * PER_DAY).of(np.arange(4))
    if what == "short":
        panel = panel.until(20)
    elif what == "one series":
        panel = panel.of(np.array([2]))
    elif what == "missing":
        panel = replace(panel, shares=np.where(np.arange(4) < 2, np.nan, panel.shares).astype(np.float32))
    elif what == "constant":
        panel = replace(panel, shares=np.full_like(panel.shares, 0.3))
    else:
        panel = panel.of(np.array([], dtype=np.intp))
    model = WithFeeds(made.TimeOfDay(), seed=0)
    model.fit(panel)
    paths = model.paths(panel, 4)
    assert paths.quantiles.shape == (11, 4, len(panel.names))
    assert not np.isnan(paths.quantiles).any()


@pytest.mark.parametrize(("step", "late_seconds"), [(60, 1_800), (300, 1_800), (3_600, 3_600)])
def test_other_steps(made, step, late_seconds):
    panel = made.fleet(series=2, days=10 if step == 60 else 21, step_seconds=step, seed=4)
    late = late_seconds // step
    width = max(1, 1_800 // step)
    queue = np.convolve(
        np.random.default_rng(5).normal(size=panel.steps + 9), np.ones(width) / width**0.5, "same"
    )
    shares = panel.shares.copy()
    shares[late:] += (0.1 * queue[: panel.steps - late, None]).astype(np.float32)
    # The queue of a step is measured as the step ends, and felt so much later.
    feed = made.measured("queue", queue, every=step, start=made.START + step)
    model = WithFeeds(made.TimeOfDay(), seed=0)
    model.fit(replace(panel, shares=np.clip(shares, 0, 1), feeds=(feed,)))
    assert all(gain.on for gain in model.gains)


def test_the_model_is_fitted_on_what_lies_before_the_first_origin_and_then_on_all(made, world):
    base = made.TimeOfDay()
    WithFeeds(base, horizon_seconds=DAY).fit(world)
    assert base.fits == [14 * PER_DAY, DAYS * PER_DAY]


def test_what_was_learned_can_be_stored(made, world, fitted):
    other = WithFeeds(made.TimeOfDay())
    other.restore({name: array.copy() for name, array in fitted.state().items()})
    assert other.gains == fitted.gains
    np.testing.assert_array_equal(other.paths(world, 12).quantiles, fitted.paths(world, 12).quantiles)
    fresh = WithFeeds(made.TimeOfDay())
    fresh.restore(WithFeeds(made.TimeOfDay()).state())
    assert fresh.gains == ()


@pytest.mark.parametrize("lost", ["feeds.told", "feeds.scale", "feeds.0.on"])
def test_a_state_that_lacks_something_is_refused_and_changes_nothing(made, fitted, lost):
    state = {name: array for name, array in fitted.state().items() if name != lost}
    other = WithFeeds(made.TimeOfDay())
    with pytest.raises(InputError, match=f"lacks '{lost.removeprefix('feeds.')}'"):
        other.restore(state)
    assert other.gains == ()


def test_a_state_of_other_bytes_is_refused(made, fitted):
    with pytest.raises(InputError, match="can't be read"):
        WithFeeds(made.TimeOfDay()).restore(
            dict(fitted.state()) | {"feeds.told": np.arange(9, dtype=np.uint8)}
        )
