"""Public holidays of a country or a part of it, as a feed of events."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from tidegate.drivers.feeds.occurrences import Occurrence, event_feed
from tidegate.drivers.feeds.when import YEARS, seconds_of, span_of_years, zone_named
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from tidegate.model.feed import Feed

MARKET_LETTERS: Final = 4
"""Letters of the code of a financial market (ISO 10383), against two of a country."""
_PLACE: Final = re.compile(r"([A-Z]{2,4})(?:-([A-Za-z0-9-]{1,16}))?")


def read_holidays(place: str, *, zone: str = "UTC", years: tuple[int, int] = YEARS) -> tuple[Feed, ...]:
    """Return one feed that is 1 on the holidays of a place: ``US``, ``US-NY``, or a market, ``XNYS``.

    Days begin and end in ``zone``; nothing is known outside ``years``, first and last. Source: `holidays`.

    Raises:
        InputError: the place is unknown, the zone is, or the years are no span.

    """
    try:
        import holidays
    except ModuleNotFoundError as error:
        raise InputError("holidays need the extra 'feeds'; pip install 'tidegate[feeds]'") from error
    where = zone_named(zone)
    span = span_of_years(years, zone=where)
    named = _PLACE.fullmatch(place.strip())
    unknown = InputError(
        f"no holidays are known of {place[:40]!r}; write a country's code and perhaps a part's, like US-NY"
    )
    if named is None:
        raise unknown
    try:
        whole = range(years[0], years[1] + 1)
        if len(named[1]) == MARKET_LETTERS:
            days = holidays.financial_holidays(named[1], years=whole)
        else:
            days = holidays.country_holidays(named[1], subdiv=named[2], years=whole)
    except (NotImplementedError, AttributeError) as error:
        raise unknown from error
    occurrences = []
    for day in sorted(days):
        midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - the zone is given below
        occurrence = Occurrence(
            start_seconds=seconds_of(midnight, zone=where),
            end_seconds=seconds_of(midnight + timedelta(days=1), zone=where),
        )
        occurrences.append(occurrence)
    return (event_feed(f"holidays/{place.strip()}", occurrences, span_seconds=span),)
