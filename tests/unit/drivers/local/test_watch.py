"""Who the workloads are, without a search at every look: what changes is seen at once all the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tidegate.drivers.cgroups.hierarchy import find_hierarchy
from tidegate.drivers.local import watch as watching
from tidegate.drivers.local.discover import find_cgroups
from tidegate.drivers.local.watch import SEARCH_SECONDS_MAX, Watch

SOON = SEARCH_SECONDS_MAX / 10


@pytest.fixture
def searches(monkeypatch):
    """How often was searched, as a list that grows."""
    made = []
    monkeypatch.setattr(
        watching, "find_cgroups", lambda *of, trail: (made.append(1), find_cgroups(*of, trail=trail))[1]
    )
    return made


@pytest.fixture
def watched(fake):
    """A machine with a service, an empty cgroup, and a watch that has found them."""
    fake.cgroup("system.slice/web.service", pids=(11,))
    fake.cgroup("system.slice/idle.service", pids=())
    fake.cgroup("batch", pids=(12,))
    return Watch(find_hierarchy(fake.root), (), root=fake.root)


def paths(watch, time_seconds=0.0):
    return [cgroup.path for cgroup in watch.find(time_seconds).cgroups]


def test_as_long_as_nothing_changes_nothing_is_searched(watched, searches):
    first = watched.find(0.0)
    assert [cgroup.path for cgroup in first.cgroups] == ["batch", "system.slice/web.service"]
    assert first.namespaces == ("net:[1]", "net:[1]")
    assert watched.find(SOON).cgroups is first.cgroups
    assert len(searches) == 1
    assert watched.find(SEARCH_SECONDS_MAX).cgroups is first.cgroups
    assert len(searches) == 2
    watched.forget()
    watched.find(SEARCH_SECONDS_MAX + SOON)
    assert len(searches) == 3


def test_who_comes_and_who_goes_is_seen_at_once(fake, watched):
    paths(watched)
    fake.cgroup("system.slice/mail.service", pids=(13,))
    assert paths(watched, SOON) == ["batch", "system.slice/mail.service", "system.slice/web.service"]
    fake.remove("batch")
    assert paths(watched, SOON) == ["system.slice/mail.service", "system.slice/web.service"]


def test_an_empty_one_that_is_entered_is_seen_at_once(fake, watched):
    paths(watched)
    fake.cgroup("system.slice/idle.service", pids=(14,))
    assert paths(watched, SOON) == ["batch", "system.slice/idle.service", "system.slice/web.service"]


def test_one_whose_last_process_ended_is_no_workload_from_then_on(fake, watched):
    paths(watched)
    fake.cgroup("batch", pids=())
    shutil.rmtree(fake.root / "proc/12")
    assert paths(watched, SOON) == ["system.slice/web.service"]


def test_another_process_stands_for_a_cgroup_when_the_first_ended(fake, watched):
    watched.find(0.0)
    fake.cgroup("batch", pids=(15,))
    fake.namespace(15, 7)
    shutil.rmtree(fake.root / "proc/12")
    found = watched.find(SOON)
    assert (found.cgroups[0].pid, found.namespaces[0]) == (15, "net:[7]")


def test_a_namespace_entered_late_is_seen_at_once(fake, watched, searches):
    watched.find(0.0)
    fake.namespace(12, 9)
    assert watched.find(SOON).namespaces[0] == "net:[9]"
    assert len(searches) == 1


def test_namespaces_nobody_may_look_at_are_no_reason_to_search(watched, searches, monkeypatch):
    def forbidden(_):
        raise PermissionError

    monkeypatch.setattr(watching.os, "readlink", forbidden)
    for time_seconds in (0.0, SOON):
        assert watched.find(time_seconds).namespaces == (None, None)
    assert len(searches) == 1


def open_files(root):
    links = list(Path("/proc/self/fd").iterdir())
    return sum(link.is_symlink() and str(link.readlink()).startswith(str(root)) for link in links)


def test_a_server_keeps_files_open_and_gives_them_all_back(fake):
    for number in range(3):
        fake.cgroup(f"box-{number}", pids=(100 + number,))
    server = fake.server(step_seconds=1)
    server.read()
    three = open_files(fake.root)
    assert three > 3
    fake.remove("box-2")
    server.read()
    assert open_files(fake.root) == three * 2 // 3
    server.close()
    assert open_files(fake.root) == 0
    assert list(server.read().roster.names) == ["box-0", "box-1"]
    assert open_files(fake.root) == 0


def test_one_that_took_the_place_of_another_is_seen_at_the_next_read_but_one(fake):
    for name in ("box-1", "box-2"):
        fake.cgroup(name, pids=())
    server = fake.server(step_seconds=1, chosen=["box-*"])
    server.read()
    fake.remove("box-1")
    fake.cgroup("box-3", pids=())
    fake.advance(1)
    server._view._reader.close()  # a kernel's file ends with its cgroup; one of this tree outlives it
    assert np.isnan(server.read().used[1]).tolist() == [True, False]
    fake.advance(1)
    assert list(server.read().roster.names) == ["box-2", "box-3"]
    server.close()
