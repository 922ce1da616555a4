"""Files that nobody means to give, and everybody gives in the end."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from tidegate.lab.trace_files import import_trace
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.sim.traces import load_trace, write_trace
from tidegate.sim.traces.strays import find_stray

START = datetime(2026, 1, 1, tzinfo=UTC)
CPU = [Resource.CPU]
DAY = 86_400


def frame(count=40, **columns):
    rows = {
        "time": [START + timedelta(seconds=300 * at) for at in range(count)],
        "vm": ["a"] * count,
        "cpu_cores_used": [1.0] * count,
        "cpu_cores_capacity": [2.0] * count,
    }
    return pl.DataFrame(rows | columns)


@pytest.mark.parametrize(
    "name", ["a[1].parquet", "star*.parquet", "q?.csv", "{x}.csv", "UP.PARQUET", "C.CSV"]
)
def test_names_are_read_as_they_are(name, tmp_path):
    for file in (name, "a1.parquet", "star2.parquet"):
        path = tmp_path / file
        rows = frame(vm=[file] * 40)
        rows.write_csv(path) if file.lower().endswith(".csv") else rows.write_parquet(path)
    loaded = load_trace([tmp_path / name], resources=CPU)
    assert loaded.vms == (name,)
    assert loaded.name == name.rpartition(".")[0]


def test_a_name_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / os.fsdecode(b"\xe9.parquet")
    path.write_bytes(b"")
    for given in (path, tmp_path):
        with pytest.raises(InputError, match="not UTF-8"):
            load_trace([given], resources=CPU)


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("value", [2**62, -(2**62)])
def test_a_time_beyond_all_years_is_refused_before_it_overflows(unit, value, tmp_path):
    ticks = frame()["time"].dt.epoch(unit).to_list()
    ticks[6] = value * (1 if unit != "ns" else 2) - (1 if value > 0 else 0)
    frame(time=pl.Series(ticks).cast(pl.Datetime(unit, "UTC"))).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"x\.parquet: row 7, column time: the time is outside"):
        load_trace([tmp_path / "x.parquet"], resources=CPU)


def test_one_old_date_is_named(tmp_path):
    times = frame()["time"].to_list()
    times[6] = datetime(1970, 1, 1, tzinfo=UTC)
    frame(time=times).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="row 7, column time: 1970-01-01T00:00:00Z lies 20,454 days"):
        load_trace([tmp_path / "x.parquet"], resources=CPU)


@pytest.mark.parametrize(
    ("days", "samples", "stray"),
    [(45, 288, False), (365, 288, True), (365, 8640, False), (50 * 365, 8640, True), (7, 12, False)],
)
def test_gaps_of_weeks_are_real_and_gaps_of_years_are_not(days, samples, stray):
    part = np.arange(samples) * 300 * 1_000_000
    time_us = np.concatenate([part, part + days * DAY * 1_000_000 + part[-1]])
    assert (find_stray(time_us, step_seconds=300) is not None) is stray


def test_numbers_too_large_and_rows_without_usage_are_refused(tmp_path):
    path = tmp_path / "x.parquet"
    frame(cpu_cores_used=[1.0] * 39 + [1e39]).write_parquet(path)
    with pytest.raises(InputError, match="row 40, column cpu_cores_used: the number is too large"):
        load_trace([path], resources=CPU)
    frame(cpu_cores_used=pl.Series([None] * 40, dtype=pl.Float64)).write_parquet(path)
    with pytest.raises(InputError, match="no row has both usage and capacity of cpu"):
        load_trace([path], resources=CPU)


def test_whole_numbers_may_name_vms_and_servers(tmp_path):
    frame(vm=[7] * 40, server=[3] * 40).write_parquet(tmp_path / "x.parquet")
    loaded = load_trace([tmp_path / "x.parquet"], resources=CPU)
    assert (loaded.vms, loaded.servers) == (("7",), ("3",))


def lines_of(tmp_path, change):
    frame().write_csv(tmp_path / "x.csv")
    lines = (tmp_path / "x.csv").read_text().splitlines()
    change(lines)
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    return [tmp_path / "x.csv"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines.__setitem__(5, "2026-01-01T00:00:00Z,a"), "line 6: 2 values for 4 columns"),
        (lambda lines: lines.__setitem__(5, lines[5] + ",9"), "line 6: 5 values for 4 columns"),
        (lambda lines: lines.__setitem__(0, "time,vm,cpu_cores_used,cpu_cores_used"), "line 1: the column"),
        (lambda lines: (lines.insert(2, ""), lines.__setitem__(6, "x,a,1,2")), "row 6, column time"),
    ],
)
def test_a_wrong_line_is_named(change, said, tmp_path):
    with pytest.raises(InputError, match=said):
        load_trace(lines_of(tmp_path, change), resources=CPU)


def test_blank_lines_say_nothing(tmp_path):
    whole = load_trace(lines_of(tmp_path, lambda _: None), resources=CPU)
    blank = load_trace(
        lines_of(tmp_path, lambda lines: (lines.insert(5, ""), lines.extend(["", ""]))), resources=CPU
    )
    assert np.array_equal(whole.used, blank.used)


BITBRAINS = "1376314846;4;11703;100;8;67108864;6129274;0;0;1;2\n"
READINGS = "0,vmA,1,50,10\n300,vmA,1,50,20\n"
TABLE = "vmA,s,d,0,100,90,10,80,Unknown,4,7\n"


def prometheus(value="1", at=1704067200, name="libvirt_domain_info_virtual_cpus"):
    series = {"metric": {"__name__": name, "domain": "v"}, "values": [[at, value]]}
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [series]}})


@pytest.mark.parametrize(
    ("kind", "files", "said"),
    [
        ("bitbrains", {"1.csv": ""}, "holds no samples"),
        ("bitbrains", {"1.csv": BITBRAINS.replace("1376314846", "1e300")}, "line 1: the time is 1e300"),
        ("bitbrains", {"1.csv": BITBRAINS.replace("1376314846", "1e14")}, "after the year 2199"),
        ("bitbrains", {"1.csv": BITBRAINS.replace("6129274", "1e30")}, "too large"),
        ("azure2017", {"vmtable.csv": "", "vm_cpu_readings-file-1.csv": READINGS}, "is empty"),
        (
            "azure2017",
            {"vmtable.csv": TABLE.replace("vmA", "z"), "vm_cpu_readings-file-1.csv": READINGS},
            "none",
        ),
        (
            "azure2017",
            {"vmtable.csv": TABLE, "vm_cpu_readings-file-1.csv": READINGS.replace("300", "9" * 18)},
            "line 2: the timestamp",
        ),
        ("prometheus", {"a.json": prometheus("-2")}, "negative"),
        ("prometheus", {"a.json": prometheus(at=1e300)}, "1900 to 2199"),
        ("prometheus", {"a.json": prometheus()}, r"in has no column that says"),
        ("prometheus", {"a.json": prometheus().replace('"v"', '"\udce9"')}, "not UTF-8"),
    ],
)
def test_an_archive_that_cannot_be_true_is_refused_and_nothing_written(kind, files, said, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=said):
        import_trace(folder, tmp_path / "out.parquet", format_name=kind)
    assert not (tmp_path / "out.parquet").exists()


def test_a_link_stays_and_a_folder_is_refused_when_a_trace_is_written(tmp_path):
    (tmp_path / "link.parquet").symlink_to("real.parquet")
    write_trace(frame(), tmp_path / "link.parquet")
    assert (tmp_path / "link.parquet").is_symlink()
    (tmp_path / "d.parquet").mkdir()
    with pytest.raises(InputError, match="is no file"):
        write_trace(frame(), tmp_path / "d.parquet")
