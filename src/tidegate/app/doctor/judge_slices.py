"""Says what slices of GPUs can be had here, and why not. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate.app.doctor.finding import Finding, Need, State
from tidegate.app.doctor.judge_devices import GPU_GROUP
from tidegate.model.gpu import SliceMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.app.doctor.probe_slices import SlicesSeen
    from tidegate.model.gpu import Geometry

SLICES_USE: Final = "giving VMs and programs slices of this GPU, each with memory of its own"
VGPU_USE: Final = "giving VMs shares of this GPU that take turns"


def judge_slices(seen: Sequence[SlicesSeen]) -> tuple[Finding, ...]:
    """Judge the slices of each GPU, and the vGPUs where the host has a driver for them."""
    return tuple(finding for gpu in seen for finding in (_slices(gpu), *_vgpus(gpu)))


def _slices(gpu: SlicesSeen) -> Finding:
    state, text, get = _said(gpu)
    return Finding(
        name=f"slices of GPU {gpu.number}",
        group=GPU_GROUP,
        state=state,
        seen=text,
        good_for=SLICES_USE,
        need=Need.HARDWARE,
        get=get,
    )


def _said(gpu: SlicesSeen) -> tuple[State, str, str]:
    """Return the state, what was seen, and how to get more."""
    if gpu.mode is SliceMode.UNABLE:
        return State.MISSING, "this GPU can't be cut (no MIG): programs on it take turns", ""
    if not gpu.may_see or gpu.geometry is None:
        remedy = f"Run as root to see and replace the slices of GPU {gpu.number}."
        return State.LIMITED, f"MIG {gpu.mode.value}; only root is told its slices", remedy
    if gpu.mode is SliceMode.OFF:
        # How to switch it on stands with the GPU itself.
        return State.LIMITED, f"MIG off; could be {_profiles(gpu.geometry)}", ""
    if gpu.mode is not SliceMode.ON:
        remedy = f"Reset GPU {gpu.number} when nobody uses it: nvidia-smi --gpu-reset, or a reboot."
        return State.LIMITED, f"MIG is {gpu.mode.value}", remedy
    used = sum(one.in_use for one in gpu.slices)
    taken = sum(one.placed.size for one in gpu.slices)
    whole = gpu.geometry.memory_slices
    names = ", ".join(one.placed.profile for one in gpu.slices) or "none"
    text = f"{names}; {used} of {len(gpu.slices)} in use; {whole - taken} of {whole} memory slices free; "
    return State.WORKS, f"{text}could be {_profiles(gpu.geometry)}", ""


def _profiles(geometry: Geometry) -> str:
    return ", ".join(f"{profile.instances_max} x {profile.name}" for profile in geometry.profiles)


def _vgpus(gpu: SlicesSeen) -> tuple[Finding, ...]:
    if gpu.vgpus is None:
        return ()
    turns = "" if gpu.schedule is None else f", by {gpu.schedule.turns.name.lower().replace('_', ' ')}"
    return (
        Finding(
            name=f"vGPUs of GPU {gpu.number}",
            group=GPU_GROUP,
            state=State.WORKS,
            seen=f"{gpu.vgpus} on it{turns}",
            good_for=VGPU_USE,
            need=Need.HARDWARE,
        ),
    )
