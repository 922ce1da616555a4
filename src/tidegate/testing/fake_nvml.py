"""NVIDIA's library without a GPU: the functions of its Python binding over GPUs in memory.

It cuts GPUs as real ones are, keeps programs and vGPUs on slices, and refuses with the library's own codes:
a slice that overlaps, a place that is none, a slice in use. Tests put programs on it with `run`, and have
calls fail with `fail`. `check_gpu` holds it to what the library does.
"""

# ruff: noqa: N802, N803, N815, ANN401, D102 - names are the library's, which ships no types

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tidegate.drivers.gpu import port
from tidegate.testing.fake_gpu_machine import Compute, Cut, FakeGpu, FakeNvmlError, MigDevice, Placement
from tidegate.testing.fake_gpu_machine import call_of_the_library as _call
from tidegate.testing.fake_nvml_use import FakeUse, gpu_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.testing.fake_gpus import FakeProfile

INVALID_ARGUMENT: Final = 2
MEBIBYTE: Final = 2**20
COMPUTE_SLICES: Final = (1, 2, 3, 4, 7)
"""Of a compute instance, by NVML_COMPUTE_INSTANCE_PROFILE_..."""


class FakeNvml(FakeUse):
    """The library; hand it out wherever `tidegate.drivers.gpu.port.Nvml` is wanted."""

    NVMLError: ClassVar[type[Exception]] = FakeNvmlError
    NVML_GPU_INSTANCE_PROFILE_COUNT: ClassVar[int] = 0x12
    NVML_COMPUTE_INSTANCE_PROFILE_COUNT: ClassVar[int] = 0x9
    c_nvmlGpuInstance_t: ClassVar[Any] = ctypes.c_void_p
    c_nvmlComputeInstance_t: ClassVar[Any] = ctypes.c_void_p
    c_nvmlGpuInstancePlacement_t: ClassVar[Any] = Placement

    # --- The library and its GPUs ------------------------------------------------------------------

    @_call
    def nvmlInit(self) -> None:
        self.opened += 1

    @_call
    def nvmlShutdown(self) -> None:
        self.opened -= 1

    @_call
    def nvmlSystemGetDriverVersion(self) -> str:
        return "560.35.03"

    @_call
    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    @_call
    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        if not 0 <= index < len(self.gpus):
            raise FakeNvmlError(INVALID_ARGUMENT)
        return self.gpus[index]

    @_call
    def nvmlDeviceGetName(self, handle: Any) -> str:
        return str(gpu_of(handle).kind.name)

    @_call
    def nvmlDeviceGetUUID(self, handle: Any) -> str:
        return str(handle.compute.uuid if isinstance(handle, MigDevice) else handle.uuid)

    @_call
    def nvmlDeviceGetComputeMode(self, handle: FakeGpu) -> int:
        return handle.compute_mode

    @_call
    def nvmlDeviceSetComputeMode(self, handle: FakeGpu, mode: int) -> None:
        self.as_root()
        handle.compute_mode = mode

    # --- Slices ------------------------------------------------------------------------------------

    @_call
    def nvmlDeviceGetMigMode(self, device: FakeGpu) -> Sequence[int]:
        if not device.kind.profiles:
            raise FakeNvmlError(port.NOT_SUPPORTED)
        return list(device.mode)

    @_call
    def nvmlDeviceSetMigMode(self, device: FakeGpu, mode: int) -> int:
        self.as_root()
        if not device.kind.profiles:
            raise FakeNvmlError(port.NOT_SUPPORTED)
        if device.cuts or device.processes or device.vgpus:
            raise FakeNvmlError(port.IN_USE)
        device.mode[1] = mode
        if device.kind.turns_on_at_once:
            device.mode[0] = mode
            return 0
        return port.RESET_REQUIRED

    @_call
    def nvmlDeviceGetGpuInstanceProfileInfo(self, device: FakeGpu, profile: int, version: int = 2) -> Any:
        for row in device.kind.profiles:
            if row.number == profile:
                info = SimpleNamespace(
                    id=row.profile_id,
                    sliceCount=row.slices,
                    instanceCount=row.instances,
                    multiprocessorCount=row.processors,
                    memorySizeMB=row.memory_mebibytes,
                )
                if version >= 2:
                    info.name = f"MIG {row.name}".encode()
                return info
        known = 0 <= profile < self.NVML_GPU_INSTANCE_PROFILE_COUNT
        raise FakeNvmlError(port.NOT_SUPPORTED if known else INVALID_ARGUMENT)

    @_call
    def nvmlDeviceGetGpuInstancePossiblePlacements(
        self, device: FakeGpu, profileId: int, placementsRef: Any, countRef: Any
    ) -> int:
        self.as_root()
        row = _profile_of(device, profileId)
        countRef._obj.value = len(row.starts)  # noqa: SLF001 - what ctypes' byref points at
        for at, start in enumerate(row.starts if placementsRef is not None else ()):
            placementsRef[at] = Placement(start, row.size)
        return 0

    @_call
    def nvmlDeviceGetGpuInstances(
        self, device: FakeGpu, profileId: int, gpuInstancesRef: Any, countRef: Any
    ) -> int:
        self.as_root()
        _in_slices(device)
        row = _profile_of(device, profileId)
        handles = [handle for handle, cut in device.cuts.items() if cut.profile is row]
        countRef._obj.value = len(handles)  # noqa: SLF001
        for at, handle in enumerate(handles):
            gpuInstancesRef[at] = handle
        return 0

    @_call
    def nvmlDeviceCreateGpuInstanceWithPlacement(
        self, device: FakeGpu, profileId: int, placement: Any
    ) -> int:
        self.as_root()
        _in_slices(device)
        row, wanted = _profile_of(device, profileId), placement._obj  # noqa: SLF001
        if wanted.start not in row.starts or wanted.size != row.size:
            raise FakeNvmlError(INVALID_ARGUMENT)
        places = set(range(wanted.start, wanted.start + row.size))
        alike = sum(cut.profile is row for cut in device.cuts.values())
        if alike >= row.instances or any(places & set(cut.places) for cut in device.cuts.values()):
            raise FakeNvmlError(port.INSUFFICIENT_RESOURCES)
        taken = {cut.number for cut in device.cuts.values()}
        handle = next(self.numbers)
        device.cuts[handle] = Cut(
            handle=handle,
            number=next(number for number in range(1, 100) if number not in taken),
            profile=row,
            start=wanted.start,
        )
        return handle

    @_call
    def nvmlGpuInstanceDestroy(self, gpuInstance: int) -> int:
        self.as_root()
        gpu, cut = self._cut_of(gpuInstance)
        on_it = [one for one in (gpu.vgpus or {}).values() if one.slice_id == cut.number]
        if cut.computes or on_it:
            raise FakeNvmlError(port.IN_USE)
        del gpu.cuts[gpuInstance]
        return 0

    @_call
    def nvmlGpuInstanceGetInfo(self, gpuInstance: int) -> Any:
        gpu, cut = self._cut_of(gpuInstance)
        return SimpleNamespace(
            device=gpu,
            id=cut.number,
            profileId=cut.profile.profile_id,
            placement=Placement(cut.start, cut.profile.size),
        )

    # --- Compute instances -------------------------------------------------------------------------

    @_call
    def nvmlGpuInstanceGetComputeInstanceProfileInfo(
        self, device: int, profile: int, engProfile: int, version: int = 2
    ) -> Any:
        _, cut = self._cut_of(device)
        if not 0 <= profile < self.NVML_COMPUTE_INSTANCE_PROFILE_COUNT or engProfile:
            raise FakeNvmlError(INVALID_ARGUMENT)
        if profile >= len(COMPUTE_SLICES) or COMPUTE_SLICES[profile] > cut.profile.slices:
            raise FakeNvmlError(port.NOT_SUPPORTED)
        return SimpleNamespace(id=profile, sliceCount=COMPUTE_SLICES[profile])

    @_call
    def nvmlGpuInstanceGetComputeInstances(
        self, gpuInstance: int, profileId: int, computeInstancesRef: Any, countRef: Any
    ) -> int:
        self.as_root()
        _, cut = self._cut_of(gpuInstance)
        handles = [handle for handle, one in cut.computes.items() if one.profile == profileId]
        countRef._obj.value = len(handles)  # noqa: SLF001
        for at, handle in enumerate(handles):
            computeInstancesRef[at] = handle
        return 0

    @_call
    def nvmlGpuInstanceCreateComputeInstance(self, gpuInstance: int, profileId: int) -> int:
        self.as_root()
        _, cut = self._cut_of(gpuInstance)
        if not 0 <= profileId < len(COMPUTE_SLICES):
            raise FakeNvmlError(INVALID_ARGUMENT)
        taken = {at for one in cut.computes.values() for at in range(one.start, one.start + one.slices)}
        slices = COMPUTE_SLICES[profileId]
        for start in range(cut.profile.slices - slices + 1):
            if not taken & set(range(start, start + slices)):
                handle = next(self.numbers)
                cut.computes[handle] = Compute(
                    number=len(cut.computes),
                    profile=profileId,
                    start=start,
                    slices=slices,
                    uuid=f"MIG-{handle:08x}-0000-4000-8000-000000000000",
                )
                return handle
        raise FakeNvmlError(port.INSUFFICIENT_RESOURCES)

    @_call
    def nvmlComputeInstanceDestroy(self, computeInstance: int) -> int:
        self.as_root()
        cut, compute = self._compute_of(computeInstance)
        if compute.processes:
            raise FakeNvmlError(port.IN_USE)
        del cut.computes[computeInstance]
        return 0

    @_call
    def nvmlComputeInstanceGetInfo(self, computeInstance: int) -> Any:
        _, compute = self._compute_of(computeInstance)
        return SimpleNamespace(
            id=compute.number,
            profileId=compute.profile,
            placement=Placement(compute.start, compute.slices),
        )

    @_call
    def nvmlDeviceGetMaxMigDeviceCount(self, device: FakeGpu) -> int:
        return max((row.instances for row in device.kind.profiles), default=0)

    @_call
    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: FakeGpu, index: int) -> MigDevice:
        devices = [
            MigDevice(device, cut, compute)
            for cut in device.cuts.values()
            for compute in cut.computes.values()
        ]
        if index >= len(devices):
            raise FakeNvmlError(port.NOT_FOUND)
        return devices[index]

    @_call
    def nvmlDeviceGetGpuInstanceId(self, device: MigDevice) -> int:
        return device.cut.number

    # --- What it looks up --------------------------------------------------------------------------

    def _cut_of(self, handle: int) -> tuple[FakeGpu, Cut]:
        for gpu in self.gpus:
            if handle in gpu.cuts:
                return gpu, gpu.cuts[handle]
        raise FakeNvmlError(INVALID_ARGUMENT)

    def _compute_of(self, handle: int) -> tuple[Cut, Compute]:
        for gpu in self.gpus:
            for cut in gpu.cuts.values():
                if handle in cut.computes:
                    return cut, cut.computes[handle]
        raise FakeNvmlError(INVALID_ARGUMENT)


def _profile_of(gpu: FakeGpu, profile_id: int) -> FakeProfile:
    for row in gpu.kind.profiles:
        if row.profile_id == profile_id:
            return row
    raise FakeNvmlError(INVALID_ARGUMENT)


def _in_slices(gpu: FakeGpu) -> None:
    if not gpu.mode[0]:
        raise FakeNvmlError(port.NOT_SUPPORTED)
