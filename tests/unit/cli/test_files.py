"""Outputs: whole or not at all, refused before long work, links kept and devices never replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tidegate.cli.files import check_writable, write_atomically
from tidegate.model.errors import InputError


@pytest.mark.parametrize("name", ["folder", "", "none/x.json", "a" * 300, "loop"])
def test_what_cannot_be_written_is_refused_before_and_after(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    path = Path(name)
    for refused in (lambda: check_writable(path), lambda: write_atomically(path, b"x")):
        with pytest.raises(InputError, match="cannot write"):
            refused()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder", "loop"]


def test_a_check_leaves_nothing_and_finds_a_name_given_twice(tmp_path):
    check_writable(None, tmp_path / "a", tmp_path / "b")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="named twice"):
        check_writable(tmp_path / "a", tmp_path / "a")


def test_a_link_stays_and_what_it_names_is_replaced(tmp_path):
    link, real = tmp_path / "link", tmp_path / "real"
    real.write_text("old")
    link.symlink_to(real)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_a_device_is_written_to_and_never_replaced():
    null = Path(os.devnull)
    check_writable(null)
    write_atomically(null, b"x")
    assert null.is_char_device()


def test_a_name_that_is_no_text_is_refused(tmp_path):
    with pytest.raises(InputError, match="not UTF-8"):
        check_writable(tmp_path / os.fsdecode(b"\xe9.json"))
