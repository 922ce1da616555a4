from __future__ import annotations

import gzip
from datetime import UTC, datetime

import pytest

from tidegate.model.errors import InputError
from tidegate.sim.traces import import_azure2017

VMS = (
    "vmA+/=,sub,dep,0,2591700,90.1,5.0,60.2,Delay-insensitive,4,7\nvmB,sub,dep,300,600,9,5,6,Unknown,1,1.75\n"
)
READINGS = "0,vmA+/=,1.0,50.0,25.0\n300,vmA+/=,1.0,60.0,30.0\n300,vmB,0.5,0.7,50\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "vmtable.csv").write_text(VMS)
    (tmp_path / "vm_cpu_readings-file-1-of-125.csv").write_text(READINGS)
    return tmp_path


def test_percentages_become_cores(folder):
    rows = import_azure2017(folder)
    assert rows.columns == ["time", "vm", "cpu_cores_used", "cpu_cores_capacity"]
    assert rows.rows() == [
        (datetime(2016, 11, 16, tzinfo=UTC), "vmA+/=", 1.0, 4.0),
        (datetime(2016, 11, 16, 0, 5, tzinfo=UTC), "vmA+/=", pytest.approx(1.2), 4.0),
        (datetime(2016, 11, 16, 0, 5, tzinfo=UTC), "vmB", 0.5, 1.0),
    ]


def test_folders_as_downloaded_with_packed_files_are_found(folder):
    for name in ("vmtable.csv", "vm_cpu_readings-file-1-of-125.csv"):
        plain = folder / name
        below = folder / "trace_data" / name.partition(".")[0]
        below.mkdir(parents=True)
        (below / f"{name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    (folder / "vm_cpu_readings-file-2-of-125.csv").write_text("600,vmA+/=,1,2,2.5\n")
    told = []
    assert import_azure2017(folder, lambda done, total: told.append((done, total))).height == 4
    assert told == [(1, 2), (2, 2)]


def test_one_file_of_readings_finds_the_table_beside_it(folder):
    assert import_azure2017(folder / "vm_cpu_readings-file-1-of-125.csv").height == 3


def test_a_vm_that_the_table_lacks_has_no_capacity(folder):
    (folder / "vmtable.csv").write_text(VMS.splitlines()[0] + "\n")
    rows = import_azure2017(folder)
    assert rows.filter(rows["vm"] == "vmB").row(0)[2:] == (None, None)


@pytest.mark.parametrize(
    ("readings", "said"),
    [
        ("0,vmA,1,2\n", "readings-file-1-of-125.csv, line 1: 4 values where"),
        (READINGS + "600,vmA,1,2,lots\n", "line 4: the avgcpu is 'lots'"),
        (READINGS + "600,vmA,1,2,-3\n", "line 4: the avgcpu is '-3'"),
        (READINGS + "600,vmA,1,2,\n", "line 4: the avgcpu is ''"),
        (READINGS + "600,vmA,1\n", "line 4: 3 values where"),
        (READINGS + "noon,vmA,1,2,3\n", "line 4: the timestamp is 'noon'"),
    ],
)
def test_a_bad_reading_is_named(folder, readings, said):
    (folder / "vm_cpu_readings-file-1-of-125.csv").write_text(readings)
    with pytest.raises(InputError, match=said):
        import_azure2017(folder)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (VMS + "vmC,sub\n", "vmtable.csv, line 3: 2 values where"),
        (VMS.replace(",4,7", ",four,7"), "vmtable.csv, line 1: the number of cores is 'four'"),
        (VMS.replace(",4,7", ",>24,7"), "2019"),
    ],
)
def test_a_bad_table_is_named(folder, table, said):
    (folder / "vmtable.csv").write_text(table)
    with pytest.raises(InputError, match=said):
        import_azure2017(folder)


def test_both_kinds_of_files_are_needed(folder):
    (folder / "vm_cpu_readings-file-1-of-125.csv").unlink()
    with pytest.raises(InputError, match="vm_cpu_readings"):
        import_azure2017(folder)
    (folder / "vmtable.csv").unlink()
    with pytest.raises(InputError, match=r"vmtable\.csv"):
        import_azure2017(folder)
