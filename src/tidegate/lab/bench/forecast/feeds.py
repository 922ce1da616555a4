"""Are feeds that tell nothing left off, and those that tell something found? On a trace, with both injected.

Every feed is made here. Some move the demand of a third of the groups, by half of each series' own spread:
these groups should switch them on. All other pairs of a feed and a group should stay off. What else moves
the trace's demand is the trace's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tidegate.app.path_models import path_model
from tidegate.forecast.feeds import WithFeeds
from tidegate.lab.bench.forecast.asked import Answer
from tidegate.lab.bench.result import row
from tidegate.lab.panels import panel_of
from tidegate.model.feed import Feed, FeedKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tidegate.forecast.feeds import FeedGain
    from tidegate.lab.bench.forecast.asked import Asked
    from tidegate.model.panel import Panel
    from tidegate.model.trace import Trace

SERIES_MAX: Final = 120
SERIES_PER_GROUP: Final = 5
PRESENT_MIN: Final = 0.5
"""Series with fewer samples are not asked."""
BEHIND: Final = "profile"
"""The model that feeds are put on top of: quick, and as good as any for this question."""
EVERY_SECONDS: Final = 900
"""Between two values of a feed."""
EVENT_SECONDS: Final = 6 * 3_600
EVENT_CHANCE: Final = 0.2
WEATHER_SECONDS: Final = 6 * 3_600
"""In which what a weather-like feed says fades from its own memory."""
SERIES_SECONDS: Final = 2 * 3_600
AHEAD_SECONDS: Final = 2_400
"""How long before demand the leading feed moves; it is known when it moves, and not before."""
KNOWN_SECONDS: Final = 3 * 86_400
"""How long before they hold weather and events are known."""
DAY_SECONDS: Final = 86_400
HORIZONS_SECONDS: Final = {
    FeedKind.EVENT: DAY_SECONDS,
    FeedKind.WEATHER: DAY_SECONDS,
    FeedKind.SERIES: 3_600,
    FeedKind.APPLICATION: 3_600,
}
"""How far ahead each kind is asked: what is announced a day, for an hour ahead a model that follows its last
error has seen most of it; what is measured as far as it leads, and no further."""
EFFECT_RATIO: Final = 0.5
"""Of a series' standard deviation."""
HOW_MADE: Final = (
    "all feeds are made up; the real ones were injected into the trace, "
    f"by {EFFECT_RATIO:g} x each series' standard deviation, events by twice that; those that are announced "
    "(events, weather) are asked a day ahead, those that are measured an hour"
)
ACTS_ON: Final = 3
"""A useful feed moves one of so many groups."""
OF_A_KIND: Final = 3
"""Useless feeds of each kind."""
OFF_LIMIT: Final = 0.95
EVENTS: Final = "events_announced"
WEATHER: Final = "weather"
LEADING: Final = "demand_upstream"
REAL: Final = (EVENTS, WEATHER, LEADING)
"""Feeds that move demand."""


class _Pair(NamedTuple):
    """A feed and a group: whether it tells the group something, and whether it is used there."""

    feed: str
    real: bool
    on: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Injected:
    """A panel with feeds, some of which move it."""

    panel: Panel
    real: frozenset[tuple[str, str]]
    """Feeds and the groups they move."""


def feed_answer(
    trace: Trace,
    asked: Asked,
    progress: Callable[[str, int, int], None],
    judged: Callable[[Panel, int], Sequence[FeedGain]] | None = None,
) -> Answer:
    """Inject feeds into each resource of the trace and count what is switched on; ``judged`` says what is.

    Raises:
        InputError: the model that feeds are put on top of can't run.

    """
    found: list[_Pair] = []
    for at, resource in enumerate(trace.resources):
        progress("feeds that tell something or nothing, resources", at, len(trace.resources))
        made = injected(panel_of(trace, resource), asked.seed + at)  # feeds of its own
        if not made.real:
            continue  # nobody has enough samples
        gains = (_judged if judged is None else judged)(made.panel, asked.seed)
        found += [_Pair(gain.feed, (gain.feed, gain.group) in made.real, gain.on) for gain in gains]
    useless = [pair.on for pair in found if not pair.real]
    real = [pair.on for pair in found if pair.real]
    if not real or not useless:
        return Answer(rows=(), notes=("left out: the trace is too short to judge a feed; give a longer one",))
    each = {feed: [pair.on for pair in found if pair.real and pair.feed == feed] for feed in REAL}
    return Answer(
        rows=(
            row("useless_feeds_off_ratio", 1 - float(np.mean(useless)), "ratio", OFF_LIMIT, "min"),
            row("real_feeds_found_ratio", float(np.mean(real)), "ratio", direction="min"),
            *(
                row(f"real_feeds_found_ratio.{feed}", float(np.mean(on)), "ratio", direction="min")
                for feed, on in each.items()
                if on
            ),
            row("useless_feeds", len(useless), "pairs"),
            row("real_feeds", len(real), "pairs"),
        ),
        notes=(HOW_MADE,),
    )


def injected(panel: Panel, seed: int) -> Injected:
    """Return some of the series in groups, moved by useful feeds, with useless feeds beside them."""
    random = np.random.default_rng(seed)
    chosen = _asked_series(panel)
    groups = tuple(f"group {at // SERIES_PER_GROUP:02d}" for at in range(chosen.size))
    names = sorted(set(groups))
    seen = replace(panel.of(chosen), groups=groups)
    useful = _useful(seen, random)
    shares = seen.shares.copy()
    # Its own spread, and a hundredth of capacity where it has none.
    spread = np.maximum(np.nanstd(shares, axis=0), 0.01)
    real: set[tuple[str, str]] = set()
    for number, (feed, moves) in enumerate(useful):
        moved = names[number::ACTS_ON]
        real |= {(feed.name, group) for group in moved}
        shares += EFFECT_RATIO * spread * moves[:, None] * np.isin(groups, moved)
    feeds = (*(feed for feed, _ in useful), *_useless(seen, random))
    shares = np.clip(shares, 0, 1).astype(np.float32)
    return Injected(panel=replace(seen, shares=shares, feeds=feeds), real=frozenset(real))


def _judged(panel: Panel, seed: int) -> Sequence[FeedGain]:
    """Return what the product says of each feed and group."""
    found: list[FeedGain] = []
    for seconds in dict.fromkeys(HORIZONS_SECONDS.values()):
        base = path_model(BEHIND, seed=seed)
        model = WithFeeds(base, seed=seed, horizon_seconds=seconds, grouping="server")
        found += [gain for gain in model.judge(panel) if HORIZONS_SECONDS[gain.kind] == seconds]
    return found


def _asked_series(panel: Panel) -> NDArray[np.intp]:
    """Return evenly chosen series (series,) among those with enough samples."""
    present = np.flatnonzero(np.mean(~np.isnan(panel.shares), axis=0) >= PRESENT_MIN)
    count = min(SERIES_MAX, present.size)
    return present[np.linspace(0, present.size - 1, count).round().astype(np.intp)]


def _useful(panel: Panel, random: np.random.Generator) -> list[tuple[Feed, NDArray[np.float64]]]:
    """Return feeds that tell something, and how they move demand at every step, in spreads."""
    events = _events(EVENTS, panel, random)
    weather = _fading(WEATHER, FeedKind.WEATHER, panel, random, KNOWN_SECONDS)
    leading = _fading(LEADING, FeedKind.SERIES, panel, random, 0)
    return [
        # An event lasts some hours and takes twice what a usual swing does.
        (events, 2 * _at_steps(events, panel, 0)),
        (weather, _at_steps(weather, panel, 0)),
        (leading, _at_steps(leading, panel, AHEAD_SECONDS)),
    ]


def _useless(panel: Panel, random: np.random.Generator) -> list[Feed]:
    """Return feeds that tell nothing: of the useful ones' kinds, and two that often deceive."""
    found = []
    for number in range(OF_A_KIND):
        found += [
            _events(f"events_elsewhere_{number}", panel, random),
            _fading(f"weather_elsewhere_{number}", FeedKind.WEATHER, panel, random, KNOWN_SECONDS),
            _fading(f"demand_elsewhere_{number}", FeedKind.SERIES, panel, random, 0),
            _noise(f"noise_{number}", panel, random),
            _clock(f"time_of_day_{number}", panel, random),
        ]
    return found


def _times(panel: Panel, every_seconds: int) -> NDArray[np.int64]:
    """Return when values hold from: a day before the panel until days after it."""
    return np.arange(
        panel.start_seconds - DAY_SECONDS, panel.end_seconds + KNOWN_SECONDS, every_seconds, dtype=np.int64
    )


def _events(name: str, panel: Panel, random: np.random.Generator) -> Feed:
    valid = _times(panel, EVENT_SECONDS)
    values = random.random(valid.size) < EVENT_CHANCE
    return _feed(name, FeedKind.EVENT, valid, values.astype(np.float64), KNOWN_SECONDS)


def _fading(name: str, kind: FeedKind, panel: Panel, random: np.random.Generator, known_seconds: int) -> Feed:
    """Return a feed that wanders about zero with a spread of one."""
    valid = _times(panel, EVERY_SECONDS)
    kept = np.exp(-EVERY_SECONDS / (WEATHER_SECONDS if kind is FeedKind.WEATHER else SERIES_SECONDS))
    values = random.standard_normal(valid.size)
    for at in range(1, valid.size):
        values[at] = kept * values[at - 1] + np.sqrt(1 - kept**2) * values[at]
    return _feed(name, kind, valid, values, known_seconds)


def _noise(name: str, panel: Panel, random: np.random.Generator) -> Feed:
    valid = _times(panel, EVERY_SECONDS)
    return _feed(name, FeedKind.SERIES, valid, random.standard_normal(valid.size), 0)


def _clock(name: str, panel: Panel, random: np.random.Generator) -> Feed:
    """Return a daily wave: what any clock says, and much of demand seems to follow."""
    valid = _times(panel, EVERY_SECONDS)
    wave = np.sin(2 * np.pi * (valid / DAY_SECONDS + random.random()))
    values = wave + 0.1 * random.standard_normal(valid.size)
    return _feed(name, FeedKind.APPLICATION, valid, values, 0)


def _feed(
    name: str, kind: FeedKind, valid: NDArray[np.int64], values: NDArray[np.float64], known_seconds: int
) -> Feed:
    return Feed(
        name=name,
        kind=kind,
        valid_seconds=valid,
        issued_seconds=valid - known_seconds,
        values=values.astype(np.float32),
        holds_seconds=2 * int(valid[1] - valid[0]),
    )


def _at_steps(feed: Feed, panel: Panel, later_seconds: int) -> NDArray[np.float64]:
    """Return the feed's value in the middle of every step (steps,), so much later."""
    middle = panel.start_seconds + np.arange(panel.steps) * panel.step_seconds + panel.step_seconds // 2
    at = np.searchsorted(feed.valid_seconds, middle - later_seconds, side="right") - 1
    return feed.values[at].astype(np.float64)
