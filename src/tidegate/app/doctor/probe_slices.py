"""Reads how GPUs are cut into slices and shared by virtual machines; changes nothing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from tidegate.drivers.gpu.geometry import geometry_of, instances_of
from tidegate.drivers.gpu.policies import schedule_of
from tidegate.drivers.gpu.port import ABSENT_CODES, NO_PERMISSION, code_of
from tidegate.drivers.gpu.reading import mode_of, slices_of
from tidegate.drivers.gpu.server import GPUS_MAX
from tidegate.model.gpu import SliceMode

if TYPE_CHECKING:
    from tidegate.app.doctor.outside import Outside
    from tidegate.drivers.gpu.port import Nvml
    from tidegate.model.gpu import Geometry, Slice
    from tidegate.model.gpu_sharing import VgpuSchedule


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicesSeen:
    """One GPU and its slices."""

    number: int
    mode: SliceMode
    geometry: Geometry | None
    """None where it can't be cut, or we may not know how."""
    may_see: bool
    """Whether the driver tells us the slices there are."""
    slices: tuple[Slice, ...]
    vgpus: int | None
    """None without the driver for them."""
    schedule: VgpuSchedule | None


def read_slices(outside: Outside) -> tuple[SlicesSeen, ...]:
    """Read every GPU that NVML tells of; nothing without it, or where its binding is too old to tell."""
    if not outside.has_module("pynvml"):
        return ()
    try:
        nvml = cast("Nvml", outside.load_module("pynvml"))
    except ImportError:
        return ()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return ()
    try:
        count = min(nvml.nvmlDeviceGetCount(), GPUS_MAX)
        handles = [nvml.nvmlDeviceGetHandleByIndex(at) for at in range(count)]
        return tuple(_seen(nvml, number, handle) for number, handle in enumerate(handles))
    except (nvml.NVMLError, AttributeError):
        return ()
    finally:
        with suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _seen(nvml: Nvml, number: int, device: Any) -> SlicesSeen:  # noqa: ANN401 - the library's handle
    mode = mode_of(nvml, device)
    vgpus = _vgpus(nvml, device)
    geometry: Geometry | None = None
    slices: tuple[Slice, ...] = ()
    may_see = True
    try:
        geometry = None if mode is SliceMode.UNABLE else geometry_of(nvml, device)
        if mode is SliceMode.ON and geometry is not None:
            slices = slices_of(nvml, device, instances_of(nvml, device, geometry), (), {})
    except nvml.NVMLError as error:
        if code_of(error) != NO_PERMISSION:
            raise
        may_see = False
    return SlicesSeen(
        number=number,
        mode=mode,
        geometry=geometry,
        may_see=may_see,
        slices=slices,
        vgpus=vgpus,
        schedule=None if vgpus is None else schedule_of(nvml, device),
    )


def _vgpus(nvml: Nvml, device: Any) -> int | None:  # noqa: ANN401
    """Return how many vGPUs are on a GPU; None where the host has no driver for them."""
    try:
        return len(nvml.nvmlDeviceGetActiveVgpus(device))
    except nvml.NVMLError as error:
        if code_of(error) in ABSENT_CODES:
            return None
        raise
