"""What is known from outside, as columns on a panel's steps: feeds, and the holidays of a country."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.paths.baseline import ends_of
from tidegate.forecast.paths.spread import last_known
from tidegate.forecast.windows import DAY_SECONDS
from tidegate.model.errors import InputError
from tidegate.model.feed import FeedKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.feed import Feed
    from tidegate.model.panel import Panel

Key = tuple[str, str, tuple[str, ...] | None]
"""What tells feeds apart: kind, name, and whom it is about."""

HOLIDAYS: Final[Key] = ("holidays", "holiday", None)
"""1 on holidays, UTC days, else 0: two weeks hold one at most, so all count as one kind of day."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """Columns by key, and what they say."""

    keys: tuple[Key, ...]
    told: NDArray[np.float64]
    """(steps, columns), never NaN."""

    def about(self, names: tuple[str, ...]) -> NDArray[np.bool_]:
        """Return which columns are about which series (columns, series)."""
        whom = [None if vms is None else set(vms) for _, _, vms in self.keys]
        told = [[vms is None or name in vms for name in names] for vms in whom]
        return np.array(told, dtype=np.bool_).reshape(len(self.keys), len(names))


def columns_of(panel: Panel, first: int, last: int, *, country: str | None = None) -> Columns:
    """Return what is known at the panel's end of its steps ``first`` to ``last``, also of those to come.

    A feed of which nothing is known there is left out. An event that is not told is none (0); anything else
    holds until it is told anew, and before it was first told it was as at first: a future that nobody
    forecast is the present.
    """
    at = ends_of(panel, first, last) - panel.step_seconds // 2
    found: dict[Key, NDArray[np.float64]] = {}
    for feed in panel.feeds:
        known = feed.as_known(panel.end_seconds, at)
        if not np.isnan(known).all():
            found[_key(feed)] = _without_gaps(known, feed.kind)
    if country is not None:
        found[HOLIDAYS] = holidays(country, at)
    told = np.stack(list(found.values()), axis=1) if found else np.zeros((at.size, 0))
    return Columns(keys=tuple(found), told=told)


def holidays(country: str, at_seconds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return 1 for times (UTC) on a public holiday of a country, else 0.

    Raises:
        InputError: nobody knows holidays of that country.

    """
    import holidays as calendar

    days = at_seconds // DAY_SECONDS
    years = np.unique(np.concatenate((days, [0])).astype("datetime64[D]").astype("datetime64[Y]"))
    try:
        known = calendar.country_holidays(country, years=[int(year.astype(int)) + 1970 for year in years])
    except NotImplementedError as error:
        raise InputError(f"no holidays are known of country '{country}'; give a code such as DE") from error
    dates = np.array(sorted(known), dtype="datetime64[D]").astype(np.int64)
    return np.isin(days, dates).astype(np.float64)


def _key(feed: Feed) -> Key:
    return feed.kind.value, feed.name, feed.vms


def _without_gaps(known: NDArray[np.float32], kind: FeedKind) -> NDArray[np.float64]:
    if kind is FeedKind.EVENT:
        return np.nan_to_num(known).astype(np.float64)
    held = last_known(known[:, None])[:, 0]
    first = held[np.flatnonzero(~np.isnan(held))[0]]
    return np.where(np.isnan(held), first, held).astype(np.float64)
