"""Weather as feeds: Open-Meteo's JSON as its interface returns it, and hourly tables.

Sources: Open-Meteo's documentation of its forecast, archive and previous-runs interfaces.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from tidegate.drivers.feeds.series import measured, rows_by_name, times_of
from tidegate.drivers.feeds.table import EARLIEST_SECONDS, LARGEST, LATEST_SECONDS, check_file, read_table
from tidegate.drivers.feeds.when import seconds_from_text
from tidegate.model.errors import InputError
from tidegate.model.feed import Feed, FeedKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from tidegate.drivers.feeds.table import Table

JSON_BYTES_MAX: Final = 64 * 1024**2
LOCATIONS_MAX: Final = 1_000
"""As many as Open-Meteo answers at once."""
HOURS_MAX: Final = 1_000_000
VARIABLES_MAX: Final = 256
TIME_NAMES: Final = ("time", "time_hour", "timestamp", "datetime", "date_time")
STATION_NAMES: Final = ("station", "origin", "location", "site")
_CALENDAR: Final = frozenset({"year", "month", "day", "hour", "minute", "issued", "latitude", "longitude"})
_EARLIER_RUN: Final = re.compile(r"(.+)_previous_day(\d{1,2})")
"""How the previous-runs interface names a variable as it was forecast so many days before."""


def read_weather(path: Path, *, issued_seconds: int | None = None) -> tuple[Feed, ...]:
    """Return a feed per variable, and per place where there are several (``place/variable``).

    Values are known when they hold, unless the file or ``issued_seconds`` says that they were issued
    before: what lies after the issue is a forecast, what lies before it was measured.

    Raises:
        InputError: the file can't be read, or something in it is wrong.

    """
    if path.suffix.lower() == ".json":
        return _from_json(path, issued_seconds)
    return _from_table(path, issued_seconds)


def _from_table(path: Path, issued_seconds: int | None) -> tuple[Feed, ...]:
    table = read_table(path)
    time = next((name for name in TIME_NAMES if table.has(name)), None)
    if time is None:
        raise InputError(f"{path} has no column {' or '.join(TIME_NAMES)}; rename the column of times")
    valid, issued = times_of(table, time)
    if issued_seconds is not None and not table.has("issued"):
        issued = np.minimum(valid, issued_seconds)
    station = next((name for name in STATION_NAMES if table.has(name)), None)
    names = np.full(valid.size, "", dtype=object) if station is None else table.texts(station)
    places = rows_by_name(names, table, most=LOCATIONS_MAX)
    variables = {name: table.values(name) for name in _variables(table, but={time, station})}
    feeds = [
        measured(
            name=_named(place, variable),
            kind=FeedKind.WEATHER,
            valid_seconds=valid[rows],
            issued_seconds=issued[rows],
            values=values[rows],
        )
        for place, rows in places.items()
        for variable, values in variables.items()
    ]
    return _some(feeds, path)


def _variables(table: Table, *, but: set[str | None]) -> list[str]:
    """Return the columns that hold weather: all of numbers that are no part of the time or the place.

    Raises:
        InputError: there are too many.

    """
    names = [name for name in table.names if name not in but and name not in _CALENDAR]
    names = [name for name in names if table.holds_numbers(name)]
    if len(names) > VARIABLES_MAX:
        raise InputError(f"{table.path} has {len(names)} variables, {VARIABLES_MAX} at most; leave some out")
    return names


def _from_json(path: Path, issued_seconds: int | None) -> tuple[Feed, ...]:
    check_file(path, bytes_max=JSON_BYTES_MAX)
    try:
        told: Any = msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise InputError(f"{path} is no JSON ({error}); fetch it again from Open-Meteo") from error
    places: list[Any] = told if isinstance(told, list) else [told]
    if len(places) > LOCATIONS_MAX:
        raise InputError(f"{path} holds {len(places)} places, {LOCATIONS_MAX} at most; split the file")
    feeds: list[Feed] = []
    for number, place in enumerate(places):
        where = str(path) if len(places) == 1 else f"{path}, place {number + 1}"
        if not isinstance(place, dict):
            raise InputError(f"{where} is no answer of Open-Meteo but {type(place).__name__}; fetch it again")
        if place.get("error"):
            reason = str(place.get("reason", "no reason given"))[:200]
            raise InputError(f"{where} is an error of Open-Meteo ({reason}); ask again without it")
        name = "" if len(places) == 1 else _place_name(place, number)
        feeds += _from_place(place, name, where, issued_seconds)
    return _some(feeds, path)


def _place_name(place: Mapping[str, Any], number: int) -> str:
    latitude, longitude = place.get("latitude"), place.get("longitude")
    if isinstance(latitude, int | float) and isinstance(longitude, int | float):
        return f"{latitude:.4g},{longitude:.4g}"
    return str(number + 1)


def _from_place(place: Mapping[str, Any], name: str, where: str, issued_seconds: int | None) -> list[Feed]:
    """Return the feeds of one place.

    Raises:
        InputError: something in it is wrong.

    """
    hourly = place.get("hourly")
    if not isinstance(hourly, dict) or not isinstance(hourly.get("time"), list):
        raise InputError(f"{where} has no hourly times; ask Open-Meteo for hourly variables")
    if len(hourly) - 1 > VARIABLES_MAX or len(hourly["time"]) > HOURS_MAX:
        raise InputError(
            f"{where} has over {VARIABLES_MAX} variables or {HOURS_MAX} hours; ask for less at once"
        )
    valid = _json_times(hourly["time"], _offset(place, where), where)
    said = place.get("issued")
    issued_at = issued_seconds if said is None else _json_times([said], 0, f"{where}, issued")[0]
    usual = valid if issued_at is None else np.minimum(valid, issued_at)
    points: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float32]]]] = {}
    for column, cells in hourly.items():
        if column == "time":
            continue
        earlier = _EARLIER_RUN.fullmatch(column)
        variable = earlier[1] if earlier else column
        issued = valid - int(earlier[2]) * 86_400 if earlier else usual
        points.setdefault(variable, []).append((issued, _json_values(cells, valid.size, column, where)))
    return [
        measured(
            name=_named(name, variable),
            kind=FeedKind.WEATHER,
            valid_seconds=np.tile(valid, len(parts)),
            issued_seconds=np.concatenate([issued for issued, _ in parts]),
            values=np.concatenate([values for _, values in parts]),
        )
        for variable, parts in points.items()
    ]


def _offset(place: Mapping[str, Any], where: str) -> int:
    offset = place.get("utc_offset_seconds", 0)
    if not isinstance(offset, int) or abs(offset) > 16 * 3_600:
        raise InputError(
            f"{where}: utc_offset_seconds is {offset!r}, no offset of a time zone; fetch it again"
        )
    return offset


def _json_times(cells: list[Any], offset_seconds: int, where: str) -> NDArray[np.int64]:
    """Return seconds since 1970 UTC: texts are local time, numbers are UTC already, as Open-Meteo has it.

    Raises:
        InputError: one is no time.

    """
    seconds = np.empty(len(cells), dtype=np.int64)
    for number, cell in enumerate(cells):
        found = None
        if isinstance(cell, str):
            found = seconds_from_text(cell, offset_seconds=offset_seconds)
        elif isinstance(cell, int) and not isinstance(cell, bool):
            found = cell
        if found is None or not EARLIEST_SECONDS <= found < LATEST_SECONDS:
            raise InputError(f"{where}: time {number + 1} is {str(cell)[:40]!r}, no time from 1900 to 2199")
        seconds[number] = found
    return seconds


def _json_values(cells: Any, length: int, column: str, where: str) -> NDArray[np.float32]:  # noqa: ANN401 - JSON
    """Return numbers (hours,), NaN for null; a column of texts is all NaN.

    Raises:
        InputError: they are no list of as many as there are times, or one is no number.

    """
    if not isinstance(cells, list) or len(cells) != length:
        raise InputError(f"{where}: {column} has no value for each of the {length} times; fetch it again")
    if cells and all(isinstance(cell, str) for cell in cells):
        return np.full(length, np.nan, dtype=np.float32)  # sunrise and the like
    values = np.full(length, np.nan, dtype=np.float32)
    for number, cell in enumerate(cells):
        if cell is None:
            continue
        if isinstance(cell, bool) or not isinstance(cell, int | float) or not abs(cell) <= LARGEST:
            raise InputError(f"{where}: {column}, value {number + 1} is {str(cell)[:40]!r}, no number")
        values[number] = cell
    return values


def _named(place: str, variable: str) -> str:
    return f"{place}/{variable}" if place else variable


def _some(feeds: list[Feed], path: Path) -> tuple[Feed, ...]:
    """Return the feeds that hold anything.

    Raises:
        InputError: none does.

    """
    found = tuple(feed for feed in feeds if feed.values.size)
    if not found:
        raise InputError(f"{path} holds no value of any variable; fetch it with hourly variables")
    return found
