"""What NVIDIA's library and the driver above it are held to: over the fake, and over a real GPU."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from tidegate.drivers.gpu.geometry import instances_of, make, take_apart
from tidegate.drivers.gpu.server import GpuServer
from tidegate.model.errors import TidegateError
from tidegate.model.gpu import Placed, Replacement, SliceMode
from tidegate.testing.checks import checks_of, require, run_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tidegate.drivers.gpu.port import Nvml
    from tidegate.model.gpu import Geometry, Gpu, Slice
    from tidegate.testing.checks import Check

    Occupy = Callable[[Nvml, Gpu, Slice], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    make: Callable[[], Nvml]
    folder: Path
    occupy: Occupy | None
    number: count[int]

    @contextmanager
    def server(self) -> Iterator[tuple[GpuServer, Nvml, Gpu, Geometry]]:
        """Give a server with its first GPU that is in slices and empty; leave it empty."""
        nvml = self.make()
        path = self.folder / f"gpu-{next(self.number)}.json"
        with GpuServer(nvml, ledger_path=path) as server:
            gpu = next((one for one in server.look() if one.mode is SliceMode.ON and not one.slices), None)
            if gpu is None or gpu.geometry is None:
                raise AssertionError("no GPU is in MIG mode and without slices; switch one on, as root")
            try:
                yield server, nvml, gpu, gpu.geometry
            except AssertionError:
                with suppress(TidegateError):
                    _emptied(server, gpu)
                raise
            _emptied(server, gpu)
        require(not path.exists(), "the ledger still holds something when all is given back")


def check_gpu(make: Callable[[], Nvml], *, folder: Path, occupy: Occupy | None = None) -> None:
    """Run every check on libraries that ``make`` returns, each with a GPU in MIG mode without slices.

    Ledgers go to ``folder``. ``occupy`` runs a program on a slice for as long as its context is open; without
    it, what needs one is not checked. GPUs are left as they were.

    Raises:
        AssertionError: at least one check fails; a line for each says what.

    """
    run_all(gpu_checks(make, folder=folder, occupy=occupy))


def gpu_checks(make: Callable[[], Nvml], *, folder: Path, occupy: Occupy | None = None) -> tuple[Check, ...]:
    """Return the checks one by one."""
    subject = _Subject(make=make, folder=folder, occupy=occupy, number=count())
    return checks_of(subject, CHECKS if occupy is not None else CHECKS[: -len(CHECKS_OF_BUSY)])


def _smallest(geometry: Geometry) -> Placed:
    profile = min(geometry.profiles, key=lambda one: (one.size, one.compute_slices, -one.instances_max))
    return Placed(profile=profile.name, start=profile.starts[0], size=profile.size)


def _largest(geometry: Geometry) -> Placed:
    profile = max(geometry.profiles, key=lambda one: (one.size, one.compute_slices))
    return Placed(profile=profile.name, start=profile.starts[0], size=profile.size)


def _require_refused(act: Callable[[], object], what: str) -> None:
    try:
        act()
    except TidegateError as error:
        require(str(error), f"{what} is refused without a sentence")
        return
    require(holds=False, sentence=f"{what} is not refused")


def check_profiles_fit_the_gpu(subject: _Subject) -> None:
    """Each is placed within the GPU, and has no more memory or compute than that."""
    with subject.server() as (_, _, gpu, geometry):
        require(geometry.profiles, "a GPU in MIG mode has no profiles")
        for profile in geometry.profiles:
            require(profile.starts, f"{profile.name} may lie nowhere")
            require(profile.memory_bytes <= gpu.memory_bytes, f"{profile.name} has more memory than the GPU")
            require(
                profile.instances_max * profile.compute_slices <= geometry.compute_slices,
                f"{profile.instances_max} slices {profile.name} have more compute than the GPU",
            )


def check_a_slice_is_made_and_destroyed(subject: _Subject) -> None:
    """At its place, with a device by which programs are given it, used by nobody; then all is as before."""
    with subject.server() as (server, _, gpu, geometry):
        for profile in geometry.profiles:
            for start in profile.starts:
                placed = Placed(profile=profile.name, start=start, size=profile.size)
                after = server.replace(Replacement(gpu=gpu.uuid, create=(placed,)))
                require([one.placed for one in after.slices] == [placed], f"{placed} reads back otherwise")
                require(len(after.slices[0].uuids) == 1, f"{placed} has no device of its own")
                require(not after.slices[0].in_use, f"{placed} is in use by nobody")
                after = server.replace(Replacement(gpu=gpu.uuid, destroy=(placed,)))
                require(not after.slices, f"{placed} is still there")


def check_as_many_fit_as_is_said(subject: _Subject) -> None:
    """Of the smallest profile; and one more does not."""
    with subject.server() as (server, _, gpu, geometry):
        placed = _smallest(geometry)
        profile = geometry.named(placed.profile)
        places = [Placed(profile=profile.name, start=start, size=profile.size) for start in profile.starts]
        most = tuple(places[: profile.instances_max])
        after = server.replace(Replacement(gpu=gpu.uuid, create=most))
        require(len(after.slices) == len(most), f"{len(after.slices)} of {len(most)} slices were made")
        uuids = {uuid for one in after.slices for uuid in one.uuids}
        require(len(uuids) == len(most), "two slices have the same device")
        _require_refused(
            lambda: server.replace(Replacement(gpu=gpu.uuid, create=(_largest(geometry),))),
            "a slice that overlaps others",
        )
        now = {uuid for one in server.look_at(gpu.uuid).slices for uuid in one.uuids}
        require(now == uuids, "a refused change has changed something")


def check_the_library_refuses_what_overlaps(subject: _Subject) -> None:
    """Also when the driver does not ask itself: with a code, and nothing is left of it."""
    with subject.server() as (server, nvml, gpu, geometry):
        server.replace(Replacement(gpu=gpu.uuid, create=(_smallest(geometry),)))
        device = _device(nvml, gpu.uuid)
        largest = _largest(geometry)
        try:
            make(nvml, device, geometry.named(largest.profile), largest.start)
        except nvml.NVMLError:
            pass
        else:
            require(holds=False, sentence="the library made a slice over another")
        there = [one.placed for one in instances_of(nvml, device, geometry)]
        require(there == [_smallest(geometry)], f"{there} are there after a slice was refused")


def check_a_place_that_is_none_is_refused(subject: _Subject) -> None:
    """Nor may a slice be destroyed that is not there."""
    with subject.server() as (server, _, gpu, geometry):
        placed = _smallest(geometry)
        beyond = Placed(profile=placed.profile, start=geometry.memory_slices, size=placed.size)
        _require_refused(
            lambda: server.replace(Replacement(gpu=gpu.uuid, create=(beyond,))), "a place beyond the GPU"
        )
        _require_refused(
            lambda: server.replace(Replacement(gpu=gpu.uuid, destroy=(placed,))), "destroying nothing"
        )


def check_slices_are_replaced_in_one_piece(subject: _Subject) -> None:
    """Small ones give way to a large one, and that to small ones."""
    with subject.server() as (server, _, gpu, geometry):
        small, large = _smallest(geometry), _largest(geometry)
        server.replace(Replacement(gpu=gpu.uuid, create=(small,)))
        after = server.replace(Replacement(gpu=gpu.uuid, destroy=(small,), create=(large,)))
        require([one.placed for one in after.slices] == [large], "the large slice is not alone")
        after = server.replace(Replacement(gpu=gpu.uuid, destroy=(large,), create=(small,)))
        require([one.placed for one in after.slices] == [small], "the small slice is not alone")


def check_what_is_held_stays(subject: _Subject) -> None:
    """A slice that was given to somebody is not replaced until it comes back, whether they compute or not."""
    with subject.server() as (server, _, gpu, geometry):
        small = _smallest(geometry)
        server.replace(Replacement(gpu=gpu.uuid, create=(small,)))
        server.give(gpu.uuid, small, "someone")
        found = server.look_at(gpu.uuid).slices[0]
        require(found.holder == "someone" and found.in_use, f"{found} is not held")
        _require_refused(
            lambda: server.replace(Replacement(gpu=gpu.uuid, destroy=(small,))), "destroying what is held"
        )
        _require_refused(lambda: server.give(gpu.uuid, small, "another"), "giving it to another too")
        server.take_back(gpu.uuid, small)
        server.replace(Replacement(gpu=gpu.uuid, destroy=(small,)))


def check_what_is_busy_stays(subject: _Subject) -> None:
    """A slice with a program on it is not replaced: not by the driver, and not by the library."""
    if subject.occupy is None:
        return
    with subject.server() as (server, nvml, gpu, geometry):
        small = _smallest(geometry)
        made = server.replace(Replacement(gpu=gpu.uuid, create=(small,))).slices[0]
        with subject.occupy(nvml, gpu, made):
            found = server.look_at(gpu.uuid).slices[0]
            require(found.use.processes and found.in_use, "a slice with a program on it is not in use")
            _require_refused(
                lambda: server.replace(Replacement(gpu=gpu.uuid, destroy=(small,))), "destroying a busy slice"
            )
            instance = instances_of(nvml, _device(nvml, gpu.uuid), geometry)[0]
            try:
                take_apart(nvml, instance)
            except nvml.NVMLError:
                pass
            else:
                require(holds=False, sentence="the library destroyed a slice with a program on it")
            now = server.look_at(gpu.uuid).slices[0]
            require((now.placed, now.uuids) == (found.placed, found.uuids), "a busy slice is not as it was")
        require(not server.look_at(gpu.uuid).slices[0].in_use, "a slice is in use after its program's end")


CHECKS_OF_BUSY: tuple[Callable[[_Subject], None], ...] = (check_what_is_busy_stays,)
CHECKS: tuple[Callable[[_Subject], None], ...] = (
    check_profiles_fit_the_gpu,
    check_a_slice_is_made_and_destroyed,
    check_as_many_fit_as_is_said,
    check_the_library_refuses_what_overlaps,
    check_a_place_that_is_none_is_refused,
    check_slices_are_replaced_in_one_piece,
    check_what_is_held_stays,
    *CHECKS_OF_BUSY,
)


def _emptied(server: GpuServer, gpu: Gpu) -> None:
    for one in server.look_at(gpu.uuid).slices:
        server.take_back(gpu.uuid, one.placed)
    server.release(gpu.uuid)


def _device(nvml: Nvml, uuid: str) -> object:
    """Return the library's handle of a GPU."""
    for at in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(at)
        if nvml.nvmlDeviceGetUUID(handle) == uuid:
            return handle
    raise AssertionError(f"the library lost {uuid}")
