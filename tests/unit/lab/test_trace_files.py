from __future__ import annotations

import pytest

from tidegate.lab.trace_files import describe_files, import_trace, make_trace
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="azure2017, bitbrains, planetlab, prometheus"):
        import_trace(tmp_path, tmp_path / "x.parquet", format_name="google")


def test_a_day_folder_becomes_a_trace(tmp_path):
    (tmp_path / "20110303").mkdir()
    (tmp_path / "20110303/host").write_text("1\n2\n3\n")
    out = tmp_path / "x.parquet"
    written = import_trace(tmp_path / "20110303", out, format_name="planetlab")
    assert (written.path, written.rows, written.vms) == (str(out), 3, 1)
    assert [one.resource for one in describe_files([out]).resources] == ["cpu"]


def test_a_made_trace_is_described_by_all_it_holds(tmp_path):
    out = tmp_path / "x.parquet"
    assert make_trace(out, vms=12, days=1, step_seconds=600, seed=1).vms == 12
    said = describe_files([out])
    assert [one.resource for one in said.resources] == ["cpu", "memory", "gpu", "network", "storage"]
    only = describe_files([out], resources=[Resource.MEMORY], step_seconds=1200)
    assert (only.step_seconds, [one.resource for one in only.resources]) == (1200, ["memory"])
