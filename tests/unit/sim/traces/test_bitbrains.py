from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from tidegate.model.errors import InputError
from tidegate.sim.traces import import_bitbrains

HEADER = (
    "Timestamp [ms];\tCPU cores;\tCPU capacity provisioned [MHZ];\tCPU usage [MHZ];\tCPU usage [%];\t"
    "Memory capacity provisioned [KB];\tMemory usage [KB];\tDisk read throughput [KB/s];\t"
    "Disk write throughput [KB/s];\tNetwork received throughput [KB/s];\t"
    "Network transmitted throughput [KB/s]"
)


def line(time: float, *, cores=2, capacity=5852.0, usage=2926.0, memory=1024.0) -> str:
    fields = [time, cores, capacity, usage, 50.0, 2048.0, memory, 1.0, 2.0, 3.5, 4.0]
    return ";\t".join(str(one) for one in fields)


def archive(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        (folder / f"{name.removeprefix('vm')}.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    return folder


def test_units_become_base_units(tmp_path):
    rows = import_bitbrains(archive(tmp_path, vm7=[line(1_375_308_176)]))
    assert rows.row(0, named=True) == {
        "time": datetime(2013, 7, 31, 22, 2, 56, tzinfo=UTC),
        "vm": "bb007",
        "cpu_cores_used": 1.0,
        "cpu_cores_capacity": 2.0,
        "memory_bytes_used": 1024**2,
        "memory_bytes_capacity": 2 * 1024**2,
        "disk_read_bytes_per_second": 1024.0,
        "disk_write_bytes_per_second": 2048.0,
        "network_receive_bytes_per_second": 3584.0,
        "network_transmit_bytes_per_second": 4096.0,
    }


def test_milliseconds_as_the_header_says_are_understood_too(tmp_path):
    rows = import_bitbrains(archive(tmp_path, vm1=[line(1_375_308_176), line(1_375_308_476_000)]))
    assert rows["time"].diff().drop_nulls().dt.total_seconds().to_list() == [300]


def test_usage_may_exceed_capacity_and_without_capacity_is_missing(tmp_path):
    rows = import_bitbrains(
        archive(tmp_path, vm1=[line(0, usage=6437.2), line(300, cores=0, capacity=0.0, usage=0.0)])
    )
    assert rows["cpu_cores_used"].to_list() == [pytest.approx(2.2), None]


def test_months_continue_and_doubles_keep_the_last(tmp_path):
    archive(tmp_path / "rnd/2013-7", vm12=[line(600), line(900, usage=0.0)], vm2=[line(600)])
    archive(tmp_path / "rnd/2013-8", vm12=[line(1200), line(900)])
    told = []
    rows = import_bitbrains(tmp_path / "rnd", lambda done, total: told.append((done, total)))
    assert rows["vm"].to_list() == ["bb002", "bb012", "bb012", "bb012"]
    assert rows["cpu_cores_used"].to_list() == [1.0] * 4
    assert rows["time"].dt.epoch("s").to_list() == [600, 600, 900, 1200]
    assert told[-1] == (3, 3)


def test_archives_that_number_vms_alike_are_not_mixed(tmp_path):
    archive(tmp_path / "rnd/2013-7", vm1=[line(0)])
    archive(tmp_path / "fastStorage/2013-8", vm1=[line(0)])
    with pytest.raises(InputError, match="import each by itself"):
        import_bitbrains(tmp_path)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("1;2;3", r"1\.csv, line 3: 3 values where GWA-T-12 has 11"),
        (line(300).replace("2926.0", "much"), r"1\.csv, line 3: the CPU usage in MHz is '.*much'"),
        (line(300, memory=-1.0), r"1\.csv, line 3: the memory usage in KB is"),
        (line(300, usage=float("nan")), r"1\.csv, line 3: the CPU usage"),
    ],
)
def test_a_bad_line_is_named(tmp_path, bad, said):
    with pytest.raises(InputError, match=said):
        import_bitbrains(archive(tmp_path, vm1=[line(0), bad]))


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(InputError, match="no file named like"):
        import_bitbrains(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        import_bitbrains(tmp_path / "none")


@pytest.mark.shared
def test_the_real_files_convert_to_the_real_rows(shared_traces):
    rows = import_bitbrains(shared_traces / "bitbrains/raw")
    expected = (
        pl.scan_parquet(shared_traces / "bitbrains/2013-08-vms-001-250.parquet")
        .with_columns(pl.col("vm").cast(pl.String))
        .filter(pl.col("vm").is_in(rows["vm"].unique().to_list()))
        .collect()
    )
    assert rows["vm"].n_unique() == 12
    assert rows.equals(expected)
