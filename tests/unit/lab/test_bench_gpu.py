"""The replay of GPU demand: what is read off traces, the best packing, and figures that can fail."""

from __future__ import annotations

from itertools import product

import numpy as np
import polars as pl
import pytest

from tidegate.lab.bench.gpu import bench_gpu
from tidegate.lab.bench.gpu.demand import Ask, Demand, asked_for, containers, instances, read_demands
from tidegate.lab.bench.gpu.first_fit import FirstFit
from tidegate.lab.bench.gpu.measure import geometry_for, smallest_fleet
from tidegate.lab.bench.gpu.packing import Standing, best_packing, patterns_of
from tidegate.lab.bench.gpu.replaying import replay_demand
from tidegate.model.errors import InputError
from tidegate.model.gpu import Gpu, Grant, Placed, Replacement, SliceMode, SlicePlan, SliceRequest
from tidegate.plan.slices import SlicePlanner, stranded_slices
from tidegate.plan.slices.stranding import table_of
from tidegate.testing import A100_40GB, H100_80GB

NOTHING = Demand(name="nothing", kind=A100_40GB, asks=(), steps=1)
A100 = geometry_for(NOTHING)
ROW = {profile.name: row for row, profile in enumerate(A100.profiles)}


def counts(**profiles):
    found = np.zeros(len(A100.profiles), dtype=np.int64)
    for name, count in profiles.items():
        found[next(row for known, row in ROW.items() if known.startswith(f"{name[1:]}."))] = count
    return found


def random_demand(seed, asks=60, steps=20):
    chance = np.random.default_rng(seed)
    begin = chance.integers(0, steps - 1, asks)
    slices = chance.choice([1, 2, 3, 4, 7], asks)
    return Demand(
        name="random",
        kind=A100_40GB,
        asks=tuple(
            Ask(
                request=SliceRequest(name=f"r{at}", compute_slices=int(slices[at])),
                begin=int(begin[at]),
                end=int(begin[at] + 1 + chance.integers(0, 6)),
            )
            for at in range(asks)
        ),
        steps=steps,
    )


def test_instances_ask_for_their_share_of_a_gpu():
    table = pl.DataFrame(
        {
            "instance_sn": ["a", "b", "c", "d", "e"],
            "gpu_request": [1, 1, 1, 1, 0],
            "rdma_request": [25, 50, 75, 10, 100],
            "creation_time": [None, 650.0, 1300.0, 0.0, 0.0],
            "deletion_time": [700.0, None, 1310.0, 1200.0, None],
        }
    )
    demand = instances(table, one_in=1)
    profiles = [A100.smallest_for(ask.request).name for ask in demand.asks]
    assert profiles == ["2g.10gb", "4g.20gb", "7g.40gb", "1g.5gb"]
    assert [(ask.begin, ask.end) for ask in demand.asks] == [(0, 2), (1, 4), (2, 3), (0, 2)]
    assert demand.steps == 4


def test_containers_ask_anew_when_another_profile_would_serve():
    times = [0.0, 900.0, 1800.0, 2700.0, 2800.0]
    used = [5e9, 6e9, 30e9, 30e9, 31e9]
    busy = [3.0, 9.0, 20.0, 50.0, 20.0]

    def table(values):
        return pl.DataFrame({"container_ip": ["a"] * 5, "timestamp_anon": times, "value": values})

    demand = containers(table(used), table(busy))
    h100 = geometry_for(demand)
    assert demand.kind is H100_80GB
    told = [(ask.begin, ask.end, h100.smallest_for(ask.request).name) for ask in demand.asks]
    assert told == [(0, 2, "1g.10gb"), (2, 3, "3g.40gb"), (3, 4, "4g.40gb")]


def test_traces_that_are_none_are_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="can't be read"):
        read_demands(tmp_path)
    with pytest.raises(InputError, match="no column instance_sn"):
        instances(pl.DataFrame({"a": [1]}))
    monkeypatch.delenv("TIDEGATE_TRACES", raising=False)
    with pytest.raises(InputError, match="set TIDEGATE_TRACES"):
        bench_gpu(seed=0)


def test_what_is_asked_for_at_once_is_counted_over_time():
    asks = [
        Ask(request=SliceRequest(name="a"), begin=0, end=2),
        Ask(request=SliceRequest(name="b", compute_slices=7), begin=1, end=3),
    ]
    demand = Demand(name="two", kind=A100_40GB, asks=tuple(asks), steps=4)
    one, whole, both = counts(_1g=1), counts(_7g=1), counts(_1g=1) + counts(_7g=1)
    assert asked_for(demand, A100) == {tuple(each.tolist()) for each in (one, both, whole, 0 * one)}


def test_the_best_packing_is_that_of_a_search_through_all():
    """On two GPUs, every pair of patterns."""
    patterns = patterns_of(A100)
    shares = np.full(len(A100.profiles), 1 / len(A100.profiles))
    compute = np.array([profile.compute_slices for profile in A100.profiles])
    chance = np.random.default_rng(3)
    lost = {}
    for count, taken in zip(map(tuple, patterns.count.tolist()), patterns.taken.tolist(), strict=True):
        free = A100.compute_slices - int(np.dot(count, compute))
        here = float(shares @ table_of(A100).stranded(np.array([taken]), np.array([free]))[:, 0])
        lost[count] = min(here, lost.get(count, np.inf))
    for _ in range(3):
        asked = chance.integers(0, 4, len(A100.profiles))
        served, stranded = 0, np.inf
        for left, right in product(lost, lost):
            both = np.add(left, right)
            if (both <= asked).all():
                found = (int(both @ compute), lost[left] + lost[right])
                if (-found[0], found[1]) < (-served, stranded):
                    served, stranded = found
        best = best_packing(A100, {Standing(): 2}, asked, shares)
        assert best.is_optimal
        assert best.served_slices == served
        assert best.stranded == pytest.approx(stranded)


def test_what_stands_is_packed_around():
    """A single slice at 0 keeps four slices out, and two halves fit only anew."""
    shares = counts(_4g=1).astype(float)
    standing = Standing(taken=0b1, count=tuple(counts(_1g=1).tolist()))
    asked = counts(_4g=1)
    assert best_packing(A100, {standing: 1}, asked, shares).served_slices == 1
    assert best_packing(A100, {Standing(): 1}, asked + counts(_1g=1), shares).served_slices == 5


def test_the_smallest_fleet_serves_everybody_and_one_less_does_not():
    asked = {tuple(counts(_4g=3, _3g=1).tolist()), tuple(counts(_7g=2).tolist())}
    shares = np.full(len(A100.profiles), 1 / len(A100.profiles))
    best, gpus = smallest_fleet(A100, asked, shares, lambda *_: None)
    assert gpus == 3
    assert set(best) == asked
    assert best_packing(A100, {Standing(): 2}, counts(_4g=3, _3g=1), shares).served_slices < 15


@pytest.mark.parametrize("planner", [SlicePlanner(), FirstFit()], ids=["planner", "first fit"])
def test_a_replay_serves_without_touching_who_is_served(planner, tmp_path):
    demand = random_demand(1)
    found = replay_demand(demand, gpus=9, folder=tmp_path, planner=planner)
    assert found.busy_replaced == 0
    assert found.served + found.refused == found.asked == 60
    assert len(found.moments) == demand.steps
    assert found.moments[-1].served_slices <= 9 * 7


def test_the_planner_strands_less_than_first_fit(tmp_path):
    demand = random_demand(2, asks=150)
    ours = replay_demand(demand, gpus=18, folder=tmp_path / "ours")
    theirs = replay_demand(demand, gpus=18, folder=tmp_path / "theirs", planner=FirstFit())
    stranded = [sum(moment.stranded for moment in each.moments) for each in (ours, theirs)]
    assert stranded[0] < stranded[1]
    assert ours.refused <= theirs.refused


class Ruthless:
    """Replaces whatever is there."""

    def plan(self, gpus, requests):
        if not requests:
            return SlicePlan(grants=(), refused=(), replacements=())
        gpu = gpus[0]
        destroy = tuple(one.placed for one in gpu.slices)
        whole = next(profile for profile in gpu.geometry.profiles if profile.size == 8)
        placed = Placed(profile=whole.name, start=0, size=8)
        create = () if placed in destroy else (placed,)
        grants = (Grant(request=requests[0].name, gpu=gpu.uuid, placed=placed, is_new=True),)
        return SlicePlan(
            grants=grants if create else (),
            refused=(),
            replacements=(Replacement(gpu=gpu.uuid, destroy=destroy, create=create),),
        )


def test_a_planner_that_replaces_slices_in_use_is_counted(tmp_path):
    asks = [Ask(request=SliceRequest(name=f"r{at}"), begin=at, end=5) for at in range(3)]
    demand = Demand(name="three", kind=A100_40GB, asks=tuple(asks), steps=5)
    found = replay_demand(demand, gpus=1, folder=tmp_path, planner=Ruthless())
    assert found.busy_replaced >= 1


def test_moments_are_weighed_as_stranded_slices_are(tmp_path):
    asks = [Ask(request=SliceRequest(name="a", compute_slices=3), begin=0, end=2)]
    demand = Demand(name="one", kind=A100_40GB, asks=tuple(asks), steps=2)
    found = replay_demand(demand, gpus=2, folder=tmp_path)
    (grant,) = SlicePlanner().plan([_empty()], [asks[0].request]).grants
    stranded = stranded_slices(A100, [[grant.placed], []], found.shares)
    assert found.moments[0].stranded == pytest.approx(stranded)
    assert found.moments[0] == found.moments[1]


def _empty():
    return Gpu(uuid="x", name="x", memory_bytes=40 << 30, mode=SliceMode.ON, geometry=A100)


@pytest.mark.shared
def test_recorded_demand_is_read(shared_traces):
    found, used = read_demands(shared_traces / "gpu")
    assert (len(found.asks), found.kind.name) == (1847, A100_40GB.name)
    assert {ask.request.compute_slices for ask in found.asks} == {1, 2, 4, 6}
    assert used.steps == 93
    assert all(ask.begin < ask.end <= used.steps for ask in used.asks)
