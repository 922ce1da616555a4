"""The folder of an `up`: its owner's alone, gone at the end, and cleared away where one was killed."""

from __future__ import annotations

import os

from tidegate.agents.together.folder import LOCK, PREFIX, runtime_folder


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
