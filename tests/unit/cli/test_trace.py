from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tidegate.cli.trace import app
from tidegate.model.errors import InputError


@pytest.fixture
def run():
    def run(*words):
        return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)

    return run


def test_generate_then_describe(tmp_path, run):
    out, said = tmp_path / "x.parquet", tmp_path / "x.json"
    result = run("generate", "--vms", 9, "--days", 2, "--step", "10m", "--seed", 4, "-o", out)
    assert result.exit_code == 0
    assert "rows of 9 VMs" in result.stdout
    result = run("describe", out, "--resource", "cpu,network", "--json", said)
    assert result.exit_code == 0
    for word in ("2024-01-01 00:00 UTC", "2d", "10m", "cpu", "network", "time of day, median"):
        assert word in result.stdout
    assert result.stderr == ""
    figures = json.loads(said.read_text())
    assert figures["vms"] == 9
    assert figures["step_seconds"] == 600
    assert [one["resource"] for one in figures["resources"]] == ["cpu", "network"]
    assert figures["resources"][0]["autocorrelation_week"] is None
    assert 0 < figures["resources"][0]["use_ratio"] < 1


def test_import_writes_and_tells(tmp_path, run):
    (tmp_path / "20110303").mkdir()
    (tmp_path / "20110303/host").write_text("1\n2\n3\n")
    out, said = tmp_path / "x.parquet", tmp_path / "x.json"
    result = run("import", "--format", "planetlab", tmp_path / "20110303", "-o", out, "--json", said)
    assert result.exit_code == 0
    assert "3 rows of 1 VMs" in result.stdout
    assert json.loads(said.read_text()) == {"path": str(out), "rows": 3, "vms": 1}


def test_what_is_wrong_is_raised_for_the_program_to_say(tmp_path, run):
    with pytest.raises(InputError, match="is unknown"):
        run("import", "--format", "other", tmp_path, "-o", tmp_path / "x.parquet")
    with pytest.raises(InputError, match="does not exist"):
        run("describe", tmp_path / "none.parquet")
    with pytest.raises(InputError, match="no duration"):
        run("generate", "--step", "often", "-o", tmp_path / "x.parquet")
    run("generate", "--vms", 1, "--days", 1, "-o", tmp_path / "x.parquet")
    with pytest.raises(InputError, match="cannot write"):
        run("describe", tmp_path / "x.parquet", "--json", tmp_path / "none/x.json")
