"""Reads GPUs: slices with who uses them, and vGPUs with the virtual machines they belong to."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

from tidegate.drivers.gpu.port import ABSENT_CODES, NOT_FOUND, VM_ID_IS_UUID, code_of, text_of
from tidegate.model.gpu import Slice, SliceMode, SliceUse, Vgpu

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tidegate.drivers.gpu.geometry import Instance
    from tidegate.drivers.gpu.port import Nvml

NO_SLICE: Final = 0xFFFFFFFF
"""What the library calls the slice of a vGPU that is in none (NVML_VGPU_..._INVALID, as in its headers)."""
MEBIBYTE: Final = 2**20
MODES: Final = {
    (1, 1): SliceMode.ON,
    (0, 0): SliceMode.OFF,
    (0, 1): SliceMode.TO_BE_ON,
    (1, 0): SliceMode.TO_BE_OFF,
}
"""By the mode that is and the one that is pending."""


def mode_of(nvml: Nvml, device: Any) -> SliceMode:  # noqa: ANN401 - the library's handle
    """Return whether a GPU is in slices."""
    try:
        current, pending = nvml.nvmlDeviceGetMigMode(device)
    except nvml.NVMLError as error:
        if code_of(error) in ABSENT_CODES:
            return SliceMode.UNABLE
        raise
    return MODES[bool(current), bool(pending)]


def slices_of(
    nvml: Nvml,
    device: Any,  # noqa: ANN401
    instances: Sequence[Instance],
    vgpus: Sequence[Vgpu],
    utilisation: Mapping[int, float],
) -> tuple[Slice, ...]:
    """Return the slices of a GPU with who uses each."""
    devices = _mig_devices(nvml, device) if instances else {}
    found = []
    for instance in instances:
        handles = devices.get(instance.slice_id, [])
        on_it = tuple(vgpu.uuid for vgpu in vgpus if vgpu.slice_id == instance.slice_id)
        pids, is_told = _processes(nvml, handles)
        use = SliceUse(
            processes=pids,
            memory_bytes_used=_memory_used(nvml, handles),
            utilisation=utilisation.get(instance.slice_id),
            vgpus=on_it,
            # A compute instance that has no device yet, or none any more, can't be asked for its processes.
            is_told=is_told and len(handles) == len(instance.computes),
        )
        uuids = tuple(sorted(text_of(nvml.nvmlDeviceGetUUID(handle)) for handle in handles))
        found.append(Slice(slice_id=instance.slice_id, placed=instance.placed, uuids=uuids, use=use))
    return tuple(found)


def _mig_devices(nvml: Nvml, device: Any) -> dict[int, list[Any]]:  # noqa: ANN401
    """Return the devices that programs see, by the slice they are in."""
    found: dict[int, list[Any]] = {}
    for at in range(nvml.nvmlDeviceGetMaxMigDeviceCount(device)):
        try:
            handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(device, at)
        except nvml.NVMLError as error:
            if code_of(error) != NOT_FOUND:
                raise
            continue
        found.setdefault(nvml.nvmlDeviceGetGpuInstanceId(handle), []).append(handle)
    return found


def processes_of(nvml: Nvml, device: Any) -> tuple[tuple[int, ...], bool]:  # noqa: ANN401
    """Return the programs on a device, and whether the library said all it knows."""
    pids, is_told = set[int](), True
    for ask, must in (
        (nvml.nvmlDeviceGetComputeRunningProcesses, True),
        (nvml.nvmlDeviceGetGraphicsRunningProcesses, False),
        (nvml.nvmlDeviceGetMPSComputeRunningProcesses, False),
    ):
        try:
            pids.update(process.pid for process in ask(device))
        except nvml.NVMLError as error:
            is_told &= not must and code_of(error) in ABSENT_CODES
    return tuple(sorted(pids)), is_told


def _processes(nvml: Nvml, handles: Iterable[Any]) -> tuple[tuple[int, ...], bool]:
    said = [processes_of(nvml, handle) for handle in handles]
    return tuple(sorted({pid for pids, _ in said for pid in pids})), all(told for _, told in said)


def _memory_used(nvml: Nvml, handles: Iterable[Any]) -> int | None:
    """Return the memory in use; devices in one slice share its memory and all tell the same."""
    used = []
    for handle in handles:
        try:
            used.append(int(nvml.nvmlDeviceGetMemoryInfo(handle).used))
        except nvml.NVMLError as error:
            if code_of(error) not in ABSENT_CODES:
                raise
    return max(used, default=None)


def vgpus_of(nvml: Nvml, device: Any) -> tuple[Vgpu, ...]:  # noqa: ANN401
    """Return the vGPUs on a GPU, each with its virtual machine; none where the driver has none."""
    try:
        active = nvml.nvmlDeviceGetActiveVgpus(device)
    except nvml.NVMLError as error:
        if code_of(error) in ABSENT_CODES:
            return ()
        raise
    return tuple(_vgpu(nvml, each) for each in active)


def _vgpu(nvml: Nvml, instance: int) -> Vgpu:
    said, kind = nvml.nvmlVgpuInstanceGetVmID(instance)
    vm_id = text_of(said)
    return Vgpu(
        uuid=text_of(nvml.nvmlVgpuInstanceGetUUID(instance)),
        kind=text_of(nvml.nvmlVgpuTypeGetName(nvml.nvmlVgpuInstanceGetType(instance))),
        vm_uuid=_plain_uuid(vm_id) if kind == VM_ID_IS_UUID else "",
        vm_id=vm_id,
        memory_bytes_used=_optional(nvml, nvml.nvmlVgpuInstanceGetFbUsage, instance, MEBIBYTE),
        slice_id=_optional(nvml, nvml.nvmlVgpuInstanceGetGpuInstanceId, instance),
    )


def _optional(nvml: Nvml, ask: Any, instance: int, scale: int = 1) -> int | None:  # noqa: ANN401
    try:
        said = int(ask(instance))
    except nvml.NVMLError as error:
        if code_of(error) in ABSENT_CODES:
            return None
        raise
    return None if said == NO_SLICE else said * scale


def _plain_uuid(text: str) -> str:
    """Return a UUID as libvirt writes it; as it is where it is none."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return text.lower()


def by_vm(vgpus: Iterable[Vgpu], vms: Mapping[str, str]) -> dict[str, tuple[Vgpu, ...]]:
    """Return the vGPUs of each virtual machine, by its name: ``vms`` names them by UUID.

    Machines without a vGPU are left out, and so are vGPUs of machines that are not among them.
    """
    names = {_plain_uuid(known): name for known, name in vms.items()}
    found: dict[str, list[Vgpu]] = {}
    for vgpu in vgpus:
        name = names.get(vgpu.vm_uuid)
        if name is not None:
            found.setdefault(name, []).append(vgpu)
    return {name: tuple(those) for name, those in found.items()}
