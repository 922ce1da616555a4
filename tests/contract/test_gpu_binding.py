"""NVIDIA's own binding between the driver and GPUs in memory: its structures and arrays, without its C.

The binding looks its C functions up by name, through one function. Here that one finds functions which hand
on to the fake library what they are given, and write its answers where C would.
"""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from pathlib import Path

import pytest

from tidegate.drivers.gpu.server import GpuServer
from tidegate.model.gpu import Placed, Replacement
from tidegate.testing import A100_40GB, H100_80GB, FakeNvml, FakeNvmlError, gpu_checks

pynvml = pytest.importorskip("pynvml", reason="needs the extra gpu")
INSUFFICIENT_SIZE = 7


def number_of(handle):
    return ctypes.cast(handle, ctypes.c_void_p).value


def put(reference, number):
    """Write a number or a handle where a reference points."""
    target = reference._obj
    if "LP_" in type(target).__name__:
        ctypes.cast(reference, ctypes.POINTER(ctypes.c_void_p))[0] = number
    else:
        target.value = number


class Below:
    """The C functions, over a fake library."""

    def __init__(self, fake):
        self.fake = fake
        self.objects = {}

    def find(self, name):
        function = getattr(self, name.removesuffix("_v2").removesuffix("_v3"), None)
        if function is None:
            return lambda *_: 3 if name != "nvmlErrorString" else b"an error"

        def called(*asked):
            try:
                return function(*asked) or 0
            except FakeNvmlError as error:
                return error.value

        return called

    def handle(self, thing):
        number = 0x1000 + 8 * len(self.objects)
        for known, other in self.objects.items():
            if other == thing:
                return known
        self.objects[number] = thing
        return number

    def at(self, handle):
        return self.objects[number_of(handle)]

    def nvmlDeviceGetCount(self, count):  # noqa: N802 - these names are the library's
        put(count, self.fake.nvmlDeviceGetCount())

    def nvmlDeviceGetHandleByIndex(self, index, device):  # noqa: N802
        put(device, self.handle(self.fake.nvmlDeviceGetHandleByIndex(index.value)))

    def nvmlDeviceGetName(self, device, buffer, _size):  # noqa: N802
        buffer.value = self.fake.nvmlDeviceGetName(self.at(device)).encode()

    def nvmlDeviceGetUUID(self, device, buffer, _size):  # noqa: N802
        buffer.value = self.fake.nvmlDeviceGetUUID(self.at(device)).encode()

    def nvmlDeviceGetMemoryInfo(self, device, memory):  # noqa: N802
        said = self.fake.nvmlDeviceGetMemoryInfo(self.at(device))
        memory._obj.total, memory._obj.used, memory._obj.free = said.total, said.used, said.free

    def nvmlDeviceGetMigMode(self, device, current, pending):  # noqa: N802
        for target, mode in zip(
            (current, pending), self.fake.nvmlDeviceGetMigMode(self.at(device)), strict=True
        ):
            put(target, mode)

    def nvmlDeviceGetGpuInstanceProfileInfoV(self, device, profile, info):  # noqa: N802
        said = self.fake.nvmlDeviceGetGpuInstanceProfileInfo(self.at(device), profile)
        assert info._obj.version == pynvml.nvmlGpuInstanceProfileInfo_v2
        for name, value in vars(said).items():
            setattr(info._obj, name, value)

    def nvmlDeviceGetGpuInstancePossiblePlacements(self, device, profile, places, count):  # noqa: N802
        self.fake.nvmlDeviceGetGpuInstancePossiblePlacements(self.at(device), profile, None, count)
        if places is not None:
            row = next(row for row in self.at(device).kind.profiles if row.profile_id == profile)
            for at, start in enumerate(row.starts):
                places[at].start, places[at].size = start, row.size

    def nvmlDeviceGetGpuInstances(self, device, profile, handles, count):  # noqa: N802
        found = (ctypes.c_void_p * len(handles))()
        self.fake.nvmlDeviceGetGpuInstances(self.at(device), profile, found, count)
        for at in range(count._obj.value):
            handles[at] = ctypes.cast(found[at], type(handles)._type_)

    def nvmlDeviceCreateGpuInstanceWithPlacement(self, device, profile, place, handle):  # noqa: N802
        put(handle, self.fake.nvmlDeviceCreateGpuInstanceWithPlacement(self.at(device), profile, place))

    def nvmlGpuInstanceDestroy(self, handle):  # noqa: N802
        self.fake.nvmlGpuInstanceDestroy(number_of(handle))

    def nvmlGpuInstanceGetInfo(self, handle, info):  # noqa: N802
        said = self.fake.nvmlGpuInstanceGetInfo(number_of(handle))
        info._obj.id, info._obj.profileId = said.id, said.profileId
        info._obj.placement.start, info._obj.placement.size = said.placement.start, said.placement.size

    def nvmlGpuInstanceGetComputeInstanceProfileInfoV(self, handle, profile, engines, info):  # noqa: N802
        said = self.fake.nvmlGpuInstanceGetComputeInstanceProfileInfo(number_of(handle), profile, engines)
        assert info._obj.version == pynvml.nvmlComputeInstanceProfileInfo_v2
        info._obj.id, info._obj.sliceCount = said.id, said.sliceCount

    def nvmlGpuInstanceGetComputeInstances(self, handle, profile, handles, count):  # noqa: N802
        found = (ctypes.c_void_p * len(handles))()
        self.fake.nvmlGpuInstanceGetComputeInstances(number_of(handle), profile, found, count)
        for at in range(count._obj.value):
            handles[at] = ctypes.cast(found[at], type(handles)._type_)

    def nvmlGpuInstanceCreateComputeInstance(self, handle, profile, made):  # noqa: N802
        put(made, self.fake.nvmlGpuInstanceCreateComputeInstance(number_of(handle), profile))

    def nvmlComputeInstanceDestroy(self, handle):  # noqa: N802
        self.fake.nvmlComputeInstanceDestroy(number_of(handle))

    def nvmlComputeInstanceGetInfo(self, handle, info):  # noqa: N802
        said = self.fake.nvmlComputeInstanceGetInfo(number_of(handle))
        info._obj.id, info._obj.profileId = said.id, said.profileId
        info._obj.placement.start, info._obj.placement.size = said.placement.start, said.placement.size

    def nvmlDeviceGetMaxMigDeviceCount(self, device, count):  # noqa: N802
        put(count, self.fake.nvmlDeviceGetMaxMigDeviceCount(self.at(device)))

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device, index, handle):  # noqa: N802
        put(handle, self.handle(self.fake.nvmlDeviceGetMigDeviceHandleByIndex(self.at(device), index.value)))

    def nvmlDeviceGetGpuInstanceId(self, device, number):  # noqa: N802
        put(number, self.fake.nvmlDeviceGetGpuInstanceId(self.at(device)))

    def nvmlDeviceGetComputeRunningProcesses(self, device, count, processes):  # noqa: N802
        said = self.fake.nvmlDeviceGetComputeRunningProcesses(self.at(device))
        is_enough = count._obj.value >= len(said)
        count._obj.value = len(said)
        if not is_enough:
            return INSUFFICIENT_SIZE
        for at, process in enumerate(said):
            processes[at].pid, processes[at].usedGpuMemory = process.pid, process.usedGpuMemory
        return 0

    def nvmlGpmSampleAlloc(self, sample):  # noqa: N802
        number = 0x900000 + 8 * len(self.objects)
        self.objects[number] = self.fake.nvmlGpmSampleAlloc()
        put(sample, number)

    def nvmlGpmSampleFree(self, sample):  # noqa: N802
        self.fake.nvmlGpmSampleFree(self.at(sample))

    def nvmlGpmMigSampleGet(self, device, slice_id, sample):  # noqa: N802
        self.fake.nvmlGpmMigSampleGet(self.at(device), slice_id, self.at(sample))

    def nvmlGpmMetricsGet(self, asked):  # noqa: N802
        wanted = asked._obj
        assert (wanted.version, wanted.numMetrics) == (pynvml.NVML_GPM_METRICS_GET_VERSION, 1)
        assert wanted.metrics[0].metricId == pynvml.NVML_GPM_METRIC_SM_UTIL
        ours = self.fake.c_nvmlGpmMetricsGet_t()
        ours.sample1, ours.sample2 = self.at(wanted.sample1), self.at(wanted.sample2)
        wanted.metrics[0].value = self.fake.nvmlGpmMetricsGet(ours).metrics[0].value


@pytest.fixture
def over(monkeypatch):
    """Put the binding over a fake library."""

    def put_over(fake):
        fake.nvmlInit()
        below = Below(fake)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer", below.find)
        monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
        monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
        return pynvml

    return put_over


IDS = [str(check) for check in gpu_checks(FakeNvml, folder=Path(), occupy=lambda *_: None)]


@pytest.mark.parametrize("at", range(len(IDS)), ids=IDS)
def test_the_driver_keeps_over_the_binding(at, over, tmp_path):
    fakes = []

    def make():
        fakes.append(FakeNvml([A100_40GB]))
        return over(fakes[-1])

    @contextmanager
    def occupied(_nvml, gpu, found):
        fakes[-1].run(gpu.uuid, found.placed.start, 4242)
        try:
            yield
        finally:
            fakes[-1].end(4242)

    gpu_checks(make, folder=tmp_path, occupy=occupied)[at]()


def test_the_binding_s_structures_tell_the_same_as_the_fake_library(over, tmp_path):
    fake = FakeNvml([A100_40GB, H100_80GB])
    with GpuServer(fake, ledger_path=tmp_path / "a.json") as server:
        straight = server.look()
    with GpuServer(over(fake), ledger_path=tmp_path / "b.json") as server:
        assert server.look() == straight


def test_use_of_slices_is_read_through_the_binding(over, tmp_path):
    fake = FakeNvml([H100_80GB])
    small = Placed(profile="1g.10gb", start=2, size=1)
    with GpuServer(over(fake), ledger_path=tmp_path / "a.json") as server:
        server.replace(Replacement(gpu=fake.gpus[0].uuid, create=(small,)))
        fake.cut(fake.gpus[0].uuid, 2).utilisation = 0.25
        fake.run(fake.gpus[0].uuid, 2, 77, memory_bytes=123)
        server.look()
        (found,) = server.look()[0].slices
    assert found.use.utilisation == pytest.approx(0.25)
    assert (found.use.processes, found.use.memory_bytes_used) == ((77,), 123)
