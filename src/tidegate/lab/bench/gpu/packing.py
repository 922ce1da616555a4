"""The best packing there is of the requests at one moment: as if slices in use could move, or around them.

GPUs of one kind differ only in what is cut out of them, so a whole fleet is a small integer program: how
many GPUs that stand alike are cut in which of the few hundred ways (cutting stock by patterns: Gilmore and
Gomory, Operations Research 9, 1961). First it serves as many compute slices as can be, then it strands as few
as can be. Solved by HiGHS to the optimum, through `scipy.optimize.milp`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.errors import InputError, TidegateError
from tidegate.plan.slices.stranding import table_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from tidegate.model.gpu import Geometry
    from tidegate.plan.slices.stranding import SliceTable

MISSING: Final = (
    "SciPy is not installed, which solves for the best packing; run pip install 'tidegate[replay]'"
)
SERVED_FIRST: Final = 1e3
"""What an unserved compute slice weighs against a stranded one: more than a whole fleet strands by it."""
SECONDS_MAX: Final = 30.0
"""For one moment; the best found by then counts, and is said to be short of the optimum."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patterns:
    """Every set of slices that can be cut out of one GPU, one for each set of places."""

    taken: NDArray[np.int64]
    """(patterns,) memory slices, a bit each."""
    count: NDArray[np.int64]
    """(patterns, profiles)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is cut out of a GPU and has to stay."""

    taken: int = 0
    """Memory slices, a bit each."""
    count: tuple[int, ...] = ()
    """By profile; empty: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """What the best packing does."""

    served_slices: int
    """Compute slices of the profiles served, with what stands."""
    stranded: float
    is_optimal: bool


@lru_cache(maxsize=8)
def patterns_of(geometry: Geometry) -> Patterns:
    """Return the ways to cut a GPU."""
    table = table_of(geometry)
    most = np.array([one.instances_max for one in geometry.profiles])
    sets = [
        (taken, count)
        for taken, count in _sets(table)
        if (np.array(count) <= most).all() and np.dot(count, table.compute) <= geometry.compute_slices
    ]
    return Patterns(
        taken=np.array([taken for taken, _ in sets], dtype=np.int64),
        count=np.array([count for _, count in sets], dtype=np.int64),
    )


def _sets(table: SliceTable) -> Iterator[tuple[int, list[int]]]:
    """Give every set of placements that do not overlap: what it takes, and how many of each profile."""
    masks, profiles = table.mask.tolist(), table.profile.tolist()

    def beyond(first: int, taken: int, count: list[int]) -> Iterator[tuple[int, list[int]]]:
        yield taken, count
        for at in range(first, len(masks)):
            if taken & masks[at] == 0:
                more = count.copy()
                more[profiles[at]] += 1
                yield from beyond(at + 1, taken | masks[at], more)

    yield from beyond(0, 0, [0] * len(table.geometry.profiles))


@lru_cache(maxsize=4096)
def _ways(
    geometry: Geometry, standing: Standing, asked: tuple[bool, ...], shares: tuple[float, ...]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return what may be added to a GPU (ways, profiles), and what is stranded then (ways,).

    Of all places for the same slices the one that strands least.
    """
    table, patterns = table_of(geometry), patterns_of(geometry)
    stays = np.array(standing.count or [0] * len(shares))
    most = np.array([one.instances_max for one in geometry.profiles])
    fits = (patterns.taken & standing.taken) == 0
    fits &= ~patterns.count[:, ~np.array(asked)].any(axis=1)
    fits &= (patterns.count + stays <= most).all(axis=1)
    free = geometry.compute_slices - (patterns.count + stays) @ table.compute
    fits &= free >= 0
    stranded = np.array(shares) @ table.stranded(patterns.taken[fits] | standing.taken, free[fits])
    best: dict[tuple[int, ...], float] = {}
    for count, lost in zip(map(tuple, patterns.count[fits].tolist()), stranded.tolist(), strict=True):
        best[count] = min(lost, best.get(count, np.inf))
    return np.array(list(best), dtype=np.int64), np.array(list(best.values()))


def best_packing(
    geometry: Geometry, gpus: Mapping[Standing, int], asked: NDArray[np.int64], shares: NDArray[np.float64]
) -> Packing:
    """Return the best packing of ``asked`` (profiles,) requests onto GPUs of one kind, added to what stands.

    ``gpus`` says how many GPUs stand how; ``shares`` (profiles,) is the mix for which capacity counts as
    stranded.

    Raises:
        InputError: SciPy is not installed.
        TidegateError: the solver found nothing in its time.

    """
    try:
        from scipy.optimize import Bounds, LinearConstraint, milp
    except ImportError as error:
        raise InputError(MISSING) from error
    compute = table_of(geometry).compute
    is_asked = tuple((asked > 0).tolist())
    ways = [_ways(geometry, standing, is_asked, tuple(shares.tolist())) for standing in gpus]
    count = np.concatenate([each for each, _ in ways])
    stranded = np.concatenate([each for _, each in ways])
    of_gpu = np.repeat(np.arange(len(ways)), [each.size for _, each in ways])
    how_many = np.array(list(gpus.values()))
    result = milp(
        stranded - SERVED_FIRST * (count @ compute),
        integrality=np.ones(stranded.size),
        bounds=Bounds(0, how_many[of_gpu]),
        constraints=[
            LinearConstraint((of_gpu == np.arange(len(ways))[:, None]).astype(float), how_many, how_many),
            LinearConstraint(count.T, -np.inf, asked),
        ],
        options={"time_limit": SECONDS_MAX, "mip_rel_gap": 0.0},
    )
    if result.x is None:
        raise TidegateError(f"no packing was found in {SECONDS_MAX:g} s; replay fewer GPUs")
    used = np.rint(result.x)
    stands = sum(
        number * int(np.dot(standing.count, compute)) for standing, number in gpus.items() if standing.count
    )
    return Packing(
        served_slices=int(used @ (count @ compute)) + stands,
        stranded=float(used @ stranded),
        is_optimal=result.status == 0,
    )
