from __future__ import annotations

import gzip
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.sim.traces import load, load_trace, read_rows

START = 1_767_225_600  # 2026-01-01 00:00 UTC
CPU = (Resource.CPU,)


def rows(*samples: tuple, **columns: list) -> pl.DataFrame:
    """Samples are (seconds after START, vm, used, capacity) of CPU."""
    return pl.DataFrame(
        {
            "time": [datetime.fromtimestamp(START + sample[0], tz=UTC) for sample in samples],
            "vm": [sample[1] for sample in samples],
            "cpu_cores_used": pl.Series([sample[2] for sample in samples], dtype=pl.Float64),
            "cpu_cores_capacity": pl.Series([sample[3] for sample in samples], dtype=pl.Float64),
            **columns,
        }
    )


@pytest.fixture
def write(tmp_path):
    def write(frame, name="x.parquet"):
        path = tmp_path / name
        frame.write_parquet(path)
        return path

    return write


def test_samples_go_to_their_slots_and_gaps_stay(write):
    path = write(
        rows(
            (4, "b", 1.0, 2.0),
            (301, "b", 1.5, 2.0),
            (902, "b", 0.5, 4.0),
            (1205, "b", 0.5, 4.0),
            (20, "a", 0.1, 1.0),
        )
    )
    trace = load_trace([path], resources=CPU)
    assert (trace.name, trace.start_seconds, trace.step_seconds) == ("x", START, 300)
    assert trace.vms == ("a", "b")
    assert trace.servers == ()
    assert trace.used.dtype == trace.capacity.dtype == np.float32
    used, capacity = trace.rows_of(Resource.CPU)
    np.testing.assert_array_equal(used[:, 1], np.float32([1.0, 1.5, np.nan, 0.5, 0.5]))
    np.testing.assert_array_equal(capacity[:, 1], np.float32([2.0, 2.0, np.nan, 4.0, 4.0]))
    np.testing.assert_array_equal(used[:, 0], np.float32([0.1] + [np.nan] * 4))


def test_the_slot_is_the_floor_of_utc_time(write):
    path = write(rows((299.9, "a", 1.0, 2.0), (300, "a", 2.0, 2.0), (600, "a", 1.0, 2.0)))
    trace = load_trace([path], resources=CPU, step_seconds=3600)
    assert trace.start_seconds == START
    trace = load_trace([path], resources=CPU, step_seconds=7)
    assert trace.start_seconds == (START + 299) // 7 * 7


def test_of_a_slot_the_last_by_time_stays_and_of_equal_times_the_last_row(write):
    first = write(rows((290, "a", 9.0, 9.0), (10, "a", 1.0, 9.0), (300, "a", 2.0, 9.0), (300, "a", 3.0, 9.0)))
    trace = load_trace([first], resources=CPU, step_seconds=300)
    assert trace.used[0, :, 0].tolist() == [9.0, 3.0]
    second = write(rows((300, "a", 4.0, 9.0)), "y.parquet")
    trace = load_trace([first, second], resources=CPU, step_seconds=300)
    assert trace.used[0, :, 0].tolist() == [9.0, 4.0]
    assert trace.name == "x+y"


def test_no_capacity_means_no_sample_and_never_any_no_vm(write):
    path = write(
        rows(
            (0, "a", 0.0, 0.0), (300, "a", 0.5, 1.0), (600, "a", 0.5, None), (900, "a", None, 1.0),
            (0, "ghost", 0.0, 0.0), (1200, "ghost", 0.3, float("nan")),
        )
    )  # fmt: skip
    trace = load_trace([path], resources=CPU)
    assert trace.vms == ("a",)
    assert trace.vms_without_capacity == 1
    np.testing.assert_array_equal(trace.used[0, :, 0], np.float32([np.nan, 0.5, np.nan, np.nan, np.nan]))
    np.testing.assert_array_equal(trace.capacity[0, :, 0], np.float32([np.nan, 1, np.nan, np.nan, np.nan]))


def test_usage_above_capacity_is_kept(write):
    trace = load_trace([write(rows((0, "a", 3.0, 2.0), (300, "a", 1.0, 2.0)))], resources=CPU)
    assert trace.used[0, 0, 0] == 3.0


def test_storage_adds_and_network_takes_the_busier_direction(write):
    path = write(
        rows(
            (0, "a", 0.5, 1.0), (300, "a", 0.5, 1.0), (600, "a", 0.0, 0.0),
            disk_read_bytes_per_second=[1.0, 2.0, 0.0],
            disk_write_bytes_per_second=[10.0, None, 0.0],
            network_receive_bytes_per_second=[5, 6, 0],
            network_transmit_bytes_per_second=[7, None, 0],
            storage_bytes_per_second_capacity=[100.0, 100.0, 100.0],
            gpu_fraction_used=[0.25, None, 0.0],
        )
    )  # fmt: skip
    trace = load_trace([path], resources=(Resource.STORAGE, Resource.NETWORK, Resource.GPU))
    used, capacity = trace.used[:, :, 0], trace.capacity[:, :, 0]
    nan = np.nan
    # At 600 s the VM is absent (no CPU capacity): its zeros are no samples, but storage has its own capacity.
    np.testing.assert_array_equal(used, np.float32([[11, nan, 0], [7, nan, nan], [0.25, nan, nan]]))
    np.testing.assert_array_equal(capacity, np.float32([[100, nan, 100], [nan] * 3, [1, nan, nan]]))


def test_one_direction_alone_is_the_resource(write):
    path = write(rows((0, "a", 0.5, 1.0), (300, "a", 0.5, 1.0), disk_write_bytes_per_second=[10.0, 20.0]))
    trace = load_trace([path], resources=(Resource.STORAGE,))
    assert trace.used[0, :, 0].tolist() == [10.0, 20.0]


def test_the_last_server_of_each_vm_is_kept(write):
    path = write(
        rows(
            (0, "a", 0.5, 1.0), (300, "a", 0.5, 1.0), (600, "a", 0.5, 1.0), (0, "b", 0.5, 1.0),
            server=["s1", "s2", None, None],
        )
    )  # fmt: skip
    assert load_trace([path], resources=CPU).servers == ("s2", "")


@pytest.mark.parametrize(
    ("gaps", "step"),
    [([300, 301, 299], 300), ([60, 60, 3600], 60), ([61, 61], 60), ([45], 45), ([4000], 4000)],
)
def test_the_step_is_the_usual_gap_rounded_to_a_usual_step(gaps, step):
    time_us = np.cumsum([0, *gaps]) * 1_000_000
    assert load.infer_step_seconds(time_us, np.zeros(len(time_us), dtype=np.int64)) == step


def test_gaps_between_vms_do_not_count_and_without_any_the_step_is_asked_for(write):
    path = write(rows((0, "a", 0.5, 1.0), (300, "b", 0.5, 1.0)))
    with pytest.raises(InputError, match="--step"):
        load_trace([path], resources=CPU)
    assert load_trace([path], resources=CPU, step_seconds=300).ticks == 2


def test_a_csv_reads_as_parquet_does(tmp_path, write):
    frame = rows((0, "a", 0.5, 1.0), (300, "a", None, 1.0), (600, "007", 0.25, 2.0))
    expected = load_trace([write(frame)], resources=CPU)
    plain = tmp_path / "plain.csv"
    frame.write_csv(plain)
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    spaced = tmp_path / "spaced.csv"
    spaced.write_text(
        "time,vm,cpu_cores_used,cpu_cores_capacity,note\n"
        "2026-01-01 00:00:00,a,0.5,1,x\n"
        "2026-01-01T01:05:00.000+01:00,a,NaN,1,\n"
        "2026-01-01T00:10:00Z,007,.25,2,y\n"
    )
    for path in (plain, packed, spaced):
        trace = load_trace([path], resources=CPU)
        assert trace.vms == expected.vms
        assert trace.start_seconds == expected.start_seconds
        np.testing.assert_array_equal(trace.used, expected.used)
        np.testing.assert_array_equal(trace.capacity, expected.capacity)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("yesterday,a,0.5,1", "row 2, column time: this is no time"),
        ("2026-01-01T00:05:00Z,a,much,1", "row 2, column cpu_cores_used: this is no number"),
        ("2026-01-01T00:05:00Z,a,-1,1", "row 2, column cpu_cores_used: the number is negative"),
        ("2026-01-01T00:05:00Z,a,inf,1", "row 2, column cpu_cores_used: the number is infinite"),
        ("2026-01-01T00:05:00Z,,1,1", "row 2, column vm: the name is missing"),
        (",a,1,1", "row 2, column time: the time is missing"),
    ],
)
def test_a_wrong_cell_of_a_csv_is_named(tmp_path, line, said):
    path = tmp_path / "x.csv"
    path.write_text(f"time,vm,cpu_cores_used,cpu_cores_capacity\n2026-01-01T00:00:00Z,a,0.5,1\n{line}\n")
    with pytest.raises(InputError, match=said) as error:
        load_trace([path], resources=CPU)
    assert "x.csv" in str(error.value)


def test_what_cannot_be_a_trace_is_refused_in_a_sentence(tmp_path, write):
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and then nothing")
    text = tmp_path / "trace.txt"
    text.touch()
    good = write(rows((0, "a", 0.5, 1.0), (300, "a", 0.5, 1.0)))
    ghosts = write(rows((0, "a", 0.5, 0.0)), "ghosts.parquet")
    empty = write(rows((0, "a", 0.5, 1.0)).clear(), "empty.parquet")
    cases = [
        ([], CPU, "no trace was named"),
        ([tmp_path / "none.parquet"], CPU, "does not exist"),
        ([text], CPU, "tidegate trace import"),
        ([broken], CPU, "can't be read as Parquet"),
        (
            [good],
            (Resource.MEMORY,),
            "no column memory_bytes_used; choose among its resources",
        ),
        ([ghosts], CPU, "no VM ever has capacity"),
        ([empty], CPU, "holds no rows"),
    ]
    for paths, resources, said in cases:
        with pytest.raises(InputError, match=said) as error:
            load_trace(paths, resources=resources, step_seconds=300)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="at least one second"):
        load_trace([good], resources=CPU, step_seconds=0)


def test_a_grid_beyond_the_limit_is_refused_and_says_which_step_would_do(write, monkeypatch):
    monkeypatch.setattr(load, "GRID_CELLS_MAX", 1000)
    path = write(rows((0, "a", 0.5, 1.0), (1, "a", 0.5, 1.0), (10_000, "a", 0.5, 1.0)))
    with pytest.raises(InputError, match="longer --step, such as 21s"):
        load_trace([path], resources=CPU, step_seconds=1)
    assert load_trace([path], resources=CPU, step_seconds=21).ticks < 500


def test_a_folder_is_the_traces_in_it_and_progress_is_told(tmp_path, write):
    write(rows((0, "a", 0.5, 1.0), (300, "a", 0.5, 1.0)), "1.parquet")
    write(rows((600, "a", 0.75, 1.0)), "2.parquet")
    (tmp_path / "README.md").touch()
    told = []
    trace = load_trace([tmp_path], resources=CPU, progress=lambda done, total: told.append((done, total)))
    assert trace.used[0, :, 0].tolist() == [0.5, 0.5, 0.75]
    assert told == [(1, 2), (2, 2)]


def test_rows_are_read_with_what_the_schema_knows(write):
    one = write(rows((0, "a", 0.5, 1.0), app_queue_items=[3], remark=["x"]))
    other = write(rows((0, "b", 0.5, 1.0)), "y.parquet")
    frame = read_rows([one, other])
    assert frame.columns == ["time", "vm", "cpu_cores_used", "cpu_cores_capacity", "app_queue_items"]
    assert frame["app_queue_items"].to_list() == [3, None]
    assert read_rows([one], columns=["app_queue_items"]).columns == ["time", "vm", "app_queue_items"]


@pytest.mark.shared
def test_the_real_sample_loads_whole(shared_traces):
    path = shared_traces / "bitbrains/sample-14-days.parquet"
    trace = load_trace([path], resources=(Resource.CPU, Resource.MEMORY, Resource.NETWORK, Resource.STORAGE))
    assert (len(trace.vms), trace.step_seconds, trace.ticks) == (17, 300, 14 * 288)
    frame = pl.read_parquet(path)
    used = trace.rows_of(Resource.CPU)[0]
    assert np.nanmax(used) == frame["cpu_cores_used"].max()
    assert (~np.isnan(used)).mean() > 0.99
    assert trace.start_seconds == 1_375_660_800  # 2013-08-05 00:00 UTC
