"""Reads how a GPU may be cut, makes slices and takes them apart: the calls with C arrays in them."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tidegate.drivers.gpu.port import ABSENT_CODES, FULL_ENGINES, FUNCTION_NOT_FOUND, code_of, text_of
from tidegate.model.gpu import Geometry, Placed, SliceProfile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.drivers.gpu.port import Nvml

MEBIBYTE: Final = 2**20
"""The library says MB and means these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A slice as the library has it."""

    handle: Any
    slice_id: int
    placed: Placed
    computes: tuple[Any, ...]
    """Handles of its compute instances."""
    compute_profiles: tuple[int, ...]
    """What each was made of, by place."""


def geometry_of(nvml: Nvml, device: Any) -> Geometry | None:  # noqa: ANN401 - the library's handle
    """Return how a GPU may be cut; None if it can't be.

    Raises:
        NVMLError: the library's own; who is not root may not ask for placements.

    """
    profiles: dict[int, SliceProfile] = {}
    for info in _profile_infos(nvml, device):
        placements = _placements(nvml, device, info.id)
        if info.id in profiles or not placements:
            continue
        names = {profile.name for profile in profiles.values()}
        name = _name_of(info)
        profiles[info.id] = SliceProfile(
            name=name if name not in names else f"{name}#{info.id}",
            profile_id=info.id,
            compute_slices=info.sliceCount,
            memory_bytes=info.memorySizeMB * MEBIBYTE,
            size=placements[0][1],
            starts=tuple(start for start, _ in placements),
            instances_max=info.instanceCount,
        )
    if not profiles:
        return None
    return Geometry(
        compute_slices=max(profile.compute_slices for profile in profiles.values()),
        memory_slices=max(start + one.size for one in profiles.values() for start in one.starts),
        profiles=tuple(profiles.values()),
    )


def _profile_infos(nvml: Nvml, device: Any) -> Iterator[Any]:  # noqa: ANN401
    for number in range(nvml.NVML_GPU_INSTANCE_PROFILE_COUNT):
        try:
            yield _profile_info(nvml, device, number)
        except nvml.NVMLError as error:
            if code_of(error) not in ABSENT_CODES | {2}:  # a driver older than the number: invalid argument
                raise


def _profile_info(nvml: Nvml, device: Any, number: int) -> Any:  # noqa: ANN401
    try:
        return nvml.nvmlDeviceGetGpuInstanceProfileInfo(device, number)
    except nvml.NVMLError as error:
        if code_of(error) != FUNCTION_NOT_FOUND:
            raise
    return nvml.nvmlDeviceGetGpuInstanceProfileInfo(device, number, 1)  # drivers before 510 have no names


def _name_of(info: Any) -> str:  # noqa: ANN401
    name = text_of(getattr(info, "name", "")).removeprefix("MIG ").strip()
    return name or f"{info.sliceCount}g.{round(info.memorySizeMB / 1000)}gb"


def _placements(nvml: Nvml, device: Any, profile_id: int) -> list[tuple[int, int]]:  # noqa: ANN401
    """Return where a profile may lie, taken or not: start and size."""
    count = ctypes.c_uint(0)
    nvml.nvmlDeviceGetGpuInstancePossiblePlacements(device, profile_id, None, ctypes.byref(count))
    array = (nvml.c_nvmlGpuInstancePlacement_t * max(count.value, 1))()
    nvml.nvmlDeviceGetGpuInstancePossiblePlacements(device, profile_id, array, ctypes.byref(count))
    return [(array[at].start, array[at].size) for at in range(count.value)]


def instances_of(nvml: Nvml, device: Any, geometry: Geometry) -> list[Instance]:  # noqa: ANN401
    """Return the slices of a GPU, by place."""
    found = []
    for profile in geometry.profiles:
        count = ctypes.c_uint(profile.instances_max)
        array = (nvml.c_nvmlGpuInstance_t * profile.instances_max)()
        nvml.nvmlDeviceGetGpuInstances(device, profile.profile_id, array, ctypes.byref(count))
        for at in range(count.value):
            info = nvml.nvmlGpuInstanceGetInfo(array[at])
            computes = _computes(nvml, array[at], profile)
            found.append(
                Instance(
                    handle=array[at],
                    slice_id=info.id,
                    placed=Placed(profile=profile.name, start=info.placement.start, size=info.placement.size),
                    computes=tuple(handle for handle, _ in computes),
                    compute_profiles=tuple(number for _, number in computes),
                )
            )
    return sorted(found, key=lambda one: one.placed.start)


def _computes(nvml: Nvml, instance: Any, profile: SliceProfile) -> list[tuple[Any, int]]:  # noqa: ANN401
    """Return the compute instances in a slice with the profile of each, by place."""
    found = []
    for info in _compute_infos(nvml, instance):
        count = ctypes.c_uint(profile.compute_slices)
        array = (nvml.c_nvmlComputeInstance_t * profile.compute_slices)()
        nvml.nvmlGpuInstanceGetComputeInstances(instance, info.id, array, ctypes.byref(count))
        for at in range(count.value):
            about = nvml.nvmlComputeInstanceGetInfo(array[at])
            found.append((about.placement.start, array[at], info.id))
    return [(handle, number) for _, handle, number in sorted(found, key=lambda one: one[0])]


def _compute_infos(nvml: Nvml, instance: Any) -> list[Any]:  # noqa: ANN401
    """Return the profiles of compute instances that a slice may have, each once."""
    found: dict[int, Any] = {}
    for number in range(nvml.NVML_COMPUTE_INSTANCE_PROFILE_COUNT):
        try:
            info = nvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(instance, number, FULL_ENGINES)
        except nvml.NVMLError as error:
            if code_of(error) not in ABSENT_CODES | {2}:
                raise
        else:
            found.setdefault(info.id, info)
    return list(found.values())


def make(
    nvml: Nvml,
    device: Any,  # noqa: ANN401
    profile: SliceProfile,
    start: int,
    compute_profiles: tuple[int, ...] | None = None,
) -> None:
    """Make a slice at its place, then its compute instances; what fails in between is taken apart again.

    Without ``compute_profiles`` it gets one that has all of it.

    Raises:
        NVMLError: the library's own; nothing is left of the slice.

    """
    place = nvml.c_nvmlGpuInstancePlacement_t(start=start, size=profile.size)
    instance = nvml.nvmlDeviceCreateGpuInstanceWithPlacement(device, profile.profile_id, ctypes.byref(place))
    made: list[Any] = []
    try:
        wanted = (_whole(nvml, instance),) if compute_profiles is None else compute_profiles
        made.extend(nvml.nvmlGpuInstanceCreateComputeInstance(instance, number) for number in wanted)
    except nvml.NVMLError:
        for one in reversed(made):
            nvml.nvmlComputeInstanceDestroy(one)
        nvml.nvmlGpuInstanceDestroy(instance)
        raise


def _whole(nvml: Nvml, instance: Any) -> int:  # noqa: ANN401
    return int(max(_compute_infos(nvml, instance), key=lambda info: info.sliceCount).id)


def take_apart(nvml: Nvml, instance: Instance) -> None:
    """Destroy a slice: its compute instances, then itself.

    Raises:
        NVMLError: the library's own, `IN_USE` where a program is on it; compute instances that were
            destroyed before it are made again.

    """
    gone: list[int] = []
    try:
        for handle, number in zip(instance.computes, instance.compute_profiles, strict=True):
            nvml.nvmlComputeInstanceDestroy(handle)
            gone.append(number)
        nvml.nvmlGpuInstanceDestroy(instance.handle)
    except nvml.NVMLError:
        for number in gone:
            nvml.nvmlGpuInstanceCreateComputeInstance(instance.handle, number)
        raise
