"""Slices, whatever is asked for: they never overlap or exceed a GPU, and who uses one keeps it.

Each run is a story of requests that come and go on GPUs of the fake library, planned and carried out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.drivers.gpu import port
from tidegate.drivers.gpu.server import GpuServer
from tidegate.model.errors import TidegateError
from tidegate.model.gpu import Replacement, SliceRequest
from tidegate.plan.slices import SlicePlanner
from tidegate.testing import A100_40GB, H100_80GB, FakeNvml

SEEDS = st.integers(0, 2**32 - 1)
CALLS = (
    "nvmlComputeInstanceDestroy",
    "nvmlGpuInstanceDestroy",
    "nvmlDeviceCreateGpuInstanceWithPlacement",
    "nvmlGpuInstanceCreateComputeInstance",
)


def request_of(chance, name):
    return SliceRequest(
        name=name,
        compute_slices=int(chance.choice([1, 1, 2, 3, 4, 7])),
        memory_bytes=int(chance.choice([0, 0, 9 << 30, 19 << 30, 35 << 30])),
    )


def require_fits(gpu):
    geometry, taken = gpu.geometry, 0
    for one in gpu.slices:
        profile = geometry.named(one.placed.profile)
        assert one.placed.start in profile.starts
        assert one.placed.size == profile.size
        assert taken & one.placed.mask == 0
        taken |= one.placed.mask
    assert taken < 1 << geometry.memory_slices
    used = [geometry.named(one.placed.profile) for one in gpu.slices]
    assert sum(profile.compute_slices for profile in used) <= geometry.compute_slices
    assert sum(profile.memory_bytes for profile in used) <= gpu.memory_bytes
    assert all(used.count(profile) <= profile.instances_max for profile in used)


def in_use(gpus):
    return {(gpu.uuid, one.placed, one.uuids) for gpu in gpus for one in gpu.slices if one.in_use}


def carried_out(server, plan):
    for order in plan.replacements:
        server.replace(order)
    for grant in plan.grants:
        server.give(grant.gpu, grant.placed, grant.request)


def story(seed, steps=6):
    """Give each state with the plan for it, before and after that is carried out."""
    chance = np.random.default_rng(seed)
    kinds = [A100_40GB, H100_80GB]
    nvml = FakeNvml([kinds[at] for at in chance.integers(0, 2, chance.integers(1, 4))])
    with TemporaryDirectory() as folder, GpuServer(nvml, ledger_path=Path(folder) / "gpu.json") as server:
        for step in range(steps):
            for gpu in server.look():
                for one in gpu.slices:
                    nvml.end(one.slice_id + 1000)
                    if one.holder and chance.random() < 0.4:
                        server.take_back(gpu.uuid, one.placed)
                    if chance.random() < 0.3:
                        nvml.run(gpu.uuid, one.placed.start, one.slice_id + 1000)
            before = server.look()
            asked = [request_of(chance, f"{step}-{at}") for at in range(chance.integers(0, 6))]
            plan = SlicePlanner().plan(before, asked)
            carried_out(server, plan)
            yield before, asked, plan, server.look()


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_slices_never_overlap_nor_exceed_their_gpu(seed):
    for _before, _asked, _plan, after in story(seed):
        for gpu in after:
            require_fits(gpu)


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_who_uses_a_slice_keeps_it(seed):
    for before, _asked, plan, after in story(seed):
        assert in_use(before) <= in_use(after)
        used = {(gpu.uuid, one.placed) for gpu in before for one in gpu.slices if one.in_use}
        assert not used & {(order.gpu, placed) for order in plan.replacements for placed in order.destroy}


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_everyone_is_served_once_or_told_why_not(seed):
    for _before, asked, plan, after in story(seed):
        served = [grant.request for grant in plan.grants]
        assert sorted(served + [one.request for one in plan.refused]) == sorted(one.name for one in asked)
        assert all(one.reason.endswith(("GPU", "on for one, or add one that can")) for one in plan.refused)
        geometry = {gpu.uuid: gpu.geometry for gpu in after}
        wanted = {one.name: one for one in asked}
        for grant in plan.grants:
            profile = geometry[grant.gpu].named(grant.placed.profile)
            assert profile.compute_slices >= wanted[grant.request].compute_slices
            assert profile.memory_bytes >= wanted[grant.request].memory_bytes


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_nobody_is_refused_what_an_empty_place_would_serve(seed):
    """After the plan, no profile that would serve who was refused fits beside the slices in use."""
    for _before, asked, plan, after in story(seed):
        wanted = {one.name: one for one in asked}
        for refused in plan.refused:
            for gpu in after:
                profile = gpu.geometry.smallest_for(wanted[refused.request])
                starts = () if profile is None else profile.starts
                taken = sum(one.placed.mask for one in gpu.slices if one.in_use)
                alike = (
                    sum(one.in_use and one.placed.profile == profile.name for one in gpu.slices)
                    if profile
                    else 0
                )
                for start in starts:
                    mask = ((1 << profile.size) - 1) << start
                    assert taken & mask or alike >= profile.instances_max


@given(seed=SEEDS, call=st.sampled_from(CALLS), after=st.integers(0, 4), times=st.integers(1, 2))
@settings(max_examples=60, deadline=None)
def test_a_replacement_comes_about_whole_or_not_at_all(seed, call, after, times):
    chance = np.random.default_rng(seed)
    nvml = FakeNvml([A100_40GB])
    with TemporaryDirectory() as folder, GpuServer(nvml, ledger_path=Path(folder) / "gpu.json") as server:
        first = SlicePlanner().plan(server.look(), [request_of(chance, f"a{at}") for at in range(4)])
        for order in first.replacements:
            server.replace(order)
        (before,) = server.look()
        asked = [request_of(chance, f"b{at}") for at in range(2)]
        emptied = replace(before, slices=())
        plan = SlicePlanner().plan([emptied], asked)
        create = tuple(
            placed
            for order in plan.replacements
            for placed in order.create
            if before.slice_at(placed) is None
        )
        destroy = tuple(
            one.placed for one in before.slices if any(one.placed.mask & placed.mask for placed in create)
        )
        order = Replacement(gpu=before.uuid, destroy=destroy, create=create)
        nvml.fail(call, port.INSUFFICIENT_RESOURCES, after=after, times=times)
        was = {one.placed for one in before.slices}
        try:
            server.replace(order)
        except TidegateError as error:
            if "it is as it was" not in str(error):
                server.settle()  # a second failure hit the way back: it is finished when it is tried again
                server.settle()
            wanted = was
        else:
            wanted = (was - set(destroy)) | set(create)
        (now,) = server.look()
        assert {one.placed for one in now.slices} == wanted
        assert all(len(one.uuids) == 1 for one in now.slices)
        assert not server.unsettled
