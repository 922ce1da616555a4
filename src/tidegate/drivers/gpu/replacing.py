"""Replaces slices of one GPU in one piece: what is asked for comes about whole, or all is as it was."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.drivers.gpu.geometry import instances_of, make, take_apart
from tidegate.drivers.gpu.ledger import LaidOut, Undo
from tidegate.model.gpu import SliceMode
from tidegate.model.refusals import Because, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.drivers.gpu.geometry import Instance
    from tidegate.drivers.gpu.port import Nvml
    from tidegate.model.gpu import Geometry, Gpu, Placed, Replacement


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One GPU that is worked on."""

    nvml: Nvml
    device: Any
    geometry: Geometry

    def instances(self) -> dict[Placed, Instance]:
        """Return its slices by place."""
        return {one.placed: one for one in instances_of(self.nvml, self.device, self.geometry)}

    def make(self, wanted: LaidOut) -> None:
        """Make a slice with its compute instances."""
        profile = self.geometry.named(wanted.profile)
        make(self.nvml, self.device, profile, wanted.start, wanted.computes)


def check(gpu: Gpu, order: Replacement) -> None:
    """Refuse a replacement that may not or can't be.

    Raises:
        Refusal: the GPU is not in slices, a slice is not there or in use, or the new ones do not fit.
        InputError: there is no such profile.

    """
    if gpu.mode is not SliceMode.ON or gpu.geometry is None:
        raise Refusal(
            Because.NOT_NOW,
            f"{gpu.name} ({gpu.uuid}) is not in slices (MIG {gpu.mode.value}); switch MIG mode on first",
        )
    for placed in order.destroy:
        found = gpu.slice_at(placed)
        if found is None:
            raise Refusal(Because.NOT_FOUND, f"{gpu.uuid} has no slice {_named(placed)}; look again")
        if found.in_use:
            who = f"'{found.holder}' holds it" if found.holder else _users(found.use.processes)
            raise Refusal(
                Because.NOT_NOW,
                f"slice {_named(placed)} of {gpu.uuid} is in use: {who}; it stays until that ends",
            )
    if len(set(order.destroy)) != len(order.destroy):
        raise Refusal(Because.INVALID, "a slice is to be destroyed twice; name each once")
    stays = [one.placed for one in gpu.slices if one.placed not in order.destroy]
    _check_fits(gpu.geometry, stays, order)


def _users(processes: Sequence[int]) -> str:
    if not processes:
        return "a vGPU is on it, or the driver does not say who is"
    return f"process {', '.join(map(str, processes[:4]))} computes on it"


def _check_fits(geometry: Geometry, stays: Sequence[Placed], order: Replacement) -> None:
    taken = 0
    for one in stays:
        taken |= one.mask
    for one in order.create:
        profile = geometry.named(one.profile)
        if one.start not in profile.starts or one.size != profile.size:
            starts = ", ".join(map(str, profile.starts))
            raise Refusal(Because.INVALID, f"a slice {one.profile} may begin at {starts}, not at {one.start}")
        if one in order.destroy:
            raise Refusal(
                Because.INVALID, f"slice {_named(one)} is to be destroyed and made again; leave it out"
            )
        if taken & one.mask:
            raise Refusal(Because.NO_ROOM, f"slice {_named(one)} overlaps another; destroy that one too")
        taken |= one.mask
    after = [*stays, *order.create]
    for profile in geometry.profiles:
        count = sum(one.profile == profile.name for one in after)
        if count > profile.instances_max:
            raise Refusal(
                Because.NO_ROOM,
                f"a GPU has at most {profile.instances_max} slices {profile.name}, not {count}",
            )
    compute = {profile.name: profile.compute_slices for profile in geometry.profiles}
    total = sum(compute.get(one.profile, one.size) for one in after)
    if total > geometry.compute_slices:
        raise Refusal(
            Because.NO_ROOM, f"{total} compute slices are more than the {geometry.compute_slices} of a GPU"
        )


def undo_of(instances: dict[Placed, Instance], order: Replacement, layout: Sequence[LaidOut] = ()) -> Undo:
    """Return how to undo a replacement; what is made that ``layout`` has gets its compute instances.

    Raises:
        Refusal: a slice has gone since it was looked at.

    """
    known = {one.placed: one for one in layout}
    gone = [placed for placed in order.destroy if placed not in instances]
    if gone:
        raise Refusal(Because.STALE, f"slice {_named(gone[0])} has gone since; look again")
    return Undo(
        destroyed=tuple(laid_out(instances[placed]) for placed in order.destroy),
        created=tuple(
            known.get(placed, LaidOut(profile=placed.profile, start=placed.start, size=placed.size))
            for placed in order.create
        ),
    )


def laid_out(instance: Instance) -> LaidOut:
    """Return a slice as it can be made again."""
    placed = instance.placed
    return LaidOut(
        profile=placed.profile, start=placed.start, size=placed.size, computes=instance.compute_profiles
    )


def carry_out(bench: Bench, instances: dict[Placed, Instance], undo: Undo) -> None:
    """Destroy, then make, the largest first.

    Raises:
        NVMLError: the library's own; how far it came is to be seen on the GPU.

    """
    for one in undo.destroyed:
        take_apart(bench.nvml, instances[one.placed])
    for wanted in sorted(undo.created, key=lambda one: -one.size):
        bench.make(wanted)


def put_back(bench: Bench, undo: Undo) -> list[str]:
    """Bring a GPU back to what it was before a replacement; return what can't be, in clauses.

    Starts from what is there, so that it can be called at any time and again.
    """
    problems = []
    before = {one.placed for one in undo.destroyed}
    there = bench.instances()
    for one in undo.created:
        if one.placed in there and one.placed not in before:
            try:
                take_apart(bench.nvml, there[one.placed])
            except bench.nvml.NVMLError as error:
                problems.append(f"slice {_named(one.placed)} can't be destroyed ({error})")
    there = bench.instances()
    for one in undo.destroyed:
        try:
            if one.placed in there:
                _complete(bench, there[one.placed], one)
            else:
                bench.make(one)
        except bench.nvml.NVMLError as error:
            problems.append(f"slice {_named(one.placed)} can't be made again ({error})")
    return problems


def _complete(bench: Bench, instance: Instance, wanted: LaidOut) -> None:
    """Make the compute instances that a slice has lost: its own destruction had not come further."""
    lost = Counter(wanted.computes or ()) - Counter(instance.compute_profiles)
    for number in lost.elements():
        bench.nvml.nvmlGpuInstanceCreateComputeInstance(instance.handle, number)


def is_done(instances: dict[Placed, Instance], undo: Undo) -> bool:
    """Whether a replacement came about whole."""
    is_made = all(
        one.placed in instances
        and len(instances[one.placed].computes) == (1 if one.computes is None else len(one.computes))
        for one in undo.created
    )
    return is_made and not any(one.placed in instances for one in undo.destroyed)


def _named(placed: Placed) -> str:
    return f"{placed.profile} at {placed.start}"
