"""Application metrics and memory behaviour of a trace as feeds of its VMs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from tidegate.lab import trace_feeds as module
from tidegate.lab.trace_feeds import trace_feeds
from tidegate.model.errors import InputError
from tidegate.model.feed import FeedKind

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


def trace(path, **columns):
    """Two VMs, three samples each, the rows of the second before the first's."""
    base = {
        "time": [MIDNIGHT + timedelta(minutes=5 * at) for at in (2, 0, 1)] * 2,
        "vm": ["b"] * 3 + ["a"] * 3,
        "cpu_cores_used": [1.0] * 6,
        "cpu_cores_capacity": [4.0] * 6,
    }
    pl.DataFrame(base | columns).write_parquet(path)
    return path


def test_each_vm_has_its_own(tmp_path):
    path = trace(
        tmp_path / "t.parquet",
        app_queue_length=[3.0, 1.0, None, 6.0, 4.0, 5.0],
        swap_bytes_per_second=[None, None, None, 0.0, 0.0, 7.0],
    )
    feeds = trace_feeds([path])
    assert [(feed.name, feed.vms, feed.kind, feed.values.tolist()) for feed in feeds] == [
        ("app_queue_length", ("a",), FeedKind.APPLICATION, [4.0, 5.0, 6.0]),
        ("app_queue_length", ("b",), FeedKind.APPLICATION, [1.0, 3.0]),
        ("swap_bytes_per_second", ("a",), FeedKind.MEMORY, [0.0, 7.0, 0.0]),
    ]
    assert feeds[0].holds_seconds == 3 * 300
    assert (feeds[0].issued_seconds == feeds[0].valid_seconds).all()
    assert feeds[0].valid_seconds[0] == int(MIDNIGHT.timestamp())


def test_a_trace_without_any_has_none(tmp_path):
    assert trace_feeds([trace(tmp_path / "t.parquet")]) == ()


def test_feeds_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FEEDS_MAX", 1)
    with pytest.raises(InputError, match="2 series of app_x_ratio"):
        trace_feeds([trace(tmp_path / "t.parquet", app_x_ratio=[1.0] * 6)])
