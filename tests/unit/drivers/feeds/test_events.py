"""Events from calendars, tables and the holidays of countries and markets."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.drivers.feeds.events import read_events
from tidegate.drivers.feeds.ical import read_ical
from tidegate.drivers.feeds.occurrences import LONG_AGO_SECONDS, Occurrence, event_feed
from tidegate.drivers.feeds.public_holidays import read_holidays
from tidegate.model.errors import InputError

YEARS = (2024, 2025)
BERLIN = ZoneInfo("Europe/Berlin")


def second(*when, zone=UTC):
    return int(datetime(*when, tzinfo=zone).timestamp())


def at(feed, *when, zone=UTC, now=None):
    """The value at a time, as known then or at another time."""
    time = second(*when, zone=zone)
    return float(feed.as_known(time if now is None else now, np.array([time]))[0])


def calendar(*entries, head=""):
    body = "".join(
        f"BEGIN:VEVENT\r\nUID:{number}\r\n{entry}\r\nEND:VEVENT\r\n" for number, entry in enumerate(entries)
    )
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:t\r\n{head}{body}END:VCALENDAR\r\n"


@pytest.fixture
def write(tmp_path):
    def written(text, name="team.ics"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


WEEKLY = (
    "DTSTAMP:20240101T000000Z\r\nDTSTART;TZID=Europe/Berlin:20240304T090000\r\n"
    "DTEND;TZID=Europe/Berlin:20240304T100000\r\nRRULE:FREQ=WEEKLY;COUNT=8\r\nSUMMARY:Batch"
)


def test_what_repeats_keeps_its_hour_over_daylight_saving(write):
    (feed,) = read_ical(write(calendar(WEEKLY)), years=YEARS)
    assert feed.name == "team"
    for day in ((2024, 3, 25), (2024, 4, 1)):
        assert [at(feed, *day, 8, 59, zone=BERLIN), at(feed, *day, 9, zone=BERLIN)] == [0, 1]
        assert at(feed, *day, 10, zone=BERLIN) == 0
    assert at(feed, 2024, 4, 29, 9, zone=BERLIN) == 0  # after the eighth


def test_an_entry_is_unknown_before_it_was_created(write):
    made = WEEKLY + "\r\nCREATED:20240310T000000Z"
    (feed,) = read_ical(write(calendar(made)), years=YEARS)
    asked = (2024, 3, 18, 9, 30)
    assert at(feed, *asked, zone=BERLIN, now=second(2024, 3, 9)) == 0
    assert at(feed, *asked, zone=BERLIN, now=second(2024, 3, 10)) == 1


def test_whole_days_are_days_of_the_calendars_zone(write):
    entry = "DTSTART;VALUE=DATE:20240501\r\nSUMMARY:Off"
    (feed,) = read_ical(write(calendar(entry, head="X-WR-TIMEZONE:Europe/Berlin\r\n")), years=YEARS)
    assert [at(feed, 2024, 4, 30, 21, 59), at(feed, 2024, 4, 30, 22), at(feed, 2024, 5, 1, 22)] == [0, 1, 0]
    (feed,) = read_ical(write(calendar(entry)), zone="America/New_York", years=YEARS)
    assert [at(feed, 2024, 5, 1, 3, 59), at(feed, 2024, 5, 1, 4)] == [0, 1]


def test_categories_are_feeds_and_what_takes_no_time_is_left_out(write):
    sale = "DTSTART:20240601T000000Z\r\nDTEND:20240601T120000Z\r\nCATEGORIES:Sale,Web"
    gone = sale.replace("0601", "0602") + "\r\nSTATUS:CANCELLED"
    free = sale.replace("0601", "0603") + "\r\nTRANSP:TRANSPARENT"
    feeds = read_ical(write(calendar(WEEKLY, sale, gone, free)), years=YEARS)
    assert [feed.name for feed in feeds] == ["Sale", "team"]
    assert [at(feeds[0], 2024, 6, day, 6) for day in (1, 2, 3)] == [1, 0, 0]


def test_nothing_is_known_outside_the_years(write):
    (feed,) = read_ical(write(calendar(WEEKLY)), years=YEARS)
    assert math.isnan(at(feed, 2023, 12, 31))
    assert at(feed, 2025, 2, 1) == 0
    assert math.isnan(at(feed, 2026, 1, 1))


def test_an_empty_calendar_says_that_nothing_is_on(write):
    (feed,) = read_ical(write(calendar()), years=YEARS)
    assert at(feed, 2024, 6, 1) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no calendar|no iCalendar"),
        ("hello", "no calendar|no iCalendar"),
        (b"\xff\xfe\x00", "no calendar|no iCalendar"),
        ("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n", "no calendar|no iCalendar"),
        (calendar(WEEKLY.replace("WEEKLY", "SECONDLY")), "'Batch' repeats secondly"),
        (calendar(WEEKLY.replace("FREQ=WEEKLY", "FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30")), "repeats hourly"),
        (calendar("SUMMARY:Never"), "'Never' has no start"),
        (calendar("DTSTART:02240601T000000Z\r\nSUMMARY:Old"), "'Old' has no start from 1901"),
        (calendar(head="X-WR-TIMEZONE:Mars/Olympus\r\n"), "no time zone 'Mars/Olympus'"),
        (calendar(*[WEEKLY] * 1_001), "1001 entries that repeat"),
    ],
)
def test_what_is_wrong_with_a_calendar_is_said(write, text, said):
    with pytest.raises(InputError, match=said):
        read_ical(write(text), years=YEARS)


@pytest.mark.parametrize("years", [(2025, 2024), (1800, 1801), (2000, 2100)])
def test_years_are_bounded(write, years):
    with pytest.raises(InputError, match="no span"):
        read_ical(write(calendar(WEEKLY)), years=years)


def test_a_table_of_events(write):
    rows = (
        "start,end,name,value,issued\n2024-05-01,2024-05-02,fair,2,2024-04-01\n"
        "2024-06-01T08:00:00+02:00,2024-06-01T09:00:00,match,1,2024-04-01\n"
    )
    fair, match = read_events(write(rows, "known.csv"))
    assert (fair.name, match.name) == ("fair", "match")
    assert [at(fair, 2024, 5, day) for day in (1, 2, 3)] == [2, 2, 0]
    assert at(fair, 2024, 5, 1, now=second(2024, 3, 31)) == 0
    assert [at(match, 2024, 6, 1, hour) for hour in (5, 6, 8, 9)] == [0, 1, 1, 0]


def test_a_day_without_an_end_is_that_day_in_the_zone(write):
    (feed,) = read_events(write("start\n2024-05-01\n", "known.csv"), zone="Asia/Tokyo")
    assert feed.name == "known"
    assert [at(feed, 2024, 4, 30, 15), at(feed, 2024, 5, 1, 15)] == [1, 0]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("begin\n2024-05-01\n", "no column start"),
        ("start,end\n2024-05-02,2024-05-01\n", "row 1, column end: the event ends before"),
        ("start,end\n2024-05-02T10:00Z,\n", "row 1, column end: an event that starts at a time"),
        ("start\n2024-05-01\nsoon\n", "row 2, column start: 'soon' is no time"),
        ("start\n9999-12-31\n", "no time from 1900 to 2199"),
        ("start,value\n2024-05-01,\n", "row 1, column value: the value is missing"),
        ("start,name\n2024-05-01,\n", "row 1, column name: the name is missing"),
        ("start,name\n" + "".join(f"2024-05-01,n{at}\n" for at in range(65)), "names 65 series, 64 at most"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(write, rows, said):
    with pytest.raises(InputError, match=said):
        read_events(write(rows, "known.csv"))


def test_an_unknown_zone_is_said(write):
    with pytest.raises(InputError, match=r"no time zone '\.\./etc'"):
        read_events(write("start\n2024-05-01\n", "known.csv"), zone="../etc")


def test_holidays_of_a_country_a_state_and_a_market():
    (feed,) = read_holidays("US", zone="America/New_York", years=YEARS)
    assert feed.name == "holidays/US"
    assert (feed.issued_seconds == LONG_AGO_SECONDS).all()
    assert [at(feed, 2024, 7, 4, hour) for hour in (3, 4)] == [0, 1]
    assert at(feed, 2024, 11, 11, 12) == 1
    (market,) = read_holidays("XNYS", years=YEARS)
    assert [at(market, 2024, 11, day, 12) for day in (11, 28)] == [0, 1]
    (state,) = read_holidays("DE-BY", years=YEARS)
    assert at(state, 2024, 1, 6) == 1


@pytest.mark.parametrize("place", ["", "XX", "US-ZZ", "us", "US-NY-../x", "A" * 1_000])
def test_unknown_places_are_said(place):
    with pytest.raises(InputError, match="no holidays are known of"):
        read_holidays(place, years=YEARS)


def naive(events, now, time):
    known = [event for event in events if event.issued_seconds <= now]
    return max((e.value for e in known if e.start_seconds <= time < e.end_seconds), default=0.0)


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 9), st.integers(-5, 30), st.sampled_from([1.0, 2.0])),
        min_size=1,
        max_size=8,
    )
)
def test_events_that_overlap_and_become_known_late_are_as_a_plain_loop_has_them(drawn):
    events = [
        Occurrence(start_seconds=start, end_seconds=start + length, issued_seconds=issued, value=value)
        for start, length, issued, value in drawn
    ]
    feed = event_feed("e", events, span_seconds=(-10, 100))
    times = np.arange(-3, 42)
    for now in range(-6, 32):
        wanted = [naive(events, now, int(time)) for time in times]
        assert feed.as_known(now, times).tolist() == wanted
