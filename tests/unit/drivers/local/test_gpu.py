"""GPUs through the vendor's library, which a module of the same functions stands for."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tidegate.drivers.local.gpu import find_gpus
from tidegate.drivers.local.processes import Process
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource


class NVMLError(Exception):
    """As the library's own, with a code."""

    def __init__(self, value):
        super().__init__(value)
        self.value = value


class FakeLibrary:
    """Two GPUs; `samples` holds (pid, time, percent) of each."""

    NVMLError = NVMLError
    NVML_ERROR_NOT_FOUND = 6
    NVML_ERROR_NOT_SUPPORTED = 3

    def __init__(self, count=2, fails=None):
        self.count, self.fails = count, fails
        self.samples = [[] for _ in range(count)]
        self.is_open = False

    def nvmlInit(self):  # noqa: N802 - the library's name
        if self.fails == "init":
            raise NVMLError(12)
        self.is_open = True

    def nvmlShutdown(self):  # noqa: N802
        self.is_open = False

    def nvmlDeviceGetCount(self):  # noqa: N802
        return self.count

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return index

    def nvmlDeviceGetProcessUtilization(self, handle, since):  # noqa: N802
        if self.fails == "processes":
            raise NVMLError(self.NVML_ERROR_NOT_SUPPORTED)
        fresh = [sample for sample in self.samples[handle] if sample[1] > since]
        if not fresh:
            raise NVMLError(self.NVML_ERROR_NOT_FOUND)
        return [SimpleNamespace(pid=pid, timeStamp=at, smUtil=percent) for pid, at, percent in fresh]


def test_no_driver_or_no_gpu_is_no_resource(fake):
    assert find_gpus(FakeLibrary(fails="init")) is None
    assert find_gpus(FakeLibrary(count=0)) is None
    assert Resource.GPU not in fake.server().resources


def test_use_is_the_mean_since_the_last_read_summed_over_gpus():
    library = FakeLibrary()
    gpus = find_gpus(library)
    assert len(gpus) == 2
    assert gpus.read() == {}
    library.samples = [[(7, 1, 20), (7, 2, 40), (8, 2, 100)], [(7, 2, 50)]]
    assert gpus.read() == {7: pytest.approx(0.8), 8: 1.0}
    assert gpus.read() == {}
    library.samples[1] += [(8, 3, 10)]
    assert gpus.read() == {8: pytest.approx(0.1)}


def test_a_driver_that_does_not_tell_by_process_leaves_it_unknown(fake):
    fake.gpus = find_gpus(FakeLibrary(fails="processes"))
    fake.cgroup("web")
    snapshot = fake.server().read()
    row = snapshot.resources.index(Resource.GPU)
    assert np.isnan(snapshot.used[row, 0])
    assert snapshot.capacity[row, 0] == 2.0


def test_use_is_summed_by_the_cgroup_a_process_lives_in_or_below(fake):
    library = FakeLibrary()
    fake.gpus = find_gpus(library)
    fake.cgroup("system.slice/web.service/worker", pids=(201,))
    fake.cgroup("batch", pids=(202,))
    controllers = "4:memory:" if fake.version == 1 else "0::"
    fake.write("proc/201/cgroup", f"{controllers}/system.slice/web.service/worker\n")
    library.samples[0] = [(201, 1, 30), (999, 1, 50)]
    server = fake.server()
    snapshot = server.read()
    row = snapshot.resources.index(Resource.GPU)
    assert snapshot.resources[row] is Resource.GPU
    assert list(snapshot.roster.names) == ["batch", "system.slice/web.service"]
    np.testing.assert_array_equal(snapshot.used[row], np.float32([0.0, 0.3]))
    assert snapshot.places.allocatable[row, 0] == 2.0
    server.close()
    assert not library.is_open


def test_a_server_that_cannot_start_lets_go_of_the_driver(fake):
    library = FakeLibrary()
    fake.gpus = find_gpus(library)
    fake.write("proc/self/mounts", "")
    with pytest.raises(InputError):
        fake.server(act=["web"])
    assert not library.is_open


def test_use_is_summed_by_process_group_where_there_are_no_cgroups(fake):
    library = FakeLibrary()
    fake.gpus = find_gpus(library)
    library.samples[0] = [(11, 1, 30), (12, 1, 20)]
    fields = dict.fromkeys(("cpu_seconds", "disk_bytes", "major_faults", "swap_bytes"), 0.0)
    fake.processes = [
        Process(pid=pid, group=11, name="train", start_seconds=1.0, memory_bytes=1.0, **fields)
        for pid in (11, 12)
    ]
    snapshot = fake.server().read()
    assert snapshot.used[snapshot.resources.index(Resource.GPU), 0] == np.float32(0.5)
