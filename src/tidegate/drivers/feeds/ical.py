"""iCalendar files (RFC 5545) as feeds of events, with what repeats, in their time zones."""

from __future__ import annotations

import warnings
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from tidegate.drivers.feeds.occurrences import LONG_AGO_SECONDS, Occurrence, event_feed
from tidegate.drivers.feeds.table import EARLIEST_SECONDS, LATEST_SECONDS, check_file
from tidegate.drivers.feeds.when import YEARS, seconds_of, span_of_years, zone_named
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path
    from zoneinfo import ZoneInfo

    from tidegate.model.feed import Feed

BYTES_MAX: Final = 16 * 1024**2
ENTRIES_MAX: Final = 20_000
REPEATING_MAX: Final = 1_000
"""Entries that repeat: each is played through the whole span."""
OCCURRENCES_MAX: Final = 200_000
CATEGORIES_MAX: Final = 64
DAYS_AT_ONCE: Final = 366
"""How much of the span is played at once, so that what repeats too often is noticed early."""
_TOO_OFTEN: Final = frozenset({"SECONDLY", "MINUTELY", "HOURLY"})


def read_ical(path: Path, *, zone: str = "UTC", years: tuple[int, int] = YEARS) -> tuple[Feed, ...]:
    """Return a feed per category, and one of the file's name for entries without.

    An entry is known since it was created; if that isn't said, since its stamp; else long since. Days, and
    times without a zone, are in the calendar's zone (``X-WR-TIMEZONE``), else in ``zone``. Cancelled and
    transparent entries (which take no time) are left out. Nothing is known outside ``years``.

    Raises:
        InputError: the file is no calendar, or holds too much.

    """
    check_file(path, bytes_max=BYTES_MAX)
    calendars = _parsed(path)
    feeds: dict[str, set[Occurrence]] = {}
    span = span_of_years(years, zone=zone_named(zone))
    played = 0
    for calendar in calendars:
        own = calendar.get("X-WR-TIMEZONE")
        here = zone_named(str(own) if own else zone)
        for entry in _played(calendar, span, path):
            played += 1
            if played > OCCURRENCES_MAX:
                raise InputError(f"{path} holds over {OCCURRENCES_MAX} events; give fewer years=FIRST-LAST")
            occurrence = _occurrence(entry, here, path)
            if occurrence is not None:
                feeds.setdefault(_category(entry) or path.stem, set()).add(occurrence)
    if len(feeds) > CATEGORIES_MAX:
        raise InputError(f"{path} has {len(feeds)} categories, {CATEGORIES_MAX} at most; split the calendar")
    if not feeds:
        feeds = {path.stem: set()}
    return tuple(event_feed(name, feeds[name], span_seconds=span) for name in sorted(feeds))


def _parsed(path: Path) -> list[Any]:
    """Return the calendars of a file.

    Raises:
        InputError: it holds none, or too many entries, or what repeats too often.

    """
    try:
        from icalendar import Calendar
    except ModuleNotFoundError as error:
        raise InputError("calendars need the extra 'feeds'; pip install 'tidegate[feeds]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of icalendar, on what it mends
            calendars: list[Any] = list(Calendar.from_ical(path.read_bytes(), multiple=True))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is no iCalendar file ({reason}); export it again") from error
    entries = [entry for calendar in calendars for entry in calendar.walk("VEVENT")]
    if not any(calendar.name == "VCALENDAR" for calendar in calendars):
        raise InputError(f"{path} holds no calendar; export it again as iCalendar (.ics)")
    if len(entries) > ENTRIES_MAX:
        raise InputError(f"{path} has {len(entries)} entries, {ENTRIES_MAX} at most; split the calendar")
    repeating = [entry for entry in entries if "RRULE" in entry]
    if len(repeating) > REPEATING_MAX:
        raise InputError(
            f"{path} has {len(repeating)} entries that repeat, {REPEATING_MAX} at most; split it"
        )
    for entry in repeating:
        rules = entry["RRULE"] if isinstance(entry["RRULE"], list) else [entry["RRULE"]]
        often = {str(freq).upper() for rule in rules for freq in rule.get("FREQ", [])} & _TOO_OFTEN
        if often:
            raise InputError(
                f"{path}: {_title(entry)} repeats {often.pop().lower()}; leave out what repeats within a day"
            )
    for entry in entries:
        _refuse_odd_times(entry, path)
    return calendars


def _refuse_odd_times(entry: Any, path: Path) -> None:  # noqa: ANN401 - icalendar
    """Refuse an entry that starts at no time from 1900 to 2199.

    Raises:
        InputError: it does.

    """
    start = getattr(entry.get("DTSTART"), "dt", None)
    if not isinstance(start, date) or not 1900 < start.year < 2199:
        raise InputError(f"{path}: {_title(entry)} has no start from 1901 to 2198; correct its DTSTART")


def _played(calendar: Any, span: tuple[int, int], path: Path) -> list[Any]:  # noqa: ANN401 - icalendar
    """Return the entries of a calendar as often as they occur in the span, perhaps some twice.

    Raises:
        InputError: a rule can't be played, or there are too many.

    """
    import recurring_ical_events

    found: list[Any] = []
    begin, end = (datetime.fromtimestamp(second, tz=UTC) for second in span)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of dateutil, on zones
            query = recurring_ical_events.of(calendar)
            while begin < end and len(found) <= OCCURRENCES_MAX:
                until = min(begin + timedelta(days=DAYS_AT_ONCE), end)
                found += query.between(begin, until)
                begin = until
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} holds an entry that can't be played ({reason}); correct it") from error
    return found


def _occurrence(entry: Any, zone: ZoneInfo, path: Path) -> Occurrence | None:  # noqa: ANN401 - icalendar
    """Return one entry once; None if it is cancelled, takes no time, or is transparent.

    Raises:
        InputError: its times are outside 1900 to 2199.

    """
    if str(entry.get("STATUS", "")).upper() == "CANCELLED":
        return None
    if str(entry.get("TRANSP", "")).upper() == "TRANSPARENT":
        return None
    start = _seconds(entry.start, zone)
    end = _seconds(entry.end, zone)
    if not EARLIEST_SECONDS <= start < end < LATEST_SECONDS:
        if end <= start:
            return None
        raise InputError(f"{path}: {_title(entry)} is not within 1900 to 2199; correct its times")
    stamp = entry.get("CREATED") or entry.get("DTSTAMP")
    when = getattr(stamp, "dt", None)
    issued = LONG_AGO_SECONDS if when is None else _seconds(when, zone)
    return Occurrence(start_seconds=start, end_seconds=end, issued_seconds=issued)


def _seconds(when: date, zone: ZoneInfo) -> int:
    """Return a time, or the first second of a day, in seconds since 1970 UTC."""
    if isinstance(when, datetime):
        return seconds_of(when, zone=zone)
    return seconds_of(datetime(when.year, when.month, when.day), zone=zone)  # noqa: DTZ001 - zone is given


def _category(entry: Any) -> str | None:  # noqa: ANN401 - icalendar
    """Return the first category of an entry."""
    said = entry.get("CATEGORIES")
    if said is None:
        return None
    first = said[0] if isinstance(said, list) else said
    names = [str(name).strip() for name in getattr(first, "cats", [first])]
    return next((name for name in names if name), None)


def _title(entry: Any) -> str:  # noqa: ANN401 - icalendar
    return repr(str(entry.get("SUMMARY", "an entry without SUMMARY"))[:60])
