"""The GPUs of one machine: looked at, and their slices given out and replaced."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

from tidegate.drivers.gpu import policies
from tidegate.drivers.gpu.geometry import geometry_of, instances_of
from tidegate.drivers.gpu.ledger import LEDGER_PATH, Held, Ledger
from tidegate.drivers.gpu.port import NO_PERMISSION, binding, code_of, opened, text_of
from tidegate.drivers.gpu.reading import mode_of, processes_of, slices_of, vgpus_of
from tidegate.drivers.gpu.replacing import (
    Bench,
    carry_out,
    check,
    is_done,
    laid_out,
    put_back,
    undo_of,
)
from tidegate.drivers.gpu.utilisation import SliceCounters
from tidegate.model.errors import TidegateError
from tidegate.model.gpu import Gpu, Replacement, SliceMode
from tidegate.model.refusals import Because, Refusal

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tidegate.drivers.gpu.ledger import LaidOut, Undo
    from tidegate.drivers.gpu.port import Nvml
    from tidegate.model.gpu import Geometry, Placed, Slice
    from tidegate.model.gpu_sharing import Sharing, VgpuSchedule

GPUS_MAX: Final = 64
"""Of one machine; what it has beyond that is not looked at."""


class GpuServer:
    """Reads and changes GPUs; only one at a time may, which its ledger's lock sees to. Calls block."""

    def __init__(self, nvml: Nvml | None = None, *, ledger_path: Path = LEDGER_PATH) -> None:
        """Open the library, and undo what an earlier process had begun to replace.

        Raises:
            InputError: the binding is not installed, or another process has the ledger.
            TidegateError: the driver can't be reached.

        """
        self._nvml = opened(binding() if nvml is None else nvml)
        self._lock = threading.RLock()
        self._geometry: dict[str, Geometry | None] = {}
        self._counters = SliceCounters(self._nvml)
        self.unsettled: tuple[str, ...] = ()
        """What could not be undone so far, in sentences; it is tried again by `settle`."""
        try:
            self._ledger = Ledger(ledger_path)
        except BaseException:
            self._nvml.nvmlShutdown()
            raise
        try:
            self._devices = self._found()
            self.settle()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the library and the ledger; slices stay as they are, and whose they are."""
        self._counters.close()
        self._ledger.close()
        self._nvml.nvmlShutdown()

    def look(self) -> tuple[Gpu, ...]:
        """Return every GPU as it is now.

        Raises:
            TidegateError: a GPU does not answer.

        """
        return tuple(self.look_at(gpu) for gpu in self._devices)

    def look_at(self, gpu: str) -> Gpu:
        """Return one GPU as it is now; without rights to see its slices, it has none and no geometry.

        Raises:
            Refusal: there is none of that UUID.
            TidegateError: it does not answer.

        """
        device = self._device(gpu)
        nvml = self._nvml
        with self._lock:
            try:
                mode = mode_of(nvml, device)
                vgpus = vgpus_of(nvml, device)
                geometry = self._geometry_of(gpu, device, mode)
                slices: tuple[Slice, ...] = ()
                if mode is SliceMode.ON and geometry is not None:
                    instances = instances_of(nvml, device, geometry)
                    busy = self._counters.read(gpu, device, [one.slice_id for one in instances])
                    slices = slices_of(nvml, device, instances, vgpus, busy)
                return Gpu(
                    uuid=gpu,
                    name=text_of(nvml.nvmlDeviceGetName(device)),
                    memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(device).total),
                    mode=mode,
                    geometry=geometry,
                    slices=tuple(self._with_holder(gpu, one) for one in slices),
                    vgpus=vgpus,
                )
            except nvml.NVMLError as error:
                raise TidegateError(f"GPU {gpu} does not answer ({error}); see nvidia-smi") from error

    def replace(self, order: Replacement) -> Gpu:
        """Replace slices of one GPU and return it as read back; all of the order comes about, or nothing.

        Raises:
            Refusal: it may not be, and nothing was touched: a slice is in use, or the new ones do not fit.
            TidegateError: it failed half-way; the slices are as they were, or the sentence says what is not.

        """
        return self._replaced(order, ())

    def _replaced(self, order: Replacement, layout: tuple[LaidOut, ...]) -> Gpu:
        with self._lock:
            if order.gpu in self._ledger.begun():
                raise Refusal(
                    Because.NOT_NOW, f"an earlier change of {order.gpu} is not undone yet; settle it first"
                )
            before = self.look_at(order.gpu)
            check(before, order)
            if before.geometry is not None and (order.destroy or order.create):
                device = self._device(order.gpu)
                bench = Bench(nvml=self._nvml, device=device, geometry=before.geometry)
                self._replace(bench, order, layout)
            return self.look_at(order.gpu)

    def give(self, gpu: str, placed: Placed, holder: str) -> None:
        """Note who holds a slice: it is in use from now on, also while nothing computes on it.

        Raises:
            Refusal: there is no such slice, or another holds it.

        """
        with self._lock:
            found = self._slice(gpu, placed)
            if not holder or found.holder not in {"", holder}:
                raise Refusal(
                    Because.NOT_NOW,
                    f"slice {placed.profile} at {placed.start} of {gpu} is held by '{found.holder}'; "
                    "take it back first",
                )
            self._hold(gpu, found, holder)

    def take_back(self, gpu: str, placed: Placed) -> None:
        """Note that nobody holds a slice any more; what computes on it still keeps it in use.

        Raises:
            Refusal: there is no such slice.

        """
        with self._lock:
            self._hold(gpu, self._slice(gpu, placed), "")

    def settle(self) -> None:
        """Undo what was begun and never came to its end; what can't be undone now stays noted."""
        with self._lock:
            problems = []
            for gpu, undo in self._ledger.begun().items():
                problems += self._settled(gpu, undo)
            self.unsettled = tuple(problems)

    def set_mode(self, gpu: str, *, sliced: bool) -> SliceMode:
        """Switch slices of a GPU on or off and return how it is now, which may need a reset yet.

        Raises:
            Refusal: somebody uses it, or it has slices.
            TidegateError: the driver refuses.

        """
        with self._lock:
            now, device = self.look_at(gpu), self._device(gpu)
            pids, is_told = processes_of(self._nvml, device)
            if pids or now.vgpus or now.slices or not is_told:
                what = f"process {pids[0]}" if pids else "a vGPU" if now.vgpus else "a slice"
                what = what if is_told else "the driver does not say what"
                raise Refusal(
                    Because.NOT_NOW, f"{gpu} is in use: {what} is on it; end or move that, then switch"
                )
            try:
                self._nvml.nvmlDeviceSetMigMode(device, int(sliced))
            except self._nvml.NVMLError as error:
                raise TidegateError(f"MIG mode of {gpu} can't be switched ({error}); run as root") from error
            return mode_of(self._nvml, device)

    def sharing(self, gpu: str) -> Sharing:
        """Return who may compute on a GPU at a time."""
        return policies.sharing_of(self._nvml, self._device(gpu))

    def set_sharing(self, gpu: str, sharing: Sharing) -> Sharing:
        """Say who may compute on a GPU at a time; returns what is read back."""
        with self._lock:
            return policies.set_sharing(self._nvml, self._device(gpu), gpu, self._ledger, sharing)

    def vgpu_schedule(self, gpu: str) -> VgpuSchedule | None:
        """Return how vGPUs take turns on a GPU; None where it has none."""
        return policies.schedule_of(self._nvml, self._device(gpu))

    def set_vgpu_schedule(self, gpu: str, schedule: VgpuSchedule) -> VgpuSchedule:
        """Say how vGPUs take turns; returns what is read back.

        Raises:
            Refusal: a virtual machine is on the GPU, it has no such policy, or turns can't be so long.
            TidegateError: the driver refuses.

        """
        with self._lock:
            now = self.look_at(gpu)
            return policies.set_schedule(self._nvml, self._device(gpu), now, self._ledger, schedule)

    def release(self, gpu: str) -> Gpu:
        """Give a GPU back to its owner: the slices and settings it had before the first change.

        Raises:
            Refusal: a slice that would have to go is in use.
            TidegateError: it failed half-way; what is not given back stays noted.

        """
        with self._lock:
            policies.restore(self._nvml, self._device(gpu), gpu, self._ledger)
            layout, now = self._ledger.layout(gpu), self.look_at(gpu)
            if layout is None:
                return now
            wanted = {one.placed for one in layout}
            there = {one.placed for one in now.slices}
            order = Replacement(
                gpu=gpu,
                destroy=tuple(one.placed for one in now.slices if one.placed not in wanted),
                create=tuple(one.placed for one in layout if one.placed not in there),
            )
            after = self._replaced(order, layout)
            self._ledger.settle(gpu, is_owners=True)
            return after

    def _replace(self, bench: Bench, order: Replacement, layout: tuple[LaidOut, ...]) -> None:
        try:
            instances = bench.instances()
        except self._nvml.NVMLError as error:
            raise TidegateError(f"GPU {order.gpu} does not answer ({error}); see nvidia-smi") from error
        undo = undo_of(instances, order, layout)
        self._ledger.begin(order.gpu, undo, tuple(laid_out(one) for one in instances.values()))
        try:
            carry_out(bench, instances, undo)
            if is_done(bench.instances(), undo):
                self._ledger.settle(order.gpu)
                return
            why = "it reads back otherwise"
        except self._nvml.NVMLError as error:
            why = str(error)
        problems = self._undone(bench, order.gpu, undo)
        now = f"but {'; '.join(problems)}; settle it" if problems else "it is as it was"
        raise TidegateError(f"slices of {order.gpu} were not replaced ({why}); {now}")

    def _undone(self, bench: Bench, gpu: str, undo: Undo) -> list[str]:
        try:
            problems = put_back(bench, undo)
        except self._nvml.NVMLError as error:
            problems = [f"the GPU does not answer ({error})"]
        if not problems:
            self._ledger.settle(gpu)
        return problems

    def _settled(self, gpu: str, undo: Undo) -> list[str]:
        device = self._devices.get(gpu)
        if device is None:
            return [f"GPU {gpu} has gone while its slices were replaced"]
        try:
            geometry = geometry_of(self._nvml, device)
            if geometry is None or mode_of(self._nvml, device) is not SliceMode.ON:
                self._ledger.settle(gpu)  # its owner switched slices off, and so took all of them away
                return []
            bench = Bench(nvml=self._nvml, device=device, geometry=geometry)
            if is_done(bench.instances(), undo):
                self._ledger.settle(gpu)
                return []
        except self._nvml.NVMLError as error:
            return [f"GPU {gpu} does not answer ({error})"]
        return self._undone(bench, gpu, undo)

    def _found(self) -> dict[str, Any]:
        """Return the handles of all GPUs by UUID."""
        try:
            count = min(self._nvml.nvmlDeviceGetCount(), GPUS_MAX)
            handles = [self._nvml.nvmlDeviceGetHandleByIndex(at) for at in range(count)]
            return {text_of(self._nvml.nvmlDeviceGetUUID(handle)): handle for handle in handles}
        except self._nvml.NVMLError as error:
            raise TidegateError(
                f"NVIDIA's driver does not tell its GPUs ({error}); see nvidia-smi"
            ) from error

    def _device(self, gpu: str) -> Any:  # noqa: ANN401 - the library's handle
        if gpu not in self._devices:
            names = ", ".join(self._devices) or "none"
            raise Refusal(Because.NOT_FOUND, f"there is no GPU {gpu} here; there are {names}")
        return self._devices[gpu]

    def _geometry_of(self, gpu: str, device: Any, mode: SliceMode) -> Geometry | None:  # noqa: ANN401
        """Return how a GPU may be cut, which never changes; None where we may not know."""
        if mode is SliceMode.UNABLE:
            return None
        if gpu not in self._geometry:
            try:
                self._geometry[gpu] = geometry_of(self._nvml, device)
            except self._nvml.NVMLError as error:
                if code_of(error) != NO_PERMISSION:
                    raise
                return None
        return self._geometry[gpu]

    def _slice(self, gpu: str, placed: Placed) -> Slice:
        found = self.look_at(gpu).slice_at(placed)
        if found is None:
            raise Refusal(Because.NOT_FOUND, f"{gpu} has no slice {placed.profile} at {placed.start}")
        return found

    def _hold(self, gpu: str, one: Slice, holder: str) -> None:
        placed = one.placed
        held = Held(profile=placed.profile, start=placed.start, holder=holder, uuids=one.uuids)
        self._ledger.hold(gpu, held)

    def _with_holder(self, gpu: str, one: Slice) -> Slice:
        for held in self._ledger.held(gpu):
            if (held.profile, held.start, held.uuids) == (one.placed.profile, one.placed.start, one.uuids):
                return replace(one, holder=held.holder)
        return one
