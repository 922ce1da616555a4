"""The part of the fake library that tells who uses GPUs: programs, counters of slices, and vGPUs."""

# ruff: noqa: N802, N803, N815, ANN401, D102 - names are the library's, which ships no types

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tidegate.drivers.gpu import port
from tidegate.testing.fake_gpu_machine import FakeGpu, FakeMachine, FakeNvmlError, FakeVgpu, MigDevice
from tidegate.testing.fake_gpu_machine import call_of_the_library as _call

if TYPE_CHECKING:
    from collections.abc import Sequence

INVALID_ARGUMENT: Final = 2
MEBIBYTE: Final = 2**20
TURN_NANOSECONDS: Final = (1_000_000, 2_000_000, 30_000_000)
"""Least, usual and most."""
NO_SLICE: Final = 0xFFFFFFFF


class VgpuParams(ctypes.Structure):
    """nvmlVgpuSchedulerSetParams_t, of turns with a fixed length."""

    class Turns(ctypes.Structure):
        """nvmlVgpuSchedSetData_t."""

        _fields_ = (("timeslice", ctypes.c_uint),)

    _fields_ = (("vgpuSchedData", Turns),)


class VgpuState(ctypes.Structure):
    """nvmlVgpuSchedulerSetState_t."""

    _fields_ = (
        ("schedulerPolicy", ctypes.c_uint),
        ("enableARRMode", ctypes.c_uint),
        ("schedulerParams", VgpuParams),
    )


class GpmMetrics:
    """nvmlGpmMetricsGet_t, of one metric."""

    def __init__(self) -> None:
        self.version = self.numMetrics = 0
        self.sample1 = self.sample2 = None
        self.metrics = [SimpleNamespace(metricId=0, nvmlReturn=0, value=0.0)]


class FakeUse(FakeMachine):
    """Who uses GPUs."""

    c_nvmlVgpuSchedulerSetState_t: ClassVar[Any] = VgpuState
    c_nvmlGpmMetricsGet_t: ClassVar[Any] = GpmMetrics

    @_call
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:
        gpu = gpu_of(handle)
        cuts = [handle.cut] if isinstance(handle, MigDevice) else list(gpu.cuts.values())
        mebibytes = gpu.kind.memory_mebibytes
        if isinstance(handle, MigDevice):
            mebibytes = handle.cut.profile.memory_mebibytes
        used = sum(sum(one.processes.values()) for cut in cuts for one in cut.computes.values()) + (
            0 if isinstance(handle, MigDevice) else sum(gpu.processes.values())
        )
        total = mebibytes * MEBIBYTE
        return SimpleNamespace(total=total, used=used, free=total - used)

    # --- Use ---------------------------------------------------------------------------------------

    @_call
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> Sequence[Any]:
        if isinstance(handle, MigDevice):
            found = dict(handle.compute.processes)
        else:
            found = dict(handle.processes)
            for cut in handle.cuts.values():
                for compute in cut.computes.values():
                    found |= compute.processes
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in found.items()]

    @_call
    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: Any) -> Sequence[Any]:
        if isinstance(handle, MigDevice):
            raise FakeNvmlError(port.NOT_SUPPORTED)
        return []

    @_call
    def nvmlDeviceGetMPSComputeRunningProcesses(self, handle: Any) -> Sequence[Any]:
        return []

    @_call
    def nvmlGpmSampleAlloc(self) -> Any:
        return SimpleNamespace(value=0.0)

    @_call
    def nvmlGpmSampleFree(self, gpmSample: Any) -> None:
        gpmSample.value = None

    @_call
    def nvmlGpmMigSampleGet(self, device: FakeGpu, gpuInstanceId: int, gpmSample: Any) -> Any:
        if not device.kind.counts_by_slice:
            raise FakeNvmlError(port.NOT_SUPPORTED)
        for cut in device.cuts.values():
            if cut.number == gpuInstanceId:
                gpmSample.value = cut.utilisation
                return gpmSample
        raise FakeNvmlError(INVALID_ARGUMENT)

    @_call
    def nvmlGpmMetricsGet(self, metricsGet: Any) -> Any:
        if metricsGet.sample1.value is None or metricsGet.sample2.value is None:
            raise FakeNvmlError(INVALID_ARGUMENT)
        metricsGet.metrics[0].value = 100 * metricsGet.sample2.value
        return metricsGet

    # --- vGPUs -------------------------------------------------------------------------------------

    @_call
    def nvmlDeviceGetActiveVgpus(self, handle: FakeGpu) -> Sequence[int]:
        if handle.vgpus is None:
            raise FakeNvmlError(port.NOT_SUPPORTED)
        return list(handle.vgpus)

    @_call
    def nvmlVgpuInstanceGetUUID(self, vgpuInstance: int) -> str:
        return self._vgpu(vgpuInstance).uuid

    @_call
    def nvmlVgpuInstanceGetVmID(self, vgpuInstance: int) -> tuple[Any, int]:
        vgpu = self._vgpu(vgpuInstance)
        return vgpu.vm_id.encode(), vgpu.vm_id_kind

    @_call
    def nvmlVgpuInstanceGetType(self, vgpuInstance: int) -> int:
        return vgpuInstance

    @_call
    def nvmlVgpuInstanceGetFbUsage(self, vgpuInstance: int) -> int:
        self._vgpu(vgpuInstance)
        return 512

    @_call
    def nvmlVgpuInstanceGetGpuInstanceId(self, vgpuInstance: int) -> int:
        slice_id = self._vgpu(vgpuInstance).slice_id
        return NO_SLICE if slice_id is None else slice_id

    @_call
    def nvmlVgpuTypeGetName(self, vgpuTypeId: int) -> Any:
        return self._vgpu(vgpuTypeId).kind

    @_call
    def nvmlDeviceGetVgpuSchedulerState(self, handle: FakeGpu) -> Any:
        if handle.vgpus is None:
            raise FakeNvmlError(port.NOT_SUPPORTED)
        turns, adaptive, length = handle.schedule
        return SimpleNamespace(
            schedulerPolicy=turns,
            arrMode=adaptive,
            schedulerParams=SimpleNamespace(
                vgpuSchedData=SimpleNamespace(timeslice=length),
                vgpuSchedDataWithARR=SimpleNamespace(avgFactor=0, timeslice=length),
            ),
        )

    @_call
    def nvmlDeviceSetVgpuSchedulerState(self, handle: FakeGpu, sched_state: Any) -> int:
        self.as_root()
        if handle.vgpus is None:
            raise FakeNvmlError(port.NOT_SUPPORTED)
        if handle.vgpus:
            raise FakeNvmlError(port.IN_USE)
        is_fixed = sched_state.enableARRMode == 1
        length = sched_state.schedulerParams.vgpuSchedData.timeslice if is_fixed else TURN_NANOSECONDS[1]
        handle.schedule = (sched_state.schedulerPolicy, sched_state.enableARRMode, length)
        return 0

    @_call
    def nvmlDeviceGetVgpuSchedulerCapabilities(self, handle: FakeGpu) -> Any:
        least, _, most = TURN_NANOSECONDS
        return SimpleNamespace(supportedSchedulers=(1, 2, 3), minTimeslice=least, maxTimeslice=most)

    def _vgpu(self, handle: int) -> FakeVgpu:
        for gpu in self.gpus:
            if handle in (gpu.vgpus or {}):
                return (gpu.vgpus or {})[handle]
        raise FakeNvmlError(INVALID_ARGUMENT)


def gpu_of(handle: FakeGpu | MigDevice) -> FakeGpu:
    """Return the GPU of a device, whole or part."""
    return handle.gpu if isinstance(handle, MigDevice) else handle
