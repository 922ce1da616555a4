from __future__ import annotations

import numpy as np
import pytest

from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.sim.traces import generate_trace, load_trace, schema, write_trace


def test_the_same_arguments_give_the_same_rows():
    one, again, other = (generate_trace(vms=20, days=2, step_seconds=300, seed=seed) for seed in (7, 7, 8))
    assert one.equals(again)
    assert not one.equals(other)


def test_it_is_a_trace_of_all_resources_with_gaps(tmp_path):
    frame = generate_trace(vms=60, days=7, step_seconds=600, seed=3)
    assert frame.equals(frame.sort("vm", "time"))
    out = tmp_path / "x.parquet"
    write_trace(frame, out)
    trace = load_trace([out], resources=tuple(Resource))
    assert (len(trace.vms), trace.step_seconds, trace.ticks) == (60, 600, 7 * 144)
    assert trace.vms_without_capacity == 0
    assert len(set(trace.servers)) == 8
    used, capacity = trace.rows_of(Resource.CPU)
    present = ~np.isnan(used)
    assert 0.9 < present.mean() < 1
    assert (used[present] <= capacity[present]).all()
    ratio = np.nanmean(used / capacity, axis=0)
    assert (ratio < 0.1).sum() > 10, "many idle"
    assert (ratio > 0.15).sum() > 10, "some busy"
    assert np.isfinite(trace.rows_of(Resource.GPU)[0]).any(axis=0).sum() == 6


def test_names_say_that_it_is_synthetic():
    frame = generate_trace(vms=2, days=0.1, step_seconds=60, seed=0)
    assert frame["vm"].unique().sort().to_list() == ["synthetic-00001", "synthetic-00002"]
    schema.check_names(frame.columns, source="synthetic")
    schema.checked(frame, schema.Where("synthetic"))


@pytest.mark.parametrize(
    "wrong", [{"vms": 0}, {"days": 0}, {"step_seconds": 0}, {"seed": -1}, {"days": 0.005}]
)
def test_senseless_numbers_are_refused(wrong):
    with pytest.raises(InputError, match="at least one VM"):
        generate_trace(**({"vms": 1, "days": 1, "step_seconds": 300, "seed": 0} | wrong))
