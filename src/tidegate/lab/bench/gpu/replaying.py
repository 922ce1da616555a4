"""Replays demand for slices: plans each step, and carries it out through the driver on GPUs in memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Final, Protocol, Self

import numpy as np

from tidegate.drivers.gpu.server import GpuServer
from tidegate.lab.bench.gpu.demand import profile_row
from tidegate.lab.bench.gpu.packing import Standing
from tidegate.model.refusals import Because, Refusal
from tidegate.plan.slices import SlicePlanner, stranded_slices
from tidegate.testing import FakeNvml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tidegate.lab.bench.gpu.demand import Ask, Demand
    from tidegate.model.gpu import Geometry, Gpu, Grant, SlicePlan, SliceRequest

GPUS_A_SERVER: Final = 8
MEMORY_OF_A_PROGRAM: Final = 2**28


class PlansSlices(Protocol):
    """Says who gets which slice."""

    def plan(self, gpus: Sequence[Gpu], requests: Sequence[SliceRequest]) -> SlicePlan:
        """Return the plan."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How the fleet stands after one step's plan was carried out."""

    asked: tuple[int, ...]
    """By profile: requests that are served, and that wait."""
    served_slices: int
    """Compute slices of the profiles that serve."""
    stranded: float
    before: tuple[tuple[Standing, int], ...]
    """How many GPUs stood how, before this step's requests were served."""
    newcomers: tuple[int, ...]
    """By profile: requests that were to be placed."""


@dataclass(slots=True, kw_only=True)
class Replayed:
    """What came of a replay."""

    geometry: Geometry
    gpus: int
    shares: NDArray[np.float64]
    """(profiles,) of all requests."""
    moments: list[Moment] = field(default_factory=list)
    asked: int = 0
    served: int = 0
    """Requests that were ever served."""
    refused: int = 0
    """Requests that never were."""
    waited_steps: int = 0
    """Summed over requests: steps at whose end they waited."""
    plan_seconds: list[float] = field(default_factory=list)
    replacements: int = 0
    reused: int = 0
    busy_replaced: int = 0
    """Slices in use that a plan would have replaced, or that were gone while they were in use."""


@dataclass(slots=True, kw_only=True)
class Fleet:
    """Servers with GPUs in memory; half of the programs compute, the others only hold their slice."""

    servers: list[GpuServer]
    libraries: list[FakeNvml]
    at: dict[str, int]
    """Which server has which GPU."""
    gpus: dict[str, Gpu]
    held: dict[str, tuple[Grant, tuple[str, ...]]] = field(default_factory=dict)
    """By request: its slice, and the devices it was given."""

    @classmethod
    def made(cls, demand: Demand, gpus: int, folder: Path) -> Self:
        """Return servers of eight GPUs each, all in slices and empty."""
        libraries, servers = [], []
        at: dict[str, int] = {}
        for number in range(-(-gpus // GPUS_A_SERVER)):
            library = FakeNvml([demand.kind] * min(GPUS_A_SERVER, gpus - GPUS_A_SERVER * number))
            for gpu in library.gpus:
                gpu.uuid = gpu.uuid.replace("-0000-", f"-{number:04x}-", 1)
                at[gpu.uuid] = number
            libraries.append(library)
            servers.append(GpuServer(library, ledger_path=folder / f"{demand.name}-{number}.json"))
        found = {gpu.uuid: gpu for server in servers for gpu in server.look()}
        return cls(servers=servers, libraries=libraries, at=at, gpus=found)

    def close(self) -> None:
        """Let go of the servers."""
        for server in self.servers:
            server.close()

    def give_back(self, request: str) -> None:
        """End what a request's slice was for."""
        grant, _ = self.held.pop(request)
        number = self.at[grant.gpu]
        self.libraries[number].end(_pid(request))
        self.servers[number].take_back(grant.gpu, grant.placed)
        self.gpus[grant.gpu] = self.servers[number].look_at(grant.gpu)

    def carry_out(self, plan: SlicePlan) -> int:
        """Do what a plan wants; return how often it would have replaced a slice in use."""
        wrong = 0
        for order in plan.replacements:
            try:
                self.servers[self.at[order.gpu]].replace(order)
            except Refusal as refusal:
                if refusal.because is not Because.NOT_NOW:
                    raise
                wrong += 1
        touched = set()
        for grant in plan.grants:
            server = self.servers[self.at[grant.gpu]]
            server.give(grant.gpu, grant.placed, grant.request)
            pid = _pid(grant.request)
            if pid % 2:
                library = self.libraries[self.at[grant.gpu]]
                library.run(grant.gpu, grant.placed.start, pid, memory_bytes=MEMORY_OF_A_PROGRAM)
            touched.add(grant.gpu)
        for gpu in touched | {order.gpu for order in plan.replacements}:
            self.gpus[gpu] = self.servers[self.at[gpu]].look_at(gpu)
        for grant in plan.grants:
            found = self.gpus[grant.gpu].slice_at(grant.placed)
            self.held[grant.request] = (grant, () if found is None else found.uuids)
        return wrong

    def standing(self, geometry: Geometry) -> Counter[Standing]:
        """Return how many GPUs hold what that is in use."""
        rows = {one.name: row for row, one in enumerate(geometry.profiles)}
        found: Counter[Standing] = Counter()
        for gpu in self.gpus.values():
            held = [one.placed for one in gpu.slices if one.in_use]
            count = Counter(rows[one.profile] for one in held)
            stays = tuple(count[row] for row in range(len(rows)))
            found[Standing(taken=sum(one.mask for one in held), count=stays)] += 1
        return found

    def lost(self) -> int:
        """Return how many slices are gone while somebody held them, as the library has it."""
        there: dict[str, set[str]] = defaultdict(set)
        for library in self.libraries:
            for gpu in library.gpus:
                there[gpu.uuid] |= {one.uuid for cut in gpu.cuts.values() for one in cut.computes.values()}
        return sum(not uuids or not set(uuids) <= there[grant.gpu] for grant, uuids in self.held.values())


def _pid(request: str) -> int:
    """Return a number for a request, the same in every run."""
    return 1 + int.from_bytes(request.encode()[-6:], "big")


def replay_demand(
    demand: Demand,
    *,
    gpus: int,
    folder: Path,
    planner: PlansSlices | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Replayed:
    """Return what came of a demand on so many GPUs; ledgers go to ``folder``.

    Who is refused waits and asks again at every step until its time is over.
    """
    fleet = Fleet.made(demand, gpus, folder)
    try:
        return _replayed(demand, fleet, planner or SlicePlanner(), progress)
    finally:
        fleet.close()


def _replayed(
    demand: Demand, fleet: Fleet, planner: PlansSlices, progress: Callable[[int, int], None]
) -> Replayed:
    geometry = next(iter(fleet.gpus.values())).geometry
    if geometry is None:
        raise Refusal(Because.UNSUPPORTED, f"a {demand.kind.name} can't be cut into slices; take another")
    profile = {ask.request.name: profile_row(geometry, ask.request) for ask in demand.asks}
    counts = np.bincount(list(profile.values()), minlength=len(geometry.profiles))
    found = Replayed(
        geometry=geometry, gpus=len(fleet.gpus), shares=counts / max(counts.sum(), 1), asked=len(demand.asks)
    )
    waiting: dict[str, Ask] = {}
    moment: Moment | None = None
    for step, (ended, begun) in enumerate(_events(demand)):
        progress(step, demand.steps)
        waiting |= {ask.request.name: ask for ask in begun}
        for ask in ended:
            if waiting.pop(ask.request.name, None) is not None:
                found.refused += 1
            else:
                fleet.give_back(ask.request.name)
        if moment is None or ended or begun:
            before = fleet.standing(geometry)
            newcomers = Counter(profile[name] for name in waiting)
            started = perf_counter()
            plan = planner.plan(list(fleet.gpus.values()), [ask.request for ask in waiting.values()])
            found.plan_seconds.append(perf_counter() - started)
            found.busy_replaced += fleet.carry_out(plan) + fleet.lost()
            found.replacements += len(plan.replacements)
            found.reused += sum(not grant.is_new for grant in plan.grants)
            found.served += len(plan.grants)
            for grant in plan.grants:
                del waiting[grant.request]
            moment = _moment(fleet, found, profile, waiting, before=before, newcomers=newcomers)
        found.waited_steps += len(waiting)
        found.moments.append(moment)
    found.refused += len(waiting)
    return found


def _events(demand: Demand) -> Iterator[tuple[Sequence[Ask], Sequence[Ask]]]:
    """Give, step by step, whose time is over, and who asks."""
    begun, ended = defaultdict[int, list["Ask"]](list), defaultdict[int, list["Ask"]](list)
    for ask in demand.asks:
        begun[ask.begin].append(ask)
        ended[ask.end].append(ask)
    for step in range(demand.steps):
        yield ended[step], begun[step]


def _moment(
    fleet: Fleet,
    found: Replayed,
    profile: dict[str, int],
    waiting: dict[str, Ask],
    *,
    before: Counter[Standing],
    newcomers: Counter[int],
) -> Moment:
    geometry = found.geometry
    used = {gpu: [one.placed for one in about.slices if one.in_use] for gpu, about in fleet.gpus.items()}
    compute = {one.name: one.compute_slices for one in geometry.profiles}
    asked = Counter(profile[name] for name in (*fleet.held, *waiting))
    return Moment(
        asked=tuple(asked[row] for row in range(len(geometry.profiles))),
        served_slices=sum(compute[one.profile] for those in used.values() for one in those),
        stranded=stranded_slices(geometry, list(used.values()), found.shares),
        before=tuple(before.items()),
        newcomers=tuple(newcomers[row] for row in range(len(geometry.profiles))),
    )
