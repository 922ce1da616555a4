from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from tidegate.model.errors import InputError
from tidegate.sim.traces import read_rows, write_trace

ROWS = pl.DataFrame(
    {
        "time": [datetime(2026, 1, 1, tzinfo=UTC)],
        "vm": ["a"],
        "cpu_cores_used": [0.5],
        "cpu_cores_capacity": [1.0],
    }
)


def test_what_is_written_is_read_again_and_replaces_what_was_there(tmp_path):
    out = tmp_path / "x.parquet"
    out.write_text("old")
    write_trace(ROWS, out)
    assert read_rows([out]).rows() == ROWS.rows()
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_failure_leaves_nothing_behind_and_the_old_file_alone(tmp_path, monkeypatch, failure):
    out = tmp_path / "x.parquet"
    out.write_text("old")

    def fail(self, path, **_):
        path.write_text("half")
        raise failure

    monkeypatch.setattr(pl.DataFrame, "write_parquet", fail)
    with pytest.raises((KeyboardInterrupt, InputError)):
        write_trace(ROWS, out)
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]
    assert out.read_text() == "old"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(InputError, match="can't be written"):
        write_trace(ROWS, tmp_path / "none/x.parquet")
    with pytest.raises(InputError, match=r"end in \.parquet"):
        write_trace(ROWS, tmp_path / "x.csv")
    with pytest.raises(InputError, match="no column vm"):
        write_trace(ROWS.drop("vm"), tmp_path / "x.parquet")
