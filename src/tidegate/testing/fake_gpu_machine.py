"""What the fake library stands on: GPUs in memory, programs and vGPUs on them, and calls that are to fail."""

from __future__ import annotations

import ctypes
from collections import defaultdict
from dataclasses import dataclass, field
from functools import wraps
from itertools import count
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

from tidegate.drivers.gpu import port
from tidegate.testing.fake_gpus import A100_40GB, FakeKind, FakeProfile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Asked = ParamSpec("_Asked")
_Said = TypeVar("_Said")
_Machine = TypeVar("_Machine", bound="FakeMachine")

UNINITIALISED: Final = 1


class FakeNvmlError(Exception):
    """As the library's own: ``value`` is the code."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return f"NVML error {self.value}"


class Placement(ctypes.Structure):
    """nvmlGpuInstancePlacement_t."""

    _fields_ = (("start", ctypes.c_uint), ("size", ctypes.c_uint))


@dataclass(slots=True, kw_only=True)
class Compute:
    """A compute instance."""

    number: int
    profile: int
    start: int
    slices: int
    uuid: str
    processes: dict[int, int] = field(default_factory=dict)
    """Bytes by process."""


@dataclass(slots=True, kw_only=True)
class Cut:
    """A GPU instance."""

    handle: int
    number: int
    profile: FakeProfile
    start: int
    computes: dict[int, Compute] = field(default_factory=dict)
    """By handle."""
    utilisation: float = 0.0

    @property
    def places(self) -> range:
        """Memory slices it takes."""
        return range(self.start, self.start + self.profile.size)


@dataclass(slots=True, kw_only=True)
class FakeVgpu:
    """A vGPU."""

    uuid: str
    kind: str
    vm_id: str
    vm_id_kind: int
    slice_id: int | None


@dataclass(slots=True, kw_only=True)
class FakeGpu:
    """One GPU; it is its own handle."""

    uuid: str
    kind: FakeKind
    mode: list[int]
    """Current and pending."""
    cuts: dict[int, Cut] = field(default_factory=dict)
    """By handle."""
    processes: dict[int, int] = field(default_factory=dict)
    """Of programs on the whole GPU: bytes by process."""
    vgpus: dict[int, FakeVgpu] | None = None
    """By handle; None: the host's driver has none."""
    compute_mode: int = 0
    schedule: tuple[int, int, int] = (1, 0, 0)
    """Policy, adaptive scheduler, nanoseconds of a turn."""


@dataclass(frozen=True, slots=True)
class MigDevice:
    """A compute instance as programs see it."""

    gpu: FakeGpu
    cut: Cut
    compute: Compute


def call_of_the_library(
    function: Callable[Concatenate[_Machine, _Asked], _Said],
) -> Callable[Concatenate[_Machine, _Asked], _Said]:
    """Count a call of the library, and let it fail if a test wants it to."""

    @wraps(function)
    def called(self: _Machine, /, *asked: _Asked.args, **named: _Asked.kwargs) -> _Said:
        self.enter(function.__name__)
        return function(self, *asked, **named)

    return called


class FakeMachine:
    """A machine with GPUs."""

    def __init__(
        self,
        kinds: Sequence[FakeKind] = (A100_40GB,),
        *,
        sliced: bool = True,
        has_vgpus: bool = False,
        is_root: bool = True,
    ) -> None:
        """Make GPUs of these kinds, in MIG mode where they can; they last as long as the object."""
        self.numbers = count(1)
        self.is_root = is_root
        self.gpus = [
            FakeGpu(
                uuid=f"GPU-{at:08x}-0000-4000-8000-000000000000",
                kind=kind,
                mode=[int(sliced and bool(kind.profiles))] * 2,
                vgpus={} if has_vgpus else None,
            )
            for at, kind in enumerate(kinds)
        ]
        self.calls: dict[str, int] = defaultdict(int)
        self._failing: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.opened = 0

    # --- What a test does to it --------------------------------------------------------------------

    def fail(self, function: str, code: int, *, after: int = 0, times: int = 1) -> None:
        """Have a function of the library fail ``times`` times, after ``after`` more calls that do not."""
        first = self.calls[function] + after
        self._failing[function] += [(first + at, code) for at in range(times)]

    def run(self, gpu: str, start: int | None, pid: int, *, memory_bytes: int = 2**30) -> None:
        """Start a program on the slice that begins at ``start``, or, with None, on the whole GPU."""
        found = self.gpu(gpu)
        if start is None:
            found.processes[pid] = memory_bytes
        else:
            next(iter(self.cut(gpu, start).computes.values())).processes[pid] = memory_bytes

    def end(self, pid: int) -> None:
        """End a program, wherever it is."""
        for gpu in self.gpus:
            gpu.processes.pop(pid, None)
            for cut in gpu.cuts.values():
                for compute in cut.computes.values():
                    compute.processes.pop(pid, None)

    def add_vgpu(
        self, gpu: str, vm_uuid: str, *, slice_id: int | None = None, kind: str = "GRID A100-10C"
    ) -> None:
        """Give a virtual machine a vGPU."""
        handle, found = next(self.numbers), self.gpu(gpu)
        vgpus = {} if found.vgpus is None else found.vgpus
        vgpus[handle] = FakeVgpu(
            uuid=f"vgpu-{handle}", kind=kind, vm_id=vm_uuid, vm_id_kind=port.VM_ID_IS_UUID, slice_id=slice_id
        )
        found.vgpus = vgpus

    def cut(self, gpu: str, start: int) -> Cut:
        """Return the slice that begins there."""
        return next(cut for cut in self.gpu(gpu).cuts.values() if cut.start == start)

    def enter(self, name: str) -> None:
        """Count a call; raise what it is to fail with."""
        at = self.calls[name]
        self.calls[name] += 1
        if not self.opened and name != "nvmlInit":
            raise FakeNvmlError(UNINITIALISED)
        for failing in self._failing[name]:
            if failing[0] == at:
                raise FakeNvmlError(failing[1])

    def as_root(self) -> None:
        """Refuse who is not."""
        if not self.is_root:
            raise FakeNvmlError(port.NO_PERMISSION)

    def gpu(self, uuid: str) -> FakeGpu:
        """Return one GPU."""
        return next(gpu for gpu in self.gpus if gpu.uuid == uuid)
