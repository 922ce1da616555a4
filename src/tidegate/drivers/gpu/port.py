"""The calls of NVIDIA's library that the driver makes, under the names of its Python binding, pynvml.

Whatever has these functions can stand in for it: `tidegate.testing.FakeNvml` does, without a GPU. Handles are
the library's own and mean nothing here; structures are ctypes', which arrays of them are made of.
"""

# ruff: noqa: N802, N803, N815, ANN401, D102 - names are the library's, which ships no types

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, cast

from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Sequence

MISSING: Final = "NVIDIA's Python binding is not installed; run pip install 'tidegate[gpu]'"
NOT_SUPPORTED: Final = 3
NO_PERMISSION: Final = 4
NOT_FOUND: Final = 6
DRIVER_NOT_LOADED: Final = 9
LIBRARY_NOT_FOUND: Final = 12
FUNCTION_NOT_FOUND: Final = 13
RESET_REQUIRED: Final = 16
IN_USE: Final = 19
INSUFFICIENT_RESOURCES: Final = 23
"""Of nvmlReturn_t (nvml.h)."""
ABSENT_CODES: Final = frozenset({NOT_SUPPORTED, FUNCTION_NOT_FOUND})
"""This GPU, or this driver, can't do that: which is no failure."""
VM_ID_IS_UUID: Final = 1
"""NVML_VGPU_VM_ID_UUID."""
FULL_ENGINES: Final = 0
"""NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED, the only one there is."""


class Nvml(Protocol):
    """The library; every function may raise its ``NVMLError``, whose ``value`` is the code."""

    NVMLError: ClassVar[type[Exception]]
    NVML_GPU_INSTANCE_PROFILE_COUNT: ClassVar[int]
    NVML_COMPUTE_INSTANCE_PROFILE_COUNT: ClassVar[int]
    c_nvmlGpuInstance_t: ClassVar[Any]
    c_nvmlComputeInstance_t: ClassVar[Any]
    c_nvmlGpuInstancePlacement_t: ClassVar[Any]
    c_nvmlVgpuSchedulerSetState_t: ClassVar[Any]
    c_nvmlGpmMetricsGet_t: ClassVar[Any]

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...
    def nvmlDeviceGetName(self, handle: Any) -> str: ...
    def nvmlDeviceGetUUID(self, handle: Any) -> str: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...
    def nvmlDeviceGetComputeMode(self, handle: Any) -> int: ...
    def nvmlDeviceSetComputeMode(self, handle: Any, mode: int) -> None: ...
    def nvmlDeviceGetMigMode(self, device: Any) -> Sequence[int]: ...
    def nvmlDeviceSetMigMode(self, device: Any, mode: int) -> int: ...
    def nvmlDeviceGetGpuInstanceProfileInfo(self, device: Any, profile: int, version: int = 2) -> Any: ...
    def nvmlDeviceGetGpuInstancePossiblePlacements(
        self, device: Any, profileId: int, placementsRef: Any, countRef: Any
    ) -> int: ...
    def nvmlDeviceGetGpuInstances(
        self, device: Any, profileId: int, gpuInstancesRef: Any, countRef: Any
    ) -> int: ...
    def nvmlDeviceCreateGpuInstanceWithPlacement(
        self, device: Any, profileId: int, placement: Any
    ) -> Any: ...
    def nvmlGpuInstanceDestroy(self, gpuInstance: Any) -> int: ...
    def nvmlGpuInstanceGetInfo(self, gpuInstance: Any) -> Any: ...
    def nvmlGpuInstanceGetComputeInstanceProfileInfo(
        self, device: Any, profile: int, engProfile: int, version: int = 2
    ) -> Any: ...
    def nvmlGpuInstanceGetComputeInstances(
        self, gpuInstance: Any, profileId: int, computeInstancesRef: Any, countRef: Any
    ) -> int: ...
    def nvmlGpuInstanceCreateComputeInstance(self, gpuInstance: Any, profileId: int) -> Any: ...
    def nvmlComputeInstanceDestroy(self, computeInstance: Any) -> int: ...
    def nvmlComputeInstanceGetInfo(self, computeInstance: Any) -> Any: ...
    def nvmlDeviceGetMaxMigDeviceCount(self, device: Any) -> int: ...
    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: Any, index: int) -> Any: ...
    def nvmlDeviceGetGpuInstanceId(self, device: Any) -> int: ...
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> Sequence[Any]: ...
    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: Any) -> Sequence[Any]: ...
    def nvmlDeviceGetMPSComputeRunningProcesses(self, handle: Any) -> Sequence[Any]: ...
    def nvmlGpmSampleAlloc(self) -> Any: ...
    def nvmlGpmSampleFree(self, gpmSample: Any) -> None: ...
    def nvmlGpmMigSampleGet(self, device: Any, gpuInstanceId: int, gpmSample: Any) -> Any: ...
    def nvmlGpmMetricsGet(self, metricsGet: Any) -> Any: ...
    def nvmlDeviceGetActiveVgpus(self, handle: Any) -> Sequence[int]: ...
    def nvmlVgpuInstanceGetUUID(self, vgpuInstance: int) -> str: ...
    def nvmlVgpuInstanceGetVmID(self, vgpuInstance: int) -> tuple[Any, int]: ...
    def nvmlVgpuInstanceGetType(self, vgpuInstance: int) -> int: ...
    def nvmlVgpuInstanceGetFbUsage(self, vgpuInstance: int) -> int: ...
    def nvmlVgpuInstanceGetGpuInstanceId(self, vgpuInstance: int) -> int: ...
    def nvmlVgpuTypeGetName(self, vgpuTypeId: int) -> Any: ...
    def nvmlDeviceGetVgpuSchedulerState(self, handle: Any) -> Any: ...
    def nvmlDeviceSetVgpuSchedulerState(self, handle: Any, sched_state: Any) -> int: ...
    def nvmlDeviceGetVgpuSchedulerCapabilities(self, handle: Any) -> Any: ...


def binding() -> Nvml:
    """Return the binding of the library of this machine.

    Raises:
        InputError: it is not installed.

    """
    try:
        return cast("Nvml", importlib.import_module("pynvml"))
    except ImportError as error:
        raise InputError(MISSING) from error


def opened(nvml: Nvml) -> Nvml:
    """Return the library, initialised; whoever calls this calls its ``nvmlShutdown`` once.

    Raises:
        TidegateError: the driver can't be reached; the sentence says why.

    """
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        if code_of(error) in {LIBRARY_NOT_FOUND, DRIVER_NOT_LOADED}:
            raise TidegateError(
                "NVIDIA's driver is not here; install it, or run this where the GPU is"
            ) from error
        raise TidegateError(f"NVIDIA's driver does not answer ({error}); see nvidia-smi") from error
    return nvml


def code_of(error: Exception) -> int:
    """Return the library's number of an error; -1 for one that is not the library's."""
    return int(getattr(error, "value", -1))


def text_of(name: Any) -> str:
    """Return a name that the library gives as bytes or as text, by version."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
