"""GPUs that can be cut into slices: what they are, how they may be cut, and who asks for a slice.

Places on a GPU are counted in memory slices, as NVIDIA's library counts them: a slice takes ``size`` of them
from ``start`` on. A slice can't change its size: it is replaced, by others in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tidegate.model.errors import InputError

MEMORY_SLICES_MAX = 16
"""Of one GPU; those of today have 4 or 8, and a plan counts every set of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceProfile:
    """One size in which a GPU may be cut."""

    name: str
    """As people and Kubernetes write it: ``1g.5gb``."""
    profile_id: int
    """The driver's number of it."""
    compute_slices: int
    memory_bytes: int
    size: int
    """Memory slices that it takes."""
    starts: tuple[int, ...]
    """Memory slices at which one may begin."""
    instances_max: int
    """Most of it on one GPU at a time."""

    def __post_init__(self) -> None:
        """Refuse what can't be placed.

        Raises:
            InputError: a number is out of range, with the profile's name.

        """
        if min(self.compute_slices, self.size, self.instances_max) < 1 or self.memory_bytes < 0:
            raise InputError(f"the slice profile '{self.name}' takes nothing, or may never be made")
        if any(not 0 <= start <= MEMORY_SLICES_MAX - self.size for start in self.starts):
            raise InputError(f"a slice '{self.name}' would lie outside {MEMORY_SLICES_MAX} memory slices")


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """How one kind of GPU may be cut."""

    compute_slices: int
    memory_slices: int
    profiles: tuple[SliceProfile, ...]

    def __post_init__(self) -> None:
        """Refuse profiles that do not fit, or share a name.

        Raises:
            InputError: one does, with its name.

        """
        if len({profile.name for profile in self.profiles}) != len(self.profiles):
            raise InputError("two slice profiles of one GPU have the same name")
        for profile in self.profiles:
            if any(start + profile.size > self.memory_slices for start in profile.starts):
                raise InputError(f"a slice '{profile.name}' would end after {self.memory_slices} slices")

    def named(self, name: str) -> SliceProfile:
        """Return the profile of that name.

        Raises:
            InputError: there is none; the sentence names those there are.

        """
        for profile in self.profiles:
            if profile.name == name:
                return profile
        names = ", ".join(profile.name for profile in self.profiles) or "none"
        raise InputError(f"this GPU has no slice profile '{name}'; it has {names}")

    def smallest_for(self, request: SliceRequest) -> SliceProfile | None:
        """Return the profile that serves a request with the least memory, then compute; None if none does."""
        fit = [
            profile
            for profile in self.profiles
            if profile.starts
            and profile.compute_slices >= request.compute_slices
            and profile.memory_bytes >= request.memory_bytes
        ]
        return min(fit, key=lambda one: (one.size, one.compute_slices, -one.instances_max), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A profile at a place on some GPU."""

    profile: str
    start: int
    size: int

    @property
    def mask(self) -> int:
        """The memory slices it takes, a bit each."""
        return ((1 << self.size) - 1) << self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceUse:
    """How much of a slice is used now."""

    processes: tuple[int, ...] = ()
    """Their numbers; those of virtual machines are not among them."""
    memory_bytes_used: int | None = None
    utilisation: float | None = None
    """Share of its multiprocessors that were busy, 0-1; None where the GPU does not tell by slice."""
    vgpus: tuple[str, ...] = ()
    """UUIDs of the vGPUs on it."""
    is_told: bool = True
    """Whether the driver said who uses it: what it does not tell counts as in use."""

    @property
    def is_busy(self) -> bool:
        """Whether somebody computes on it, or may."""
        return bool(self.processes or self.vgpus) or not self.is_told


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A slice that exists."""

    slice_id: int
    """The driver's number of its GPU instance; another slice may get it later."""
    placed: Placed
    uuids: tuple[str, ...] = ()
    """Of its compute instances, by which programs are given them; several share the slice."""
    use: SliceUse = SliceUse()
    holder: str = ""
    """To whom it was given; empty: nobody."""

    @property
    def in_use(self) -> bool:
        """Whether it must stay as it is: somebody holds it, or computes on it."""
        return bool(self.holder) or self.use.is_busy


class SliceMode(Enum):
    """Whether a GPU is cut into slices (MIG mode)."""

    ON = "on"
    OFF = "off"
    TO_BE_ON = "on after a reset"
    TO_BE_OFF = "off after a reset"
    UNABLE = "not with this GPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vgpu:
    """A virtual GPU and the virtual machine it belongs to."""

    uuid: str
    kind: str
    """The name of its type, as ``GRID A100-10C``."""
    vm_uuid: str
    """Of the virtual machine, lower case with dashes; empty where the hypervisor gave another name."""
    vm_id: str
    """As the hypervisor told it."""
    memory_bytes_used: int | None
    slice_id: int | None
    """The slice that it lives in; None: it shares the whole GPU by time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU as it is."""

    uuid: str
    name: str
    memory_bytes: int
    mode: SliceMode
    geometry: Geometry | None = None
    """None where it can't be cut, or nobody may know how."""
    slices: tuple[Slice, ...] = ()
    vgpus: tuple[Vgpu, ...] = ()

    def slice_at(self, placed: Placed) -> Slice | None:
        """Return the slice of that profile at that place, if there is one."""
        return next((one for one in self.slices if one.placed == placed), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRequest:
    """Somebody asks for a slice."""

    name: str
    compute_slices: int = 1
    """At least so many."""
    memory_bytes: int = 0
    """At least so much."""

    def __post_init__(self) -> None:
        """Refuse what asks for nothing.

        Raises:
            InputError: it does, with its name.

        """
        if self.compute_slices < 1 or self.memory_bytes < 0:
            raise InputError(f"'{self.name}' asks for {self.compute_slices} slices; ask for 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """What is to become of one GPU's slices, in one piece: all of it, or nothing."""

    gpu: str
    """Its UUID."""
    destroy: tuple[Placed, ...] = ()
    """Slices that nobody uses."""
    create: tuple[Placed, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Which slice serves a request."""

    request: str
    gpu: str
    placed: Placed
    is_new: bool
    """Whether it is to be made first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSlice:
    """A request that no GPU can serve now."""

    request: str
    reason: str
    """Names what lacks and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicePlan:
    """Who gets which slice, and what has to be replaced for it."""

    grants: tuple[Grant, ...]
    refused: tuple[NoSlice, ...]
    replacements: tuple[Replacement, ...]
    """At most one for each GPU."""
