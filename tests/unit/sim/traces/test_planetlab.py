from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.sim.traces import import_planetlab, load_trace, write_trace


def day(folder, name="20110303", **vms):
    (folder / name).mkdir()
    for vm, values in vms.items():
        (folder / name / vm).write_text("".join(f"{value}\n" for value in values))
    return folder / name


def test_a_day_is_288_slots_from_midnight(tmp_path):
    rows = import_planetlab(day(tmp_path, host=range(288), empty=[]))
    assert rows.height == 288
    assert rows["time"][0] == datetime(2011, 3, 3, tzinfo=UTC)
    assert rows["time"][-1] == datetime(2011, 3, 3, 23, 55, tzinfo=UTC)
    assert rows["cpu_cores_used"][25] == pytest.approx(0.25)
    assert rows["cpu_cores_capacity"].unique().to_list() == [1.0]


def test_days_continue_by_name(tmp_path):
    day(tmp_path, "20110303", a=[10] * 288, b=[20] * 288)
    day(tmp_path, "20110306", a=[30] * 288)
    out = tmp_path / "x.parquet"
    write_trace(import_planetlab(tmp_path), out)
    trace = load_trace([out], resources=(Resource.CPU,))
    assert (trace.vms, trace.step_seconds, trace.ticks) == (("a", "b"), 300, 4 * 288)
    assert np.isnan(trace.used[0, 288 : 3 * 288]).all()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["1", "2", "x"], "line 3: the percentage of CPU is 'x'"),
        (["-1"], "line 1: the percentage of CPU is '-1'"),
        ([""], "line 1: the percentage of CPU is ''"),
        (["1"] * 289, "line 289: a day has 288 values"),
    ],
)
def test_a_bad_line_is_named(tmp_path, values, said):
    with pytest.raises(InputError, match=said):
        import_planetlab(day(tmp_path, host=values))


def test_a_folder_must_be_a_day_and_hold_something(tmp_path):
    with pytest.raises(InputError, match="is no day"):
        import_planetlab(day(tmp_path, "monday", host=[1]))
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="empty files only"):
        import_planetlab(day(tmp_path / "other", empty=[]))


@pytest.mark.shared
def test_the_real_files_are_read(shared_traces):
    rows = import_planetlab(shared_traces / "planetlab/raw")
    assert rows.height == 19 * 288
    first = rows.filter(rows["vm"] == "146-179_surfsnel_dsl_internl_net_colostate_557")
    assert first["cpu_cores_used"][:3].to_list() == pytest.approx([0.24, 0.34, 0.29])
