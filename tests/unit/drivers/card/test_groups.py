"""Cgroups of applications in a tree of files: made, listed, ended."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tidegate.drivers.card import groups as groups_module
from tidegate.drivers.card.groups import Groups
from tidegate.drivers.cgroups.hierarchy import Hierarchy, find_hierarchy
from tidegate.model.errors import InputError, TidegateError


@pytest.fixture
def groups(fake):
    if fake.version == 2:
        (fake.top / "cgroup.subtree_control").write_text("")
    return Groups(find_hierarchy(fake.root), "a")


def test_an_application_gets_a_cgroup_in_every_tree(groups, fake):
    groups.make("web")
    folders = [fake.folder("tidegate-card-a/web", controller) for controller in fake.folders]
    assert all(folder.is_dir() for folder in folders)
    assert {Path(file).parent for file in groups.members_files("web")} == set(folders)
    assert (groups.names(), groups.members("web")) == (["web"], [])
    groups.remove("web")
    assert groups.names() == []
    groups.close()
    assert not any((folder / "tidegate-card-a").exists() for folder in fake.folders.values())


def test_version_2_hands_controllers_down(fake_of, monkeypatch):
    fake = fake_of(2)
    written = []
    monkeypatch.setattr(groups_module, "write_text", lambda file, text: written.append((file, text)))
    Groups(find_hierarchy(fake.root), "a").make("web")
    top = f"{fake.top}/cgroup.subtree_control"
    assert written == [(top, f"+{controller}") for controller in ("cpu", "memory", "io", "pids")]


def test_members_are_told_without_those_of_other_namespaces(groups, fake):
    fake.cgroup("tidegate-card-a/web", pids=(0, 101, 102))
    assert groups.members("web") == [101, 102]
    assert groups.members("gone") == []


def test_version_2_ends_all_at_once(fake_of, monkeypatch):
    fake = fake_of(2)
    fake.cgroup("tidegate-card-a/web", pids=(101,))

    def write(file, text):
        assert (Path(file).name, text) == ("cgroup.kill", "1")
        (Path(file).parent / "cgroup.procs").write_text("")

    monkeypatch.setattr(groups_module, "write_text", write)
    Groups(find_hierarchy(fake.root), "a").kill("web")


def test_without_that_they_are_frozen_and_ended_one_by_one(fake, groups, monkeypatch):
    fake.cgroup("tidegate-card-a/web", pids=(101, 102))
    procs = [fake.folder("tidegate-card-a/web", controller) / "cgroup.procs" for controller in fake.folders]
    events = []

    def write(file, text):
        if file.endswith("cgroup.kill"):
            raise OSError(errno.ENOENT, "an older kernel")
        events.append(text)

    def kill(pid, number):
        events.append(pid)
        if pid == 102:
            for file in procs:
                file.write_text("")

    monkeypatch.setattr(groups_module, "write_text", write)
    monkeypatch.setattr(os, "kill", kill)
    groups.kill("web")
    if fake.version == 2:
        assert events == ["1", 101, 102, "0"]
    else:
        assert [event for event in events if isinstance(event, int)] == [101, 102]


def test_who_does_not_end_is_told(fake, groups, monkeypatch):
    fake.cgroup("tidegate-card-a/web", pids=(101,))
    monkeypatch.setattr(os, "kill", lambda *_: None)
    monkeypatch.setattr(groups_module, "KILL_SECONDS_MAX", 0.05)
    with pytest.raises(TidegateError, match="processes 101 of application web were killed"):
        groups.kill("web")
    with pytest.raises(TidegateError, match="still in use"):
        groups.remove("web")


def test_a_machine_without_cgroups_is_no_card():
    with pytest.raises(InputError, match="no cgroups for CPU"):
        Groups(Hierarchy(), "a")
