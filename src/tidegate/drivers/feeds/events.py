"""Events as feeds: iCalendar files, and tables of start, end and name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.drivers.feeds.ical import read_ical
from tidegate.drivers.feeds.occurrences import LONG_AGO_SECONDS, Occurrence, event_feed
from tidegate.drivers.feeds.series import rows_by_name
from tidegate.drivers.feeds.table import EARLIEST_SECONDS, LATEST_SECONDS, bare_name, read_table
from tidegate.drivers.feeds.when import YEARS, seconds_from_text, zone_named
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path
    from zoneinfo import ZoneInfo

    from numpy.typing import NDArray

    from tidegate.drivers.feeds.table import Table
    from tidegate.model.feed import Feed

EVENTS_MAX: Final = 200_000
"""Rows of a table of events."""
NAMES_MAX: Final = 64
"""Names in one file: each is a feed of its own, tested on its own."""
DAY_LETTERS: Final = len("2026-01-31")


def read_events(path: Path, *, zone: str = "UTC", years: tuple[int, int] = YEARS) -> tuple[Feed, ...]:
    """Return the feeds of an ``.ics`` calendar or of a table, one per category or name.

    ``zone`` is where days and times without a zone are; ``years``, first and last, bound what repeats.

    Raises:
        InputError: the file can't be read, or something in it is wrong.

    """
    if path.suffix.lower() in {".ics", ".ical", ".ifb"}:
        return read_ical(path, zone=zone, years=years)
    return _from_table(path, zone_named(zone))


def _from_table(path: Path, zone: ZoneInfo) -> tuple[Feed, ...]:
    """Return a feed per name of a table.

    Columns: ``start`` and optionally ``end``, ``name`` (else the file's), ``value`` (else 1) and ``issued``
    (else long ago). A day without a time is all of it, as the end too, and if there is no end.

    Raises:
        InputError: the table can't be read, lacks a column, or a row is wrong.

    """
    table = read_table(path)
    table.needs("start")
    if table.numbers.size > EVENTS_MAX:
        raise InputError(f"{path} holds {table.numbers.size} events, {EVENTS_MAX} at most; split it")
    starts = [_second(table, "start", row, zone, ends=False) for row in range(table.numbers.size)]
    if table.has("end"):
        ends = [_second(table, "end", row, zone, ends=True) for row in range(table.numbers.size)]
    else:
        ends = [_second(table, "start", row, zone, ends=True, or_why="") for row in range(table.numbers.size)]
    empty = np.array([end <= start for start, end in zip(starts, ends, strict=True)])
    table.refuse(empty, "end" if table.has("end") else "start", "the event ends before it starts; correct it")
    values = table.values("value") if table.has("value") else np.ones(empty.size, dtype=np.float32)
    table.refuse(np.isnan(values), "value", "the value is missing; write 1 if it has none")
    issued = table.times("issued") if table.has("issued") else np.full(empty.size, LONG_AGO_SECONDS)
    names = table.texts("name") if table.has("name") else np.full(empty.size, bare_name(path), dtype=object)
    return tuple(
        event_feed(name, _occurrences(rows, starts, ends, issued, values))
        for name, rows in rows_by_name(names, table, most=NAMES_MAX).items()
    )


def _occurrences(
    rows: NDArray[np.intp],
    starts: list[int],
    ends: list[int],
    issued: NDArray[np.int64],
    values: NDArray[np.float32],
) -> list[Occurrence]:
    return [
        Occurrence(
            start_seconds=starts[row],
            end_seconds=ends[row],
            issued_seconds=int(issued[row]),
            value=float(values[row]),
        )
        for row in rows
    ]


def _second(
    table: Table, column: str, row: int, zone: ZoneInfo, *, ends: bool, or_why: str | None = None
) -> int:
    """Return one time of a table in seconds since 1970 UTC; a day is its first second, or the next one's.

    Raises:
        InputError: it is no time; or an end is missing where the start is no whole day.

    """
    here = np.arange(table.numbers.size) == row
    cell = table.frame[column][row]
    text = "" if cell is None else str(cell).strip()
    whole_day = len(text) == DAY_LETTERS
    if ends and not text:
        column, or_why = "start", ""
        text = str(table.frame["start"][row]).strip()
        whole_day = len(text) == DAY_LETTERS
    if or_why is not None and not whole_day:
        table.refuse(
            here, "end", "an event that starts at a time must end at one; add the column or the time"
        )
    seconds = seconds_from_text(text, zone=zone, days_after=int(ends and whole_day))
    if seconds is None or not EARLIEST_SECONDS <= seconds < LATEST_SECONDS:
        table.refuse(here, column, f"{text[:40]!r} is no time from 1900 to 2199; write 2026-01-31T12:00:00Z")
        raise AssertionError
    return seconds
