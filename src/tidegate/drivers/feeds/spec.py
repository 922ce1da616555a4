"""The front door: what an operator writes to name a feed, ``KIND=WHAT[,OPTION=VALUE...]``, is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tidegate.drivers.feeds.events import read_events
from tidegate.drivers.feeds.network import read_network
from tidegate.drivers.feeds.public_holidays import read_holidays
from tidegate.drivers.feeds.series import read_series
from tidegate.drivers.feeds.weather import read_weather
from tidegate.drivers.feeds.when import YEARS, seconds_from_text
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.model.feed import Feed

OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "weather": ("issued",),
    "events": ("zone", "years"),
    "holidays": ("zone", "years"),
    "network": (),
    "series": (),
}
"""The kinds of feeds, and what may be said about each."""
_OPTION: Final = re.compile(r"(.*),(issued|zone|years)=([^,=]*)", re.DOTALL)
_YEARS: Final = re.compile(r"(\d{4})(?:-(\d{4}))?")


def read_feeds(spec: str, *, years: tuple[int, int] = YEARS) -> tuple[Feed, ...]:
    """Return the feeds that a text such as ``weather=berlin.json`` or ``holidays=US-NY`` names.

    | text | reads |
    |---|---|
    | ``weather=FILE[,issued=TIME]`` | Open-Meteo's JSON, or a table |
    | ``events=FILE[,zone=ZONE][,years=FIRST-LAST]`` | an ``.ics`` calendar, or a table |
    | ``holidays=PLACE[,zone=ZONE][,years=FIRST-LAST]`` | the public holidays of a country or a part of it |
    | ``network=FILE`` | a table of links |
    | ``series=FILE`` | a table of numbers |

    ``years`` are those the caller is interested in, where the text doesn't say.

    Raises:
        InputError: the text is none of these, or what it names can't be read.

    """
    kind, equals, rest = spec.partition("=")
    if not equals or kind not in OPTIONS or not rest:
        raise InputError(
            f"{spec[:80]!r} names no feed; write one of {', '.join(OPTIONS)}=FILE, as events=a.ics"
        )
    what, options = _split(rest)
    for name in options:
        if name not in OPTIONS[kind]:
            raise InputError(f"{spec[:80]!r}: {kind} takes no {name}=; leave it out")
    zone = options.get("zone", "UTC")
    years = _years(options["years"]) if "years" in options else years
    path = Path(what)
    match kind:
        case "weather":
            return read_weather(path, issued_seconds=_issued(options.get("issued")))
        case "events":
            return read_events(path, zone=zone, years=years)
        case "holidays":
            return read_holidays(what, zone=zone, years=years)
        case "network":
            return read_network(path)
        case _:
            return read_series(path)


def _split(rest: str) -> tuple[str, dict[str, str]]:
    """Return what is named, and the options at its end; other commas and signs belong to the name.

    Raises:
        InputError: an option is said twice.

    """
    options: dict[str, str] = {}
    while found := _OPTION.fullmatch(rest):
        rest, name, value = found.groups()
        if name in options:
            raise InputError(f"{name}= is said twice; leave one out")
        options[name] = value
    return rest, options


def _years(text: str) -> tuple[int, int]:
    found = _YEARS.fullmatch(text)
    if found is None:
        raise InputError(f"{text[:40]!r} are no years; write years=2024-2026")
    return int(found[1]), int(found[2] or found[1])


def _issued(text: str | None) -> int | None:
    if text is None:
        return None
    seconds = seconds_from_text(text)
    if seconds is None:
        raise InputError(f"{text[:40]!r} is no time; write issued=2026-01-31T06:00:00Z")
    return seconds
