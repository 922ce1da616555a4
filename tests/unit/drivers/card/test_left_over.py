"""A runtime that was killed in the midst of ending programs leaves nothing for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tidegate.drivers.card.runtime import ProcessRuntime
from tidegate.model.application import ApplicationSpec

pytestmark = pytest.mark.root


def test_what_was_left_of_one_that_is_gone_goes_with_the_next_start(root_only, tmp_path, monkeypatch):
    card, folder = f"test-{os.getpid()}-left", tmp_path / "card"
    sleeps = ApplicationSpec(command=("sleep", "60"))
    runtime = ProcessRuntime(card, folder=folder)
    for name in ("half", "whole", "stays"):
        runtime.start(name, sleeps, epoch=0, standby=False)
    # Killed between ending the programs and removing what was theirs, of one in the midst of that.
    monkeypatch.setattr(ProcessRuntime, "_forget", lambda _self, _name: None)
    runtime.stop("half", grace_seconds=0.0)
    runtime.stop("whole", grace_seconds=0.0)
    monkeypatch.undo()
    Path(runtime._groups.members_files("half")[0]).parent.rmdir()
    runtime.close()
    (folder / "records/.half.json.new").write_text("{")
    again = ProcessRuntime(card, folder=folder)
    assert again._groups.everywhere() == {"stays"}
    assert [file.name for file in (folder / "records").iterdir()] == ["stays.json"]
    assert [running.name for running in again.found()] == ["stays"]
    again.stop("stays", grace_seconds=0.0)
    again.close()
