"""The folder of an `up`: its owner's alone, gone at the end, and cleared away where one was killed."""

from __future__ import annotations

import os
import shutil

import pytest

from tidegate.agents.together import folder as module
from tidegate.agents.together.folder import LOCK, PREFIX, runtime_folder
from tidegate.model.errors import InputError


def test_it_is_closed_to_others_and_gone_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("tidegate.agents.together.folder.PATH_BYTES_MAX", 300)
    with runtime_folder({"XDG_RUNTIME_DIR": str(tmp_path)}) as folder:
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "something").write_text("is there")
    assert not folder.exists()


def test_what_a_killed_one_left_is_removed_and_what_is_in_use_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("tidegate.agents.together.folder.PATH_BYTES_MAX", 300)
    where = {"XDG_RUNTIME_DIR": str(tmp_path)}
    left = tmp_path / f"{PREFIX}left"
    left.mkdir()
    (left / LOCK).touch()
    nobodys = tmp_path / f"{PREFIX}without-lock"
    nobodys.mkdir()
    old = tmp_path / f"{PREFIX}old-without-lock"
    old.mkdir()
    os.utime(old, (1e9, 1e9))
    with runtime_folder(where) as first, runtime_folder(where) as second:
        assert not left.exists()
        assert nobodys.exists()
        assert not old.exists()
        assert first.exists()
        assert second.exists()


def test_a_path_too_long_for_sockets_is_not_taken(tmp_path):
    deep = tmp_path / ("x" * 60)
    deep.mkdir()
    with runtime_folder({"XDG_RUNTIME_DIR": str(deep)}) as folder:
        assert folder.parent != deep
        assert len(str(folder / "simulated.sock")) < 100


@pytest.mark.parametrize("times", [1, 99])
def test_one_that_another_start_clears_away_before_it_is_locked_is_made_anew(tmp_path, monkeypatch, times):
    monkeypatch.setattr(module, "PATH_BYTES_MAX", 300)
    flock, left = module.fcntl.flock, [times]

    def too_late(lock, how):
        if left[0]:
            left[0] -= 1
            for made in tmp_path.glob(f"{PREFIX}*"):
                shutil.rmtree(made)
        flock(lock, how)

    monkeypatch.setattr(module.fcntl, "flock", too_late)
    lent = runtime_folder({"XDG_RUNTIME_DIR": str(tmp_path)})
    if times == 1:
        with lent as folder:
            assert (folder / LOCK).exists()
    else:
        with pytest.raises(InputError, match="others clear it away"), lent:
            pass
    assert not list(tmp_path.iterdir())
