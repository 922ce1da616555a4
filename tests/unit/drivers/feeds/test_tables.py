"""Links and named series, and the front door to all feeds."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tidegate.drivers.feeds import read_feeds
from tidegate.drivers.feeds import table as tables
from tidegate.drivers.feeds.network import read_network
from tidegate.drivers.feeds.series import read_series
from tidegate.model.errors import InputError
from tidegate.model.feed import FeedKind

MIDNIGHT = 1_767_225_600  # 2026-01-01T00:00:00Z


@pytest.fixture
def write(tmp_path):
    def written(text, name):
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


def test_a_series_has_the_name_of_its_file(write):
    (feed,) = read_series(
        write("time,value\n2026-01-01T00:00:00+01:00,-2.5\n1.1.,\n"[:41] + "\n", "queue.csv")
    )
    assert (feed.name, feed.kind, feed.vms) == ("queue", FeedKind.SERIES, None)
    assert feed.valid_seconds.tolist() == [MIDNIGHT - 3_600]
    assert feed.values.tolist() == [-2.5]


def test_names_and_vms_part_series(tmp_path):
    path = tmp_path / "s.parquet"
    pl.DataFrame({
        "time": pl.Series([0, 0, 60, 60, 120], dtype=pl.Int64) + MIDNIGHT,
        "name": ["a", "b", "a", "b", "a"], "vm": ["x", "x", "x", "x", "y"], "value": [1, 2, 3, 4, 5],
    }).write_parquet(path)  # fmt: skip
    feeds = read_series(path)
    assert [(feed.name, feed.vms, feed.values.tolist()) for feed in feeds] == [
        ("a", ("x",), [1, 3]), ("a", ("y",), [5]), ("b", ("x",), [2, 4]),
    ]  # fmt: skip
    assert feeds[0].holds_seconds == 3 * 60


def test_of_two_values_for_one_time_the_last_row_counts(write):
    (feed,) = read_series(write("time,value\n2026-01-01,1\n2026-01-01,2\n", "q.csv"))
    assert feed.as_known(MIDNIGHT, np.array([MIDNIGHT]))[0] == 2


def test_rows_are_bounded(write, monkeypatch):
    monkeypatch.setattr(tables, "ROWS_MAX", 2)
    with pytest.raises(InputError, match="more than 2 rows"):
        read_series(write("time,value\n" + "2026-01-01,1\n" * 3, "q.csv"))


def test_bytes_are_bounded(write, monkeypatch):
    monkeypatch.setattr(tables, "BYTES_MAX", 10)
    with pytest.raises(InputError, match="10 at most"):
        read_series(write("time,value\n2026-01-01,1\n", "q.csv"))


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("time\n2026-01-01\n", "q.csv", "no column value"),
        ("time,value\n2026-01-01,1\n", "q.txt", "is no .parquet or"),
        ("not parquet", "q.parquet", "can't be read as parquet"),
        ("time,value\n2026-01-01,1,2\n", "q.csv", "can't be read as csv"),
        ("time,value\n0001-01-01,1\n", "q.csv", "outside the years 1900 to 2199"),
        ("time,value\n2026-01-01,1e31\n", "q.csv", "row 1, column value: the number is outside"),
    ],
)
def test_what_is_wrong_with_a_series_is_said(write, text, name, said):
    with pytest.raises(InputError, match=said):
        read_series(write(text, name))


def test_links_have_measures(write):
    rows = "time,link,latency_seconds,loss_ratio\n2026-01-01,a-b,0.01,0\n2026-01-01,b-c,0.2,\n"
    feeds = read_network(write(rows, "links.csv"))
    assert [(feed.name, feed.values.tolist()) for feed in feeds] == [
        ("a-b/latency_seconds", [np.float32(0.01)]),
        ("a-b/loss_ratio", [0]),
        ("b-c/latency_seconds", [np.float32(0.2)]),
    ]
    assert all(feed.kind is FeedKind.NETWORK for feed in feeds)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("time,link\n2026-01-01,a\n", "tells nothing of its links"),
        ("time,link,loss_ratio\n2026-01-01,a,1.5\n", "column loss_ratio: the number is outside 0 to 1"),
        ("time,link,latency_seconds\n2026-01-01,a,-1\n", "column latency_seconds: the number is outside 0"),
        ("time,link,latency_seconds\n2026-01-01,,1\n", "column link: the name is missing"),
    ],
)
def test_what_is_wrong_with_links_is_said(write, rows, said):
    with pytest.raises(InputError, match=said):
        read_network(write(rows, "links.csv"))


def test_the_front_door_reads_every_kind(write):
    table = write("time,value\n2026-01-01,1\n", "a,b=c.csv")
    assert read_feeds(f"series={table}")[0].name == "a,b=c"
    weather = write("time,temp\n2026-01-01T06:00Z,1\n", "w.csv")
    (feed,) = read_feeds(f"weather={weather},issued=2026-01-01")
    assert feed.issued_seconds.tolist() == [MIDNIGHT]
    events = write("start\n2026-01-01\n", "e.csv")
    assert read_feeds(f"events={events},zone=Asia/Tokyo")[0].valid_seconds[1] == MIDNIGHT - 9 * 3_600
    (feed,) = read_feeds("holidays=US,years=2026")
    assert MIDNIGHT in feed.valid_seconds
    assert feed.valid_seconds.max() == MIDNIGHT + 365 * 86_400
    links = write("time,link,loss_ratio\n2026-01-01,a,0\n", "l.csv")
    assert read_feeds(f"network={links}")[0].name == "a/loss_ratio"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("", "names no feed"),
        ("weather", "names no feed"),
        ("weather=", "names no feed"),
        ("moon=x.csv", "names no feed; write one of weather, events"),
        ("series=x.csv,zone=UTC", "series takes no zone="),
        ("holidays=US,years=2026,years=2027", "said twice"),
        ("holidays=US,years=soon", "are no years"),
        ("weather=x.json,issued=soon", "is no time"),
        ("holidays=US,zone=Nowhere", "no time zone 'Nowhere'"),
    ],
)
def test_what_names_no_feed_is_said(spec, said):
    with pytest.raises(InputError, match=said):
        read_feeds(spec)
