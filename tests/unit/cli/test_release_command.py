"""`tidegate release`: gives back what a Tidegate that is gone had changed, and says what became of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidegate.cli.main import run
from tidegate.drivers.local.ledger import Change, Ledger, boot_identifier

BOOT = boot_identifier(Path("/"))
CRASHES = """
import os, sys
from pathlib import Path
from tidegate.drivers.local.ledger import Change, Ledger
ledger = Ledger(Path(sys.argv[1]), boot=sys.argv[2])
for file in sys.argv[3:]:
    ledger.note([Change(file=file, before="max", after="50000")])
    Path(file).write_text("50000")
os._exit(9)
"""


@pytest.fixture
def crashed(tmp_path):
    """A ledger of a process that changed three settings and was killed."""
    files = [tmp_path / name / "cpu.max" for name in ("a", "b", "c")]
    for file in files:
        file.parent.mkdir()
        file.write_text("max")
    ledger = tmp_path / "ledger.json"
    done = subprocess.run([sys.executable, "-c", CRASHES, ledger, BOOT, *files], check=False)
    assert done.returncode == 9
    return ledger, files


def words(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_what_was_changed_comes_back_and_what_its_owner_changed_since_stays(crashed, tmp_path, capsys):
    ledger, (mine, owners, gone) = crashed
    owners.write_text("70000")
    gone.unlink()
    report = tmp_path / "x.json"
    assert run(["release", "--ledger", str(ledger), "--json", str(report)]) == 0
    text = words(capsys)
    assert f"1 given back to their owner: {mine}" in text
    assert f"1 left as they are: their owner changed them meanwhile: {owners}" in text
    assert f"1 gone with their cgroup: {gone}" in text
    assert (mine.read_text(), owners.read_text()) == ("max", "70000")
    found = json.loads(report.read_text("utf-8"))
    assert list(found) == ["ledger", "restored", "left", "gone", "discarded"]
    assert (found["restored"], found["left"], found["gone"]) == ([str(mine)], [str(owners)], [str(gone)])


def test_again_there_is_nothing_to_do(crashed, capsys):
    ledger, _ = crashed
    assert run(["release", "--ledger", str(ledger)]) == 0
    capsys.readouterr()
    assert run(["release", "--ledger", str(ledger)]) == 0
    assert words(capsys) == f"Nothing to give back: no limit is noted in {ledger}."


def test_a_live_tidegate_is_to_be_ended_first(crashed, capsys):
    path, files = crashed
    holder = Ledger(path, boot=BOOT)
    try:
        assert run(["release", "--ledger", str(path)]) == 2
    finally:
        holder.close()
    err = capsys.readouterr().err
    assert f"process {os.getpid()} is changing limits" in err
    assert "stop that one first" in err
    assert err.count("\n") == 1
    assert files[0].read_text() == "50000"


def test_a_ledger_of_an_earlier_boot_is_told_of(tmp_path, capsys):
    path = tmp_path / "ledger.json"
    ledger = Ledger(path, boot="another boot")
    ledger.note([Change(file=str(tmp_path / "cpu.max"), before="max", after="1")])
    ledger.close()
    assert run(["release", "--ledger", str(path)]) == 0
    assert "was of an earlier boot" in words(capsys)


def test_a_file_that_is_no_ledger_is_refused(tmp_path, capsys):
    path = tmp_path / "ledger.json"
    path.write_text("[red]")
    assert run(["release", "--ledger", str(path)]) == 2
    assert "is no ledger" in capsys.readouterr().err
    assert path.read_text() == "[red]"


def test_a_ledger_nobody_may_look_at_is_one_sentence(monkeypatch, capsys):
    def refuse(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tidegate.cli.release.release", refuse)
    assert run(["release"]) == 2
    assert "run as root" in capsys.readouterr().err
