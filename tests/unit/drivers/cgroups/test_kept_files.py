"""Files of cgroups kept open: what is read is what opening them anew brings, and nothing is left open."""

from __future__ import annotations

import gc
import os
import resource
from pathlib import Path

import pytest

from tidegate.drivers.cgroups.hierarchy import find_hierarchy
from tidegate.drivers.cgroups.kept_files import ABSENT_ROUNDS_MAX, PREAD_BYTES, PROCESS_SHARE, KeptFiles
from tidegate.drivers.cgroups.kernel_files import READ_BYTES_MAX, read_bytes


def descriptors(folder):
    """How many files below a folder this process has open."""
    links = list(Path("/proc/self/fd").iterdir())
    return sum(link.is_symlink() and str(link.readlink()).startswith(str(folder)) for link in links)


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "cpu.stat"
    made.write_bytes(b"nr_periods 1\n")
    return made


def test_a_file_is_opened_once_and_read_anew_each_time(file, tmp_path):
    files = KeptFiles()
    for turn in range(3):
        file.write_bytes(b"nr_periods %d\n" % turn)
        assert files.read(str(file)) == b"nr_periods %d\n" % turn
        files.next_round()
    assert (len(files), descriptors(tmp_path)) == (1, 1)
    files.close()


@pytest.mark.parametrize("count", [0, PREAD_BYTES - 1, PREAD_BYTES, 5 * PREAD_BYTES])
def test_a_file_of_any_size_is_read_whole(count, file):
    file.write_bytes(os.urandom(count))
    files = KeptFiles()
    assert files.read(str(file)) == files.read(str(file)) == file.read_bytes()
    files.close()


def test_a_file_without_end_is_cut(file):
    file.write_bytes(bytes(READ_BYTES_MAX + 1))
    files = KeptFiles()
    files.read(str(file))
    assert len(files.read(str(file))) == READ_BYTES_MAX
    files.close()


def test_closing_gives_all_descriptors_back_and_reading_goes_on_without(file, tmp_path):
    files = KeptFiles()
    files.read(str(file))
    files.close()
    files.close()
    assert files.read(str(file)) == b"nr_periods 1\n"
    assert files.inode(str(file)) == file.stat().st_ino
    assert (len(files), descriptors(tmp_path)) == (0, 0)


def test_a_reader_that_is_dropped_leaves_nothing_open(file, tmp_path):
    files = KeptFiles()
    files.read(str(file))
    assert descriptors(tmp_path) == 1
    del files
    gc.collect()
    assert descriptors(tmp_path) == 0


def test_what_a_round_did_not_ask_for_is_closed(file, tmp_path):
    other = tmp_path / "memory.stat"
    other.write_bytes(b"cache 1\n")
    files = KeptFiles()
    files.read(str(file))
    files.read(str(other))
    files.next_round()
    files.read(str(other))
    files.next_round()
    assert (len(files), descriptors(tmp_path)) == (1, 1)
    assert files.inode(str(file)) == 0
    files.close()


def test_beyond_its_limit_files_are_read_without_being_kept(tmp_path):
    paths = [tmp_path / f"file-{number}" for number in range(4)]
    for number, path in enumerate(paths):
        path.write_bytes(b"%d" % number)
    files = KeptFiles(files_max=2)
    for _ in range(2):
        assert [files.read(str(path)) for path in paths] == [b"0", b"1", b"2", b"3"]
        assert [files.inode(str(path)) for path in paths] == [path.stat().st_ino for path in paths]
        files.next_round()
    assert descriptors(tmp_path) == len(files) == 2
    for path in paths[2:]:
        files.read(str(path))
    files.next_round()  # room again
    for path in paths[2:]:
        files.read(str(path))
    assert descriptors(tmp_path) == len(files) == 2
    files.close()


def test_no_more_are_kept_than_the_process_can_spare(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, before[1]))
    try:
        files = KeptFiles()
        for number in range(allowed):
            path = tmp_path / f"file-{number}"
            path.write_bytes(b"1")
            assert files.read(str(path)) == b"1"
        assert len(files) == int(allowed * PROCESS_SHARE)
        files.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_what_is_absent_is_looked_for_again_ever_more_seldom_and_found_when_it_comes(tmp_path, monkeypatch):
    path = str(tmp_path / "cpu.pressure")
    files = KeptFiles()
    looks, opened = [0], os.open

    def counted(*of):
        looks[-1] += 1
        return opened(*of)

    monkeypatch.setattr(os, "open", counted)
    for _ in range(24):
        assert files.read(path) is None
        assert files.inode(path) == 0
        files.next_round()
        looks.append(0)
    assert [turn for turn, count in enumerate(looks) if count] == [0, 1, 3, 7, 15, 23]
    Path(path).write_bytes(b"some")
    turns = 0
    while files.read(path) is None:
        files.next_round()
        turns += 1
    assert turns < ABSENT_ROUNDS_MAX
    files.close()


@pytest.fixture
def folder(root_only):
    """A cgroup of the kernel's own, removed afterwards."""
    mount = find_hierarchy(Path("/")).cpu
    if mount is None:
        pytest.skip("this machine has no cgroups for CPU")
    made = Path(mount.of(f"tidegate-test-kept-{os.getpid()}"))
    made.mkdir()
    yield made
    if made.exists():
        made.rmdir()


@pytest.mark.root
def test_a_cgroup_made_anew_under_its_name_is_read_anew(folder):
    path = str(folder / "cpu.stat")
    files = KeptFiles()
    assert files.read(path) == read_bytes(path) is not None
    first = files.inode(path)
    folder.rmdir()  # who reads a cgroup does not keep it
    folder.mkdir()
    assert files.read(path) == read_bytes(path) is not None
    assert files.inode(path) not in {first, 0}
    assert descriptors(folder) == len(files) == 1
    files.close()


@pytest.mark.root
def test_a_cgroup_that_is_gone_is_absent_and_leaves_nothing_open(folder):
    path = str(folder / "cpu.stat")
    files = KeptFiles()
    files.read(path)
    folder.rmdir()
    assert files.read(path) is None
    assert files.inode(path) == 0
    assert len(files) == 0
    files.close()
