"""What is written down: whole or not at all, by one process at a time."""

from __future__ import annotations

import os

import pytest

from tidegate.drivers.ledgers import files
from tidegate.drivers.ledgers.files import write_whole
from tidegate.drivers.ledgers.locks import locked
from tidegate.model.errors import InputError

WORDS = {"what": "the book", "remedy": "use another", "doing": "writes the book"}


@pytest.mark.parametrize("step", ["fsync", "open"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, step):
    path = tmp_path / "book.json"
    write_whole(path, b"old")

    def full(*_words):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, step, full)
        with pytest.raises(OSError, match="No space"):
            write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    write_whole(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert [file.name for file in tmp_path.iterdir()] == ["book.json"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_beside_it_is_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"is another's")
    (tmp_path / "book.new").symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic links"):
        write_whole(tmp_path / "book", b"new")
    assert elsewhere.read_bytes() == b"is another's"


def test_the_second_hears_who_is_first_and_has_it_after_that(tmp_path):
    file = tmp_path / "made" / "book.lock"
    first = locked(file, folders=(tmp_path / "too",), **WORDS)
    assert (tmp_path / "too").is_dir()
    with pytest.raises(InputError, match=f"^process {os.getpid()} writes the book; stop that one first$"):
        locked(file, **WORDS)
    os.close(first)
    os.close(locked(file, **WORDS))


def test_one_that_left_no_name_is_another_process(tmp_path):
    file = tmp_path / "book.lock"
    first = locked(file, **WORDS)
    file.write_bytes(b"")  # as an earlier version, or a full disk, leaves it
    with pytest.raises(InputError, match=r"^another process writes the book"):
        locked(file, **WORDS)
    os.close(first)


def test_a_lock_holds_on_a_full_disk(tmp_path, monkeypatch):
    def full(*_words):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    first = locked(tmp_path / "book.lock", **WORDS)
    with pytest.raises(InputError, match="another process"):
        locked(tmp_path / "book.lock", **WORDS)
    os.close(first)


def test_where_nothing_can_be_written_the_sentence_names_the_thing_and_the_remedy(tmp_path):
    (tmp_path / "file").write_text("is in the way")
    with pytest.raises(InputError, match=r"^the book can't be written \(.*\); use another$"):
        locked(tmp_path / "file" / "book.lock", **WORDS)
