"""Whatever the rows, a trace does not depend on how they lie in the file, and nothing is made up."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.resources import Resource
from tidegate.sim.traces import load_trace

if TYPE_CHECKING:
    from tidegate.model.trace import Trace

STEP = 300
START = 1_767_225_600
RESOURCES = (Resource.CPU, Resource.STORAGE)

number = st.one_of(st.none(), st.just(float("nan")), st.floats(0, 64, width=32))
sample = st.fixed_dictionaries(
    {
        "cpu_cores_used": number,
        "cpu_cores_capacity": st.one_of(number, st.just(0.0)),
        "disk_read_bytes_per_second": number,
        "disk_write_bytes_per_second": number,
    }
)
moment = st.tuples(st.integers(-40 * STEP, 40 * STEP), st.sampled_from(["a", "b", "c"]))


def _capable(samples: dict) -> dict:
    """Give VM `a` one sample with capacity, without which there is no trace."""
    return samples | {
        (41 * STEP, "a"): {
            "cpu_cores_used": 1.0,
            "cpu_cores_capacity": 2.0,
            "disk_read_bytes_per_second": 1.0,
            "disk_write_bytes_per_second": 1.0,
        }
    }


samples_by_moment = st.dictionaries(moment, sample, max_size=40).map(_capable)


def frame_of(samples: list[tuple[tuple[int, str], dict]]) -> pl.DataFrame:
    numbers = list(samples[0][1])
    return pl.DataFrame(
        {
            "time": [datetime.fromtimestamp(START + at, tz=UTC) for (at, _), _ in samples],
            "vm": [vm for (_, vm), _ in samples],
            **{name: pl.Series([row[name] for _, row in samples], dtype=pl.Float64) for name in numbers},
        }
    )


def load(*frames: pl.DataFrame) -> Trace:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{at}.parquet" for at in range(len(frames))]
        for frame, path in zip(frames, paths, strict=True):
            frame.write_parquet(path)
        return load_trace(paths, resources=RESOURCES, step_seconds=STEP)


def assert_same(one: Trace, other: Trace) -> None:
    assert (one.vms, one.start_seconds, one.ticks) == (other.vms, other.start_seconds, other.ticks)
    assert one.vms_without_capacity == other.vms_without_capacity
    np.testing.assert_array_equal(one.used, other.used)
    np.testing.assert_array_equal(one.capacity, other.capacity)


@given(samples_by_moment, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(samples, random):
    rows = list(samples.items())
    shuffled = rows.copy()
    random.shuffle(shuffled)
    assert_same(load(frame_of(rows)), load(frame_of(shuffled)))


@given(samples_by_moment, st.data())
def test_rows_that_a_later_one_repeats_do_not_matter(samples, data):
    rows = list(samples.items())
    repeated = data.draw(st.lists(st.sampled_from(rows), max_size=10))
    # A copy with other numbers but no capacity, so that it alone can't make a VM count.
    stale = [(moment_, row | {"cpu_cores_used": 7.0, "cpu_cores_capacity": 0.0}) for moment_, row in repeated]
    assert_same(load(frame_of(rows)), load(frame_of(stale + rows)))


@given(samples_by_moment, st.integers(0, 40))
def test_files_are_as_good_as_one(samples, cut):
    rows = list(samples.items())
    parts = [part for part in (rows[:cut], rows[cut:]) if part]
    assert_same(load(frame_of(rows)), load(*(frame_of(part) for part in parts)))


@given(samples_by_moment)
def test_every_cell_is_the_last_sample_of_its_slot_or_missing(samples):
    trace = load(frame_of(list(samples.items())))
    used, capacity = trace.rows_of(Resource.CPU)
    expected: dict[tuple[int, str], tuple[float, float]] = {}
    for (at, vm), row in sorted(samples.items(), key=lambda item: item[0][0]):
        tick = ((START + at) // STEP * STEP - trace.start_seconds) // STEP
        pair = (row["cpu_cores_used"], row["cpu_cores_capacity"])
        known = all(value is not None and not np.isnan(value) for value in pair) and pair[1] > 0
        expected[tick, vm] = pair if known else (np.nan, np.nan)
    for number_of_vm, vm in enumerate(trace.vms):
        for tick in range(trace.ticks):
            cell = (used[tick, number_of_vm], capacity[tick, number_of_vm])
            wanted = expected.get((tick, vm), (np.nan, np.nan))
            np.testing.assert_array_equal(np.float32(cell), np.float32(wanted))
