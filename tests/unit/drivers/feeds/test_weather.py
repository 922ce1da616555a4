"""Weather as Open-Meteo and tables tell it."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest

from tidegate.drivers.feeds.weather import read_weather
from tidegate.model.errors import InputError
from tidegate.model.feed import FeedKind

MIDNIGHT = 1_767_225_600  # 2026-01-01T00:00:00Z
HOUR = 3_600


def answer(**changed):
    """One place as Open-Meteo answers for it."""
    told = {
        "latitude": 52.52,
        "longitude": 13.419998,
        "generationtime_ms": 0.05,
        "utc_offset_seconds": 3600,
        "timezone": "Europe/Berlin",
        "timezone_abbreviation": "CET",
        "elevation": 38.0,
        "hourly_units": {"time": "iso8601", "temperature_2m": "°C", "rain": "mm"},
        "hourly": {
            "time": [f"2026-01-01T{hour:02}:00" for hour in range(4)],
            "temperature_2m": [1.5, 2.0, None, 3.5],
            "rain": [0.0, 0.1, 0.2, 0.0],
        },
    }
    return told | changed


@pytest.fixture
def write(tmp_path):
    def written(told, name="weather.json"):
        path = tmp_path / name
        path.write_text(told if isinstance(told, str) else json.dumps(told))
        return path

    return written


def test_local_times_become_utc_and_null_is_left_out(write):
    temperature, rain = read_weather(write(answer()))
    assert (temperature.name, rain.name) == ("temperature_2m", "rain")
    assert temperature.kind is FeedKind.WEATHER
    assert temperature.valid_seconds.tolist() == [MIDNIGHT + HOUR * at for at in (-1, 0, 2)]
    assert temperature.values.tolist() == [1.5, 2.0, 3.5]
    assert rain.holds_seconds == 3 * HOUR


def test_measured_values_are_known_when_they_hold(write):
    temperature, _ = read_weather(write(answer()))
    assert np.array_equal(temperature.issued_seconds, temperature.valid_seconds)
    assert math.isnan(temperature.as_known(MIDNIGHT - HOUR - 1, np.array([MIDNIGHT]))[0])


@pytest.mark.parametrize("inside", [True, False])
def test_a_forecast_is_known_since_its_issue_and_what_lies_before_it_was_measured(write, inside):
    told = answer(issued="2026-01-01T00:30:00Z") if inside else answer()
    given = None if inside else MIDNIGHT + HOUR // 2
    _, rain = read_weather(write(told), issued_seconds=given)
    issued = [MIDNIGHT - HOUR, MIDNIGHT, MIDNIGHT + HOUR // 2, MIDNIGHT + HOUR // 2]
    assert rain.issued_seconds.tolist() == issued


def test_unix_times_are_utc_already(write):
    told = answer()
    told["hourly"]["time"] = [MIDNIGHT + HOUR * at for at in range(4)]
    assert read_weather(write(told))[1].valid_seconds[0] == MIDNIGHT


def test_earlier_runs_are_what_was_known_days_before(write):
    told = answer(utc_offset_seconds=0)
    told["hourly"] |= {"rain_previous_day1": [9.0, 9.1, 9.2, 9.3]}
    rain = next(feed for feed in read_weather(write(told)) if feed.name == "rain")
    at = np.array([MIDNIGHT + HOUR])
    assert rain.as_known(MIDNIGHT, at)[0] == pytest.approx(9.1)
    assert rain.as_known(MIDNIGHT + HOUR, at)[0] == pytest.approx(0.1)


def test_several_places_keep_their_names(write):
    feeds = read_weather(write([answer(), answer(latitude=48.1, longitude=11.6)]))
    assert [feed.name for feed in feeds] == [
        "52.52,13.42/temperature_2m", "52.52,13.42/rain", "48.1,11.6/temperature_2m", "48.1,11.6/rain",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ([], "holds no value"),
        ([7], "no answer of Open-Meteo but int"),
        ({"error": True, "reason": "Cannot initialize"}, r"error of Open-Meteo \(Cannot initialize\)"),
        ({"latitude": 1}, "no hourly times"),
        (
            answer(hourly={"time": ["2026-01-01T00:00"], "rain": [1, 2]}),
            "rain has no value for each of the 1",
        ),
        (answer(hourly={"time": ["yesterday"], "rain": [1]}), "time 1 is 'yesterday'"),
        (answer(hourly={"time": [None], "rain": [1]}), "time 1 is 'None'"),
        (answer(hourly={"time": [10**15], "rain": [1]}), "no time from 1900 to 2199"),
        (answer(hourly={"time": ["2026-01-01T00:00"], "rain": ["x", 1][:1] and [True]}), "no number"),
        (answer(hourly={"time": ["2026-01-01T00:00"], "rain": [1e31]}), "no number"),
        (answer(hourly={"time": ["2026-01-01T00:00"], "rain": [None]}), "holds no value"),
        (answer(utc_offset_seconds=10**9), "no offset of a time zone"),
        (answer(utc_offset_seconds="CET"), "no offset of a time zone"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(write, told, said):
    with pytest.raises(InputError, match=said):
        read_weather(write(told))


def test_a_table_of_stations(tmp_path):
    path = tmp_path / "weather.parquet"
    pl.DataFrame({
        "origin": ["EWR", "EWR", "JFK"], "year": [2013] * 3, "temp": [39.0, None, 41.0],
        "sky": ["clear", "fog", "fog"], "time_hour": ["2013-01-01T06:00:00Z", "2013-01-01T07:00:00Z"] * 1
        + ["2013-01-01T06:00:00Z"],
    }).write_parquet(path)  # fmt: skip
    assert [(feed.name, feed.values.tolist()) for feed in read_weather(path)] == [
        ("EWR/temp", [39.0]),
        ("JFK/temp", [41.0]),
    ]


def test_a_table_says_when_each_value_was_issued(write):
    rows = "time,issued,temp\n2026-01-01 06:00,2026-01-01,5\n2026-01-01 06:00,2026-01-01T06:00Z,7\n"
    (temp,) = read_weather(write(rows, "weather.csv"))
    six = np.array([MIDNIGHT + 6 * HOUR])
    assert temp.as_known(MIDNIGHT, six)[0] == 5
    assert temp.as_known(MIDNIGHT + 6 * HOUR, six)[0] == 7


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("", "can't be read as csv"),
        ("time,temp\n", "has no rows"),
        ("when,temp\n2026-01-01,1\n", "no column time or"),
        ("time,temp\n2026-01-01T00:00Z,1\n2026-13-01T00:00Z,2\n", "row 2, column time: this is no time"),
        (
            "time,temp\n2026-01-01T00:00Z,1\n\n2026-01-01T01:00Z,warm\n",
            "row 3, column temp: this is no number",
        ),
        ("time,temp\n2026-01-01T00:00Z,inf\n", "row 1, column temp: the number is outside"),
        ("time,temp\n2026-01-01T00:00Z,NaN\n", "holds no value"),
        ("time,temp,issued\n2026-01-01T00:00Z,1,\n", "row 1, column issued"),
        ("time,temp\n1767225600000,1\n", "row 1, column time"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(write, rows, said):
    with pytest.raises(InputError, match=said):
        read_weather(write(rows, "weather.csv"))


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_weather(tmp_path / "none.json")


@pytest.mark.shared
def test_the_stations_of_new_york(shared_traces):
    feeds = read_weather(shared_traces / "weather/nyc-2013-hourly.parquet")
    assert len(feeds) == 27
    temp = next(feed for feed in feeds if feed.name == "JFK/temp")
    assert temp.values.size > 8_700
    assert temp.holds_seconds == 3 * HOUR
