"""Feeds beside a panel: what was known of each at every step, and what a forecast may know of what comes.

Nothing here sees what was issued after the panel's end, or after the origin it stands for: neither a value,
nor the mean and spread by which it is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.feeds.known import known_at, known_then
from tidegate.forecast.windows import DAY_SECONDS, HOUR_SECONDS
from tidegate.model.feed import FeedKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tidegate.model.feed import Feed
    from tidegate.model.panel import Panel

LAGS_SECONDS: Final = (0, 900, 1_800, HOUR_SECONDS, 3 * HOUR_SECONDS)
"""How long before a step the feed is looked at; where that isn't known yet, it is the last known."""
LARGEST_SCORE: Final = np.float32(4)
"""Standardised values end here: an outlier must not carry a correction away."""
MEAN_DAYS: Final = (1, 14)
"""Over how many days means are taken: what a model may have got used to."""
VALUE_DOUBT_DAYS: Final = (0.5, 2.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0)
"""Shrinkage of each column, as so many days of samples that say it does nothing: that a series follows the
feed, less what it got used to, is learned soonest; that it follows it late is learned when it is plain."""
EVENT_DOUBT_DAYS: Final = (1.0, 0.25, 2.0, 2.0, 0.5, 2.0, 0.5, 2.0, 2.0, 2.0)
"""Events are rare: that a day becomes one of rest is learned from one, any other shape from several."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Named:
    """The feeds of one name: one about everybody, or one for each of several VMs."""

    name: str
    kind: FeedKind
    feeds: tuple[Feed, ...]

    @property
    def doubt_days(self) -> tuple[float, ...]:
        """Shrinkage of each of the features that are made of it."""
        return EVENT_DOUBT_DAYS if self.kind is FeedKind.EVENT else VALUE_DOUBT_DAYS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """What a forecast may know of one named feed."""

    values: NDArray[np.float32]
    """(origins, leads, series or 1, columns); 0 where unknown."""
    known: NDArray[np.bool_]
    """(origins, leads, series or 1) whether anything is."""


def by_name(feeds: Sequence[Feed]) -> tuple[Named, ...]:
    """Return the feeds by name and kind, in the order of their first."""
    found: dict[tuple[str, FeedKind], list[Feed]] = {}
    for feed in feeds:
        found.setdefault((feed.name, feed.kind), []).append(feed)
    return tuple(Named(name=name, kind=kind, feeds=tuple(members)) for (name, kind), members in found.items())


def history(feeds: Sequence[Feed], panel: Panel) -> NDArray[np.float32]:
    """Return (steps, feeds): each feed at the end of each step of the panel, as it was known then."""
    times = _ends(panel)
    columns = [known_then(feed, times) for feed in feeds]
    return np.stack(columns, axis=1) if columns else np.empty((times.size, 0), dtype=np.float32)


def coming(feeds: Sequence[Feed], panel: Panel, horizon_steps: int) -> NDArray[np.float32]:
    """Return (horizon_steps, feeds): each feed in the middle of each step ahead, as known at the end."""
    now = np.array([panel.end_seconds])
    at = _middles(panel, np.array([panel.steps]), np.arange(1, horizon_steps + 1))
    columns = [known_at(feed, now, at)[0] for feed in feeds]
    return np.stack(columns, axis=1) if columns else np.empty((horizon_steps, 0), dtype=np.float32)


def age_seconds(feed: Feed, now_seconds: int) -> int | None:
    """Return how long ago the last value that holds began to, as known now; None if there is none."""
    seen = (feed.issued_seconds <= now_seconds) & (feed.valid_seconds <= now_seconds)
    return now_seconds - int(feed.valid_seconds[seen].max()) if seen.any() else None


def features(
    named: Named,
    panel: Panel,
    *,
    origins: NDArray[np.int64],
    leads: NDArray[np.int64],
    rest_day: NDArray[np.float32],
) -> Features:
    """Return what is known at each origin of one named feed about the steps ``leads`` ahead.

    ``origins`` count the steps of the panel that lie before each; ``rest_day`` (origins, leads, series) is
    what the series would do on a day of rest, in units of a correction: what an event may turn a day into.
    """
    shared = [feed for feed in named.feeds if feed.vms is None]
    if shared:  # the last wins, as a file named last would
        return _of_one(shared[-1], panel, origins, leads, rest_day)
    series = len(panel.names)
    values = np.zeros((origins.size, leads.size, series, len(named.doubt_days)), dtype=np.float32)
    known = np.zeros((origins.size, leads.size, series), dtype=np.bool_)
    at_name = {name: at for at, name in enumerate(panel.names)}
    for feed in named.feeds:
        whom = np.array([at_name[vm] for vm in feed.vms or () if vm in at_name], dtype=np.intp)
        if whom.size:
            one = _of_one(feed, panel, origins, leads, rest_day[:, :, whom])
            values[:, :, whom] = one.values
            known[:, :, whom] = one.known
    return Features(values=values, known=known)


def _of_one(
    feed: Feed,
    panel: Panel,
    origins: NDArray[np.int64],
    leads: NDArray[np.int64],
    rest_day: NDArray[np.float32],
) -> Features:
    if feed.kind is FeedKind.EVENT:
        return _of_events(feed, panel, origins, leads, rest_day)
    return _of_values(feed, panel, origins, leads)


def _of_values(feed: Feed, panel: Panel, origins: NDArray[np.int64], leads: NDArray[np.int64]) -> Features:
    """Return the value at each lag, the last known and means, standardised by what was known."""
    now = panel.start_seconds + origins * panel.step_seconds
    last = known_at(feed, now, now[:, None])
    targets = _middles(panel, origins, leads)
    guess, *late = (_or_last(known_at(feed, now, targets - lag), last) for lag in LAGS_SECONDS)
    past = known_then(feed, _ends(panel))
    day = max(1, round(DAY_SECONDS / panel.step_seconds))
    of_day, used_to = (_means(past, origins, days * day)[:, None] for days in MEAN_DAYS)
    mean, spread = _mean_and_spread(past, origins)
    level = guess - mean[:, None]
    others: tuple[NDArray[np.floating], ...] = (*late, last, of_day)
    columns = [guess - used_to, level, *(other - guess for other in others)]
    values = np.stack(columns, axis=-1)[:, :, None, :]
    known = ~np.isnan(values).any(axis=-1) & (spread > 0)[:, None, None]
    scale = np.where(spread > 0, spread, 1)[:, None, None, None]
    scores = np.clip(values / scale, -LARGEST_SCORE, LARGEST_SCORE)
    return Features(values=np.where(known[..., None], scores, 0).astype(np.float32), known=known)


def _or_last(there: NDArray[np.float32], last: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(np.isnan(there), last, there)


def _of_events(
    feed: Feed,
    panel: Panel,
    origins: NDArray[np.int64],
    leads: NDArray[np.int64],
    rest_day: NDArray[np.float32],
) -> Features:
    """Return whether an event is on, alone and as a day of rest, and how much more than now it is on.

    The latter, for most models soon follow what goes on: of an event they lack its beginning and its end.
    Then the same a day before and after it and, outside it, an hour before and after, and a week after,
    when many a model takes it for usual.
    """
    now = panel.start_seconds + origins * panel.step_seconds
    targets = _middles(panel, origins, leads)
    told = known_at(feed, now, targets)
    known = ~np.isnan(told)
    inside = np.where(known, told, 0)[:, :, None]
    begun = np.nan_to_num(known_at(feed, now, now[:, None]), nan=0.0)[:, :, None]
    columns = [np.broadcast_to(each, rest_day.shape) for each in (inside, inside * rest_day, inside - begun)]
    for offset in (DAY_SECONDS, -DAY_SECONDS, HOUR_SECONDS, -HOUR_SECONDS, -7 * DAY_SECONDS):
        there = np.nan_to_num(known_at(feed, now, targets + offset), nan=0.0)[:, :, None]
        outside = np.where(inside == 0, there, 0)
        columns.append(np.broadcast_to(outside, rest_day.shape))
        if abs(offset) == DAY_SECONDS:
            columns.append(outside * rest_day)
    values = np.stack(columns, axis=-1).astype(np.float32)
    whole = np.broadcast_to(known[:, :, None], rest_day.shape)
    return Features(values=np.where(whole[..., None], values, np.float32(0)), known=whole)


def rest_days(
    panel: Panel, *, origins: NDArray[np.int64], leads: NDArray[np.int64], weeks: int
) -> NDArray[np.float32]:
    """Return the mean of the last Sundays (UTC) before each origin, at the time of day of each lead's step.

    Shape (origins, leads, series); NaN where no Sunday was seen.
    """
    step = panel.step_seconds
    day = max(1, round(DAY_SECONDS / step))
    target = origins[:, None] + leads - 1
    middle = panel.start_seconds + target * step + step // 2
    weekday = (middle // DAY_SECONDS + 3) % 7  # 1970-01-01 was a Thursday; 6 is Sunday
    back = (weekday + 1) % 7
    row = target - np.where(back == 0, 7, back) * day
    late = np.maximum(row - origins[:, None] + 1, 0)
    row -= -(-late // (7 * day)) * 7 * day
    total = np.zeros((*target.shape, len(panel.names)), dtype=np.float32)
    count = np.zeros(total.shape, dtype=np.float32)
    for week in range(weeks):
        at = row - week * 7 * day
        seen = panel.shares[np.maximum(at, 0)]
        there = ~np.isnan(seen) & (at >= 0)[:, :, None]
        total += np.where(there, seen, 0)
        count += there
    return np.where(count > 0, total / np.maximum(count, 1), np.float32(np.nan)).astype(np.float32)


def _ends(panel: Panel) -> NDArray[np.int64]:
    """Return when each step ends: (steps,)."""
    return panel.start_seconds + panel.step_seconds * np.arange(1, panel.steps + 1, dtype=np.int64)


def _middles(panel: Panel, origins: NDArray[np.int64], leads: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the middle of each step ahead: (origins, leads)."""
    ends = panel.start_seconds + (origins[:, None] + leads) * panel.step_seconds
    return (ends - panel.step_seconds // 2).astype(np.int64)


def _sums(past: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return running counts, sums and sums of squares, (steps + 1,) each; of values less the first."""
    known = ~np.isnan(past)
    first = float(past[known.argmax()]) if known.any() else 0.0
    value = np.where(known, past.astype(np.float64) - first, 0)
    parts = (known.astype(np.float64), value, value**2)
    count, total, square = (np.concatenate([[0.0], np.cumsum(part)]) for part in parts)
    return count, total, square


def _means(past: NDArray[np.float32], origins: NDArray[np.int64], window: int) -> NDArray[np.float64]:
    """Return the mean of the known values of the window before each origin, NaN without one."""
    known = ~np.isnan(past)
    first = float(past[known.argmax()]) if known.any() else 0.0
    count, total, _ = _sums(past)
    begin = np.maximum(origins - window, 0)
    held = count[origins] - count[begin]
    mean = (total[origins] - total[begin]) / np.maximum(held, 1) + first
    return np.where(held > 0, mean, np.nan)


def _mean_and_spread(
    past: NDArray[np.float32], origins: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of all that was known before each origin; 0 where it never moved."""
    known = ~np.isnan(past)
    first = float(past[known.argmax()]) if known.any() else 0.0
    count, total, square = (part[origins] for part in _sums(past))
    held = np.maximum(count, 1)
    mean = total / held
    spread = np.sqrt(np.maximum(square / held - mean**2, 0))
    # Sums of squares are exact to about 1e-16 of their size.
    moved = spread > 1e-6 * np.sqrt(square / held)
    return mean + first, np.where(moved, spread, 0)
