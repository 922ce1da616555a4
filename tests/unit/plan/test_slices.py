"""Planning slices: where each goes, what may be replaced for it, and what is said to who gets none."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.drivers.gpu.geometry import geometry_of
from tidegate.model.errors import InputError
from tidegate.model.gpu import Geometry, Gpu, Placed, Slice, SliceMode, SliceProfile, SliceRequest, SliceUse
from tidegate.plan.slices import SlicePlanner, stranded_slices
from tidegate.plan.slices.standing import grouped
from tidegate.plan.slices.stranding import table_of
from tidegate.testing import A100_40GB, H100_80GB, FakeNvml

GIB = 2**30


def geometry(kind=A100_40GB):
    nvml = FakeNvml([kind])
    nvml.nvmlInit()
    return geometry_of(nvml, nvml.gpus[0])


A100 = geometry()
H100 = geometry(H100_80GB)


def placed(profile, start, of=A100):
    return Placed(profile=profile, start=start, size=of.named(profile).size)


def gpu(name, *slices, of=A100, mode=SliceMode.ON):
    return Gpu(uuid=name, name="a GPU", memory_bytes=40 * GIB, mode=mode, geometry=of, slices=slices)


def held(profile, start, of=A100):
    return Slice(slice_id=1, placed=placed(profile, start, of), holder="someone")


def idle(profile, start, of=A100):
    return Slice(slice_id=1, placed=placed(profile, start, of))


def ask(name="web", slices=1, gib=0.0):
    return SliceRequest(name=name, compute_slices=slices, memory_bytes=int(gib * GIB))


def test_the_smallest_profile_that_serves_is_taken():
    names = {
        (1, 0.0): "1g.5gb",
        (1, 9.0): "1g.10gb",
        (2, 9.0): "2g.10gb",
        (3, 0.0): "3g.20gb",
        (4, 0.0): "4g.20gb",
        (2, 19.0): "3g.20gb",
        (5, 0.0): "7g.40gb",
    }
    for (slices, gib), name in names.items():
        assert A100.smallest_for(ask(slices=slices, gib=gib)).name == name
    assert A100.smallest_for(ask(gib=60)) is None


def test_a_slice_goes_where_the_large_places_stay_open():
    """Not onto an empty GPU, nor in the way of the only place where four slices fit."""
    plan = SlicePlanner().plan([gpu("empty"), gpu("half", held("3g.20gb", 4))], [ask(slices=1)])
    assert plan.grants[0].gpu == "half"
    plan = SlicePlanner().plan([gpu("empty")], [ask(slices=3)])
    assert plan.grants[0].placed == placed("3g.20gb", 4)


def test_the_largest_is_placed_first():
    plan = SlicePlanner().plan([gpu("one")], [ask("small"), ask("large", 4), ask("half", 3)])
    served = {grant.request: grant.placed for grant in plan.grants}
    assert served == {"large": placed("4g.20gb", 0), "half": placed("3g.20gb", 4)}
    assert [one.request for one in plan.refused] == ["small"]


def test_an_idle_slice_is_given_out_as_it_is():
    plan = SlicePlanner().plan([gpu("new"), gpu("one", idle("2g.10gb", 4))], [ask(slices=2)])
    (grant,) = plan.grants
    assert (grant.gpu, grant.placed, grant.is_new) == ("one", placed("2g.10gb", 4), False)
    assert not plan.replacements


def test_idle_slices_in_the_way_are_replaced_and_others_stay():
    plan = SlicePlanner().plan(
        [gpu("one", idle("1g.5gb", 1), idle("1g.5gb", 5), held("1g.5gb", 6))], [ask(slices=4)]
    )
    (order,) = plan.replacements
    assert order.destroy == (placed("1g.5gb", 1),)
    assert order.create == (placed("4g.20gb", 0),)


def test_idle_slices_that_would_be_too_many_go_too():
    """Nothing is made in the place of the idle one, but a GPU may have only one of its profile."""
    one = SliceProfile(
        name="1g", profile_id=1, compute_slices=1, memory_bytes=0, size=1, starts=(0, 2), instances_max=1
    )
    two = SliceProfile(
        name="2g", profile_id=2, compute_slices=2, memory_bytes=0, size=2, starts=(0,), instances_max=1
    )
    of = Geometry(compute_slices=3, memory_slices=3, profiles=(one, two))
    plan = SlicePlanner().plan([gpu("one", idle("1g", 0, of), of=of)], [ask()])
    assert plan.grants[0].placed == placed("1g", 2, of)
    assert plan.replacements[0].destroy == (placed("1g", 0, of),)


def test_no_gpu_gets_more_of_a_profile_than_it_may_have():
    one = SliceProfile(
        name="1g", profile_id=1, compute_slices=1, memory_bytes=0, size=1, starts=(0, 1), instances_max=1
    )
    of = Geometry(compute_slices=2, memory_slices=2, profiles=(one,))
    plan = SlicePlanner().plan([gpu("one", held("1g", 0, of), of=of)], [ask()])
    assert not plan.grants


def test_requests_weigh_as_much_as_they_ask_for():
    """A whole GPU that is asked for weighs as much as the seven small slices that are held."""
    small = [held("1g.5gb", start) for start in range(7)]
    (group,) = grouped([gpu("one", *small)], [ask(slices=7)], 0.0)
    shares = {profile.name: share for profile, share in zip(A100.profiles, group.shares, strict=True)}
    assert shares["1g.5gb"] == shares["7g.40gb"] == 0.5


@pytest.mark.parametrize(
    "use",
    [SliceUse(processes=(77,)), SliceUse(vgpus=("v",)), SliceUse(is_told=False)],
    ids=["process", "vgpu", "not told"],
)
def test_what_is_in_use_is_never_replaced(use):
    busy = Slice(slice_id=1, placed=placed("1g.5gb", 0), use=use)
    plan = SlicePlanner().plan([gpu("one", busy)], [ask(slices=7)])
    assert not plan.grants
    assert not plan.replacements


def test_a_slice_of_a_profile_that_is_not_known_is_left_alone():
    strange = Slice(slice_id=1, placed=Placed(profile="1g.5gb+gfx", start=0, size=1))
    plan = SlicePlanner().plan([gpu("one", strange)], [ask("whole", 7), ask("four", 4), ask("half", 3)])
    assert {grant.request: grant.placed for grant in plan.grants} == {"half": placed("3g.20gb", 4)}
    assert plan.replacements[0].destroy == ()


def test_gpus_of_several_kinds_serve_together():
    plan = SlicePlanner().plan([gpu("a"), gpu("h", of=H100)], [ask("big", 7, 70), ask("small", 7, 30)])
    assert {grant.request: grant.gpu for grant in plan.grants} == {"big": "h", "small": "a"}


def test_who_is_refused_is_told_what_lacks():
    full = gpu("one", held("4g.20gb", 0), held("2g.10gb", 4))
    say = lambda gpus, request: SlicePlanner().plan(gpus, [request]).refused[0].reason  # noqa: E731
    assert "no GPU here is cut into slices" in say([gpu("one", mode=SliceMode.OFF)], ask())
    assert "the largest is 7g.40gb, 39.5 GiB" in say([gpu("one")], ask(gib=60))
    assert "the GPU with most left has 1 of its 3 compute slices" in say([full], ask(slices=3))
    scattered = gpu("two", held("1g.5gb", 0), held("1g.5gb", 4))
    assert "5 compute slices are free on 1 GPUs, and on none of them a place for 3" in say(
        [scattered], ask(slices=3)
    )


def test_stranded_is_what_a_next_request_could_not_use():
    """By hand: 3g at 0 leaves 4 compute slices; of 3g one more fits, of 4g and 7g none, of 1g three."""
    free = {"1g.5gb": 4 - 3, "3g.20gb": 4 - 3, "4g.20gb": 4, "7g.40gb": 4, "2g.10gb": 4 - 2}
    for name, stranded in free.items():
        shares = np.array([float(profile.name == name) for profile in A100.profiles])
        assert stranded_slices(A100, [[placed("3g.20gb", 0)]], shares) == stranded
    even = np.full(len(A100.profiles), 1 / len(A100.profiles))
    assert stranded_slices(A100, [[placed("7g.40gb", 0)]], even) == 0


def test_as_many_fit_as_a_search_finds():
    table = table_of(A100)
    rows = [profile.name for profile in A100.profiles]
    assert table.most[rows.index("1g.5gb"), 0] == 7
    assert table.most[rows.index("1g.10gb"), 0] == 4
    assert table.most[rows.index("2g.10gb"), 0b1] == 2
    assert table.most[rows.index("4g.20gb"), 0b10000] == 1
    assert table.most[rows.index("3g.20gb"), 0b11111111] == 0


def test_profiles_that_can_not_be_are_refused():
    with pytest.raises(InputError, match="takes nothing"):
        SliceProfile(
            name="0g", profile_id=1, compute_slices=0, memory_bytes=0, size=1, starts=(0,), instances_max=1
        )
    long = SliceProfile(
        name="1g", profile_id=1, compute_slices=1, memory_bytes=0, size=2, starts=(3,), instances_max=1
    )
    with pytest.raises(InputError, match="would end after 4"):
        Geometry(compute_slices=4, memory_slices=4, profiles=(long,))
    with pytest.raises(InputError, match="the same name"):
        Geometry(compute_slices=8, memory_slices=8, profiles=(long, long))
    with pytest.raises(InputError, match="ask for 1 or more"):
        SliceRequest(name="web", compute_slices=0)
