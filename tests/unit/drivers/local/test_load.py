"""Loads of a known shape, and the cgroup made for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidegate.lab.bench.load import Bursts, Leak, LoadCgroup, main
from tidegate.model.errors import InputError

MIB = 2**20
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures through Linux's /proc")


def test_bursts_stand_at_the_start_of_every_period():
    bursts = Bursts(seconds=9, period_seconds=3, burst_seconds=1, cores=1.0, idle_cores=0.25)
    assert [bursts.cores_at(at) for at in (0, 0.9, 1, 2.9, 3.5, 5)] == [1.0, 1.0, 0.25, 0.25, 1.0, 0.25]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Bursts(seconds=0),
        lambda: Bursts(seconds=1e9),
        lambda: Bursts(seconds=float("nan")),
        lambda: Bursts(seconds=1, burst_seconds=2, period_seconds=1),
        lambda: Bursts(seconds=1, cores=10_000),
        lambda: Bursts(seconds=1, cores=0.5, idle_cores=0.6),
        lambda: Leak(seconds=1, bytes_per_second=0, bytes_max=1),
        lambda: Leak(seconds=1, bytes_per_second=1, bytes_max=float("inf")),
    ],
)
def test_a_load_without_end_or_sense_is_refused(make):
    with pytest.raises(InputError):
        make()


def spent(load):
    """CPU seconds and peak bytes of a load run to its end."""
    script = (
        "import os, re, sys; from tidegate.lab.bench.load import main; main(sys.argv[1:]);"
        "peak = re.search('VmHWM:\\\\s+([0-9]+)', open('/proc/self/status').read())[1];"
        "print(sum(os.times()[:4]), int(peak) * 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *load.arguments()], check=True, capture_output=True, timeout=60
    )
    cpu, peak = done.stdout.split()
    return float(cpu), int(peak)


@LINUX
def test_a_burn_uses_what_it_wants_and_ends_by_itself():
    idle, _ = spent(Bursts(seconds=0.01, cores=0.0, idle_cores=0.0))
    cpu, _ = spent(Bursts(seconds=2, period_seconds=1, burst_seconds=0.5, cores=0.8, idle_cores=0.2))
    assert 0.5 < cpu - idle < 1.3, "one core second is wanted; other work on this machine takes its part"


@LINUX
def test_a_leak_stops_at_its_bound():
    _, idle = spent(Leak(seconds=0.01, bytes_per_second=1, bytes_max=1))
    _, peak = spent(Leak(seconds=1, bytes_per_second=400 * MIB, bytes_max=60 * MIB))
    assert 55 * MIB < peak - idle < 75 * MIB


def test_a_load_enters_its_cgroup_before_it_starts(tmp_path):
    (tmp_path / "cgroup.procs").write_text("")
    main(["burn", "--seconds=0.01", "--cores=0", f"--cgroup={tmp_path}"])
    assert (tmp_path / "cgroup.procs").read_text() == str(os.getpid())
    with pytest.raises(FileNotFoundError):
        main(["burn", "--seconds=0.01", f"--cgroup={tmp_path / 'gone'}"])


def test_a_cgroup_is_made_under_every_controller_and_removed(fake):
    if fake.version == 2:
        fake.write("sys/fs/cgroup/cgroup.subtree_control", "cpu memory\n")
    controllers = ("cpu", "cpuacct", "memory") if fake.version == 1 else ("",)
    with LoadCgroup("tidegate-one", root=fake.root) as made:
        assert set(made.folders) == {str(fake.folder("tidegate-one", of)) for of in controllers}
        assert all(Path(folder).is_dir() for folder in made.folders)
    assert not any(fake.folder("tidegate-one", of).exists() for of in controllers)


@pytest.mark.parametrize("name", ["web", "tidegate-a/b", "../tidegate-a"])
def test_only_cgroups_of_ours_are_made(fake, name):
    with pytest.raises(InputError, match="no other is touched"):
        LoadCgroup(name, root=fake.root)


def test_one_that_exists_is_left_alone(fake_of):
    fake = fake_of(1)
    taken = fake.folder("tidegate-one", "memory")
    taken.mkdir()
    with pytest.raises(InputError, match="File exists"):
        LoadCgroup("tidegate-one", root=fake.root)
    assert taken.is_dir()
    assert not fake.folder("tidegate-one", "cpu").exists()


def test_version_2_must_have_its_controllers_on(fake_of):
    fake = fake_of(2)
    fake.write("sys/fs/cgroup/cgroup.subtree_control", "pids\n")
    with pytest.raises(InputError, match="'\\+cpu \\+memory'"):
        LoadCgroup("tidegate-one", root=fake.root)
