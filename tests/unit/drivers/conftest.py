"""A file tree that stands for a machine with cgroups, version 1 or 2, and a server that reads it."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tidegate.drivers.local.machine import Machine
from tidegate.drivers.local.outside import Outside
from tidegate.drivers.local.server import LocalServer
from tidegate.testing import ManualClock

MIB = 2**20
GIB = 2**30
START = 1_704_067_200
NO_SOFT_LIMIT = "9223372036854771712"
MACHINE = Machine(
    cores=4.0,
    memory_bytes=16.0 * GIB,
    memory_bytes_used=4.0 * GIB,
    swap_bytes=0.0,
    network_bytes_per_second_max=math.inf,
    load_average=(0.5, 0.4, 0.3),
    cpu_seconds=100.0,
    disk_bytes=1e9,
    received_bytes=1e6,
    sent_bytes=2e6,
)
PRESSURE = (
    "some avg10={some:.2f} avg60=0.00 avg300=0.00 total={total}\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total={full}\n"
)


class FakeMachine:
    """Writes the files a kernel would show; every process named lives in its network namespace 1."""

    def __init__(self, root, version):
        self.root, self.version = Path(root), version
        self.top = self.root / "sys/fs/cgroup"
        self.machine = MACHINE
        self.processes = []
        self.gpus = None
        self.clock = ManualClock(START)
        self.passed = 1000.0
        names = ("cpu", "cpuacct", "memory", "blkio") if version == 1 else ("",)
        self.folders = {name: self.top / name if name else self.top for name in names}
        for folder in self.folders.values():
            folder.mkdir(parents=True)
        self.write("proc/self/mounts", "".join(self._mounts()))
        self.write("proc/sys/kernel/random/boot_id", "boot-1\n")
        self.namespace("self", 1)
        if version == 2:
            self.write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")

    def _mounts(self):
        yield "proc /proc proc rw 0 0\n"
        for name in self.folders:
            if name:
                yield f"cgroup /sys/fs/cgroup/{name} cgroup rw,relatime,{name} 0 0\n"
            else:
                yield "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def namespace(self, pid, number, received=0, sent=0):
        link = self.root / f"proc/{pid}/ns/net"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(f"net:[{number}]")
        loop = "    lo: 99 0 0 0 0 0 0 0 99 0 0 0 0 0 0 0\n"
        self.write(
            f"proc/{pid}/net/dev",
            f"Inter-|\n face |\n{loop}  eth0: {received} 0 0 0 0 0 0 0 {sent} 0 0 0 0 0 0 0\n",
        )

    def folder(self, path, controller):
        return self.folders[controller if self.version == 1 else ""] / path

    def file(self, path, name_1, name_2, controller):
        return self.folder(path, controller) / (name_1 if self.version == 1 else name_2)

    def quota_file(self, path):
        return self.file(path, "cpu.cfs_quota_us", "cpu.max", "cpu")

    def soft_file(self, path):
        return self.file(path, "memory.soft_limit_in_bytes", "memory.high", "memory")

    def hard_file(self, path):
        return self.file(path, "memory.limit_in_bytes", "memory.max", "memory")

    def weight_file(self, path):
        return self.file(path, "cpu.shares", "cpu.weight", "cpu")

    def rate_files(self, path):
        names = ["io.max"]
        if self.version == 1:
            names = [f"blkio.throttle.{direction}_bps_device" for direction in ("read", "write")]
        return [self.folder(path, "blkio") / name for name in names]

    def quota(self, path):
        """The quota's text without the period."""
        return self.quota_file(path).read_text().split()[0]

    def set_quota(self, path, quota, period=100_000):
        if self.version == 2:
            self.quota_file(path).write_text(f"{'max' if quota < 0 else quota} {period}\n")
        else:
            self.quota_file(path).write_text(f"{quota}\n")
            self.folder(path, "cpu").joinpath("cpu.cfs_period_us").write_text(f"{period}\n")

    def set_soft(self, path, amount):
        none = NO_SOFT_LIMIT if self.version == 1 else "max"
        self.soft_file(path).write_text(f"{none if amount is None else amount}\n")

    def cgroup(self, path, pids=(101,)):
        """Make a cgroup with processes in it, and nothing used yet."""
        for pid in pids:
            self.namespace(pid, 1)
        for controller in self.folders:
            folder = self.folder(path, controller)
            for part in (folder, *folder.parents):
                if part == self.folders[controller]:
                    break
                part.mkdir(parents=True, exist_ok=True)
                if not (part / "cgroup.procs").exists():
                    (part / "cgroup.procs").write_text("")
            (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
        self.set_quota(path, -1)
        self.set_soft(path, None)
        hard = "max\n" if self.version == 2 else f"{NO_SOFT_LIMIT}\n"
        self.hard_file(path).write_text(hard)
        self.weight_file(path).write_text("100\n" if self.version == 2 else "1024\n")
        for file in self.rate_files(path):
            file.write_text("")
        self.use(path)

    def use(
        self,
        path,
        *,
        cpu_seconds=0.0,
        throttled_seconds=0.0,
        memory=64 * MIB,
        inactive=0,
        cache=0,
        faults=0,
        swap=0,
        read=0,
        written=0,
        hard=None,
        stalled=0.0,
    ):
        """Say what a cgroup has used since it was made."""
        v1 = self.version == 1
        stat = {"nr_periods": int(10 * cpu_seconds), "nr_throttled": int(10 * throttled_seconds)}
        if v1:
            stat["throttled_time"] = int(throttled_seconds * 1e9)
            self.folder(path, "cpuacct").joinpath("cpuacct.usage").write_text(f"{int(cpu_seconds * 1e9)}\n")
            disk = f"8:0 Read {read}\n8:0 Write {written}\n8:0 Total {read + written}\nTotal 7\n"
            self.folder(path, "blkio").joinpath("blkio.throttle.io_service_bytes_recursive").write_text(disk)
            total = {"hierarchical_memory_limit": hard or int(NO_SOFT_LIMIT), "cache": 1}
            prefix = "total_"
        else:
            stat = {"usage_usec": int(cpu_seconds * 1e6)} | stat
            stat["throttled_usec"] = int(throttled_seconds * 1e6)
            self.folder(path, "").joinpath("io.stat").write_text(
                f"8:0 rbytes={read} wbytes={written} rios=1 wios=1\n8:16 rbytes=0 wbytes=0\n"
            )
            self.folder(path, "").joinpath("memory.swap.current").write_text(f"{swap}\n")
            for kind in ("cpu", "memory", "io"):
                self.folder(path, "").joinpath(f"{kind}.pressure").write_text(
                    PRESSURE.format(some=100 * stalled, total=int(stalled * 1e6), full=int(stalled * 5e5))
                )
            if hard:
                self.folder(path, "").joinpath("memory.max").write_text(f"{hard}\n")
            total, prefix = {}, ""
        total |= {
            f"{prefix}inactive_file": inactive,
            f"{prefix}cache" if v1 else "file": cache,
            f"{prefix}pgmajfault": faults,
            f"{prefix}swap": swap,
        }
        for folder, name, rows in (("cpu", "cpu.stat", stat), ("memory", "memory.stat", total)):
            lines = "".join(f"{key} {value}\n" for key, value in rows.items())
            self.folder(path, folder).joinpath(name).write_text(lines)
        self.file(path, "memory.usage_in_bytes", "memory.current", "memory").write_text(f"{memory}\n")

    def remove(self, path):
        for controller in self.folders:
            folder = self.folder(path, controller)
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()

    def advance(self, seconds):
        self.clock.advance(math.floor(seconds))
        self.passed += seconds

    def outside(self):
        return Outside(
            root=self.root,
            machine=lambda _: self.machine,
            processes=lambda _: self.processes,
            gpus=lambda: self.gpus,
            monotonic_seconds=lambda: self.passed,
            hostname=lambda: "here",
        )

    @property
    def ledger(self):
        return self.root / "run/tidegate/limits.json"

    def server(self, **options):
        given = {"step_seconds": 10, "clock": self.clock, "ledger_path": self.ledger} | options
        return LocalServer(outside=self.outside(), **given)

    def larger(self, **changes):
        self.machine = replace(self.machine, **changes)


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def fake(request, tmp_path):
    """A machine with an empty tree of cgroups."""
    return FakeMachine(tmp_path / "top", request.param)


@pytest.fixture
def fake_of(tmp_path):
    """Make machines of a version, as many as wanted."""
    made = []

    def make(version):
        made.append(FakeMachine(tmp_path / f"top-{len(made)}", version))
        return made[-1]

    return make


@pytest.fixture
def root_only():
    """Skip, and say so, where this machine does not let us make cgroups."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make cgroups: run the tests as root")
