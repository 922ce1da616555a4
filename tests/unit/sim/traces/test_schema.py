from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import polars as pl
import pytest

from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.sim.traces import schema

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def frame(**columns: list) -> pl.DataFrame:
    rows = {"time": [NOON, NOON], "vm": ["a", "b"]} | columns
    return pl.DataFrame(rows)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["vm", "cpu_cores_used", "cpu_cores_capacity"], "no column time"),
        (["time", "cpu_cores_used", "cpu_cores_capacity"], "no column vm"),
        (["time", "vm", "memory_bytes_capacity"], "what a VM used"),
        (["time", "vm", "cpu_cores_used"], "no column cpu_cores_capacity"),
        (["time", "vm", "memory_bytes_used", "cpu_cores_capacity"], "no column memory_bytes_capacity"),
    ],
)
def test_a_missing_column_is_named(names, said):
    with pytest.raises(InputError, match=said) as error:
        schema.check_names(names, source="x.parquet")
    assert str(error.value).startswith("x.parquet ")


def test_network_alone_is_a_trace():
    schema.check_names(["time", "vm", "network_receive_bytes_per_second"], source="x")


def test_resources_are_those_whose_usage_is_there():
    assert schema.resources_in(
        ["gpu_fraction_used", "disk_write_bytes_per_second", "cpu_cores_capacity"]
    ) == (
        Resource.GPU,
        Resource.STORAGE,
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.0, -0.5], "row 2, column cpu_cores_used: the number is negative"),
        ([-1, 3], "row 1, column cpu_cores_used: the number is negative"),
        ([float("inf"), 1.0], "row 1, column cpu_cores_used: the number is infinite"),
        ([1.0, float("-inf")], "row 2, column cpu_cores_used: the number is infinite"),
        (["1", "2"], "column cpu_cores_used holds String, not numbers"),
        ([True, False], "column cpu_cores_used holds Boolean, not numbers"),
    ],
)
def test_a_wrong_number_is_refused_with_its_place(values, said):
    with pytest.raises(InputError, match=said):
        schema.checked(frame(cpu_cores_used=values), schema.Where("x.parquet"))


def test_an_infinite_application_metric_is_refused():
    with pytest.raises(InputError, match="column app_requests_per_second"):
        schema.checked(frame(app_requests_per_second=[1.0, float("inf")]), schema.Where("x"))


def test_nan_and_null_are_both_missing():
    rows = schema.checked(frame(cpu_cores_used=[float("nan"), None]), schema.Where("x"))
    assert rows["cpu_cores_used"].null_count() == 2


def test_a_column_of_nulls_alone_is_a_column_of_numbers():
    assert (
        schema.checked(frame(cpu_cores_used=[None, None]), schema.Where("x")).schema["cpu_cores_used"]
        == pl.Float64
    )


def test_times_of_any_zone_become_utc():
    there = NOON.astimezone(timezone(timedelta(hours=2)))
    aware = pl.DataFrame({"time": [there]}).with_columns(pl.col("time").dt.convert_time_zone("Europe/Berlin"))
    naive = pl.DataFrame({"time": [NOON.replace(tzinfo=None)]})
    for rows in (aware, naive):
        assert schema.checked(rows, schema.Where("x"))["time"].to_list() == [NOON]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"time": [NOON, None]}, "row 2, column time: the time is missing"),
        ({"time": [1, 2]}, "column time holds Int64, not timestamps"),
        ({"vm": ["a", None]}, "row 2, column vm: the name is missing"),
        ({"vm": ["", "b"]}, "row 1, column vm: the name is missing"),
        ({"vm": [1.5, 2]}, "column vm holds Float64, not text"),
    ],
)
def test_rows_without_identity_are_refused(columns, said):
    with pytest.raises(InputError, match=said):
        schema.checked(frame(**columns), schema.Where("x"))


def test_the_page_names_every_column():
    page = Path(__file__).parents[4] / "docs/reference/traces.md"
    text = page.read_text("utf-8")
    for column in schema.NUMBERS:
        assert f"| `{column.name}` | {column.unit} | {column.meaning}" in text, column.name
