"""How a GPU is shared by time: between programs, and between the vGPUs of virtual machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tidegate.drivers.gpu.port import ABSENT_CODES, code_of
from tidegate.model.errors import TidegateError
from tidegate.model.gpu_sharing import Sharing, Turns, VgpuSchedule
from tidegate.model.refusals import Because, Refusal

if TYPE_CHECKING:
    from tidegate.drivers.gpu.ledger import Ledger
    from tidegate.drivers.gpu.port import Nvml
    from tidegate.model.gpu import Gpu

SHARING: Final = "sharing"
SCHEDULE: Final = "vgpu schedule"
"""Names of settings in the ledger."""
ARR_AS_THE_DRIVER_SEES_FIT: Final = 0
ARR_OFF: Final = 1
"""NVML_VGPU_SCHEDULER_ARR_DEFAULT and _DISABLE: under the adaptive scheduler turns have no fixed length."""


def sharing_of(nvml: Nvml, device: Any) -> Sharing:  # noqa: ANN401 - the library's handle
    """Return who may compute on a GPU at a time.

    Raises:
        TidegateError: the driver does not say.

    """
    try:
        mode = nvml.nvmlDeviceGetComputeMode(device)
    except nvml.NVMLError as error:
        raise TidegateError(f"the compute mode is not told ({error}); see nvidia-smi") from error
    known = {one.value: one for one in Sharing}
    return known.get(mode, Sharing.ONE_PROGRAM)  # 1 was one thread of one program, which no driver has now


def set_sharing(nvml: Nvml, device: Any, gpu: str, ledger: Ledger, sharing: Sharing) -> Sharing:  # noqa: ANN401
    """Say who may compute on a GPU at a time; returns what is read back.

    Raises:
        TidegateError: the driver refuses, or it reads back otherwise.

    """
    before = sharing_of(nvml, device)
    if before is sharing:
        return before
    ledger.note(gpu, SHARING, (before.value,))
    try:
        nvml.nvmlDeviceSetComputeMode(device, sharing.value)
    except nvml.NVMLError as error:
        raise TidegateError(f"the compute mode of {gpu} can't be set ({error}); run as root") from error
    now = sharing_of(nvml, device)
    if now is not sharing:
        raise TidegateError(f"the compute mode of {gpu} reads back as {now.name}, not as {sharing.name}")
    return now


def schedule_of(nvml: Nvml, device: Any) -> VgpuSchedule | None:  # noqa: ANN401
    """Return how vGPUs take turns; None where the GPU or the driver has none."""
    try:
        state = nvml.nvmlDeviceGetVgpuSchedulerState(device)
    except nvml.NVMLError as error:
        if code_of(error) in ABSENT_CODES:
            return None
        raise TidegateError(f"the schedule of vGPUs is not told ({error}); see nvidia-smi vgpu") from error
    if state.schedulerPolicy not in {one.value for one in Turns}:
        return None
    turns = Turns(state.schedulerPolicy)
    if turns is Turns.BEST_EFFORT:
        return VgpuSchedule(turns=turns)
    params = state.schedulerParams
    is_fixed = state.arrMode == ARR_OFF
    length = params.vgpuSchedData.timeslice if is_fixed else params.vgpuSchedDataWithARR.timeslice
    return VgpuSchedule(turns=turns, timeslice_nanoseconds=int(length) or None)


def set_schedule(nvml: Nvml, device: Any, gpu: Gpu, ledger: Ledger, wanted: VgpuSchedule) -> VgpuSchedule:  # noqa: ANN401
    """Say how vGPUs take turns, which may change only while no virtual machine is on the GPU.

    Raises:
        Refusal: one is, the GPU has no such policy, or turns can't be so long.
        TidegateError: the driver refuses, or it reads back otherwise.

    """
    if gpu.vgpus:
        raise Refusal(
            Because.NOT_NOW,
            f"{len(gpu.vgpus)} vGPUs are on {gpu.uuid}; their schedule can change only while none is",
        )
    before = schedule_of(nvml, device)
    if before is None:
        raise Refusal(
            Because.UNSUPPORTED, f"{gpu.uuid} has no vGPUs; they need NVIDIA's vGPU driver on the host"
        )
    if before == wanted:
        return before
    _check(nvml, device, wanted)
    ledger.note(gpu.uuid, SCHEDULE, (before.turns.value, before.timeslice_nanoseconds or 0))
    _set(nvml, device, wanted)
    now = schedule_of(nvml, device)
    is_set = now is not None and now.turns is wanted.turns
    if now is None or not is_set or wanted.timeslice_nanoseconds not in {None, now.timeslice_nanoseconds}:
        raise TidegateError(f"the schedule of vGPUs of {gpu.uuid} reads back as {now}, not as {wanted}")
    return now


def _check(nvml: Nvml, device: Any, wanted: VgpuSchedule) -> None:  # noqa: ANN401
    try:
        can = nvml.nvmlDeviceGetVgpuSchedulerCapabilities(device)
    except nvml.NVMLError as error:
        raise TidegateError(f"schedules of vGPUs are not told ({error}); see nvidia-smi vgpu") from error
    if wanted.turns.value not in list(can.supportedSchedulers):
        raise Refusal(Because.UNSUPPORTED, f"this GPU has no schedule '{wanted.turns.name.lower()}'")
    length = wanted.timeslice_nanoseconds
    if length is not None and not can.minTimeslice <= length <= can.maxTimeslice:
        raise Refusal(
            Because.INVALID,
            f"turns of {length} ns can't be; this GPU's take {can.minTimeslice} to {can.maxTimeslice} ns",
        )


def _set(nvml: Nvml, device: Any, wanted: VgpuSchedule) -> None:  # noqa: ANN401
    state = nvml.c_nvmlVgpuSchedulerSetState_t()
    state.schedulerPolicy = wanted.turns.value
    state.enableARRMode = ARR_AS_THE_DRIVER_SEES_FIT
    if wanted.timeslice_nanoseconds is not None:
        state.enableARRMode = ARR_OFF
        state.schedulerParams.vgpuSchedData.timeslice = wanted.timeslice_nanoseconds
    try:
        nvml.nvmlDeviceSetVgpuSchedulerState(device, state)
    except nvml.NVMLError as error:
        raise TidegateError(f"the schedule of vGPUs can't be set ({error}); run as root") from error


def restore(nvml: Nvml, device: Any, gpu: str, ledger: Ledger) -> None:  # noqa: ANN401
    """Give a GPU's owner the settings back that were changed.

    Raises:
        TidegateError: the driver refuses; they stay noted.

    """
    noted = ledger.settings(gpu)
    if SHARING in noted:
        set_sharing(nvml, device, gpu, ledger, Sharing(noted[SHARING][0]))
        ledger.drop(gpu, SHARING)
    if SCHEDULE in noted:
        turns, length = noted[SCHEDULE]
        _set(nvml, device, VgpuSchedule(turns=Turns(turns), timeslice_nanoseconds=length or None))
        ledger.drop(gpu, SCHEDULE)
