"""Measures how slices serve recorded demand, beside the best packing of the same requests.

*Stranded* is what a next request could not use: the free compute slices that a request like those of the
trace, drawn at random and placed as often as it goes, would leave over. It is summed over all GPUs and all
moments. The best packing is solved anew for every moment over all that is asked for then, and may move
everybody; the planner moves nobody. *In place*, the best packing may only place the newcomers, as the planner
may. The fleet is the smallest on which the best packing serves everybody: with fewer GPUs even that would
refuse, with more there is room for waste.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.drivers.gpu.geometry import geometry_of
from tidegate.lab.bench.gpu.demand import asked_for, profile_row, read_demands
from tidegate.lab.bench.gpu.first_fit import FirstFit
from tidegate.lab.bench.gpu.packing import Standing, best_packing
from tidegate.lab.bench.gpu.replaying import replay_demand
from tidegate.lab.bench.result import Benchmark, Row, machine, row
from tidegate.model.errors import InputError
from tidegate.plan.slices import SlicePlanner
from tidegate.testing import FakeNvml

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tidegate.lab.bench.gpu.demand import Demand
    from tidegate.lab.bench.gpu.packing import Packing
    from tidegate.lab.bench.gpu.replaying import PlansSlices, Replayed
    from tidegate.model.gpu import Geometry

STRANDED_LIMIT: Final = 1.10
"""Stranded capacity over that of the best packing."""
IN_PLACE_MOMENTS: Final = 100
"""Of a replay, evenly spread, for which the best packing around what stands is solved too."""


def bench_gpu(*, seed: int, progress: Callable[[str, int, int], None] = lambda *_: None) -> Benchmark:
    """Replay the GPU traces of the archive in $TIDEGATE_TRACES; nothing in it is left to chance.

    Raises:
        InputError: there is no such archive, or SciPy is not installed.

    """
    archive = os.environ.get("TIDEGATE_TRACES")
    if not archive:
        raise InputError("traces of GPUs come with no package; set TIDEGATE_TRACES to a folder that has gpu/")
    rows, notes = list[Row](), list[str]()
    judged = [_judged(demand, progress) for demand in read_demands(Path(archive) / "gpu")]
    worst = max(each.ratio for each in judged)
    rows.append(row("gpu_busy_slices_replaced", sum(each.busy_replaced for each in judged), "", 0))
    rows.append(row("gpu_stranded_over_milp_ratio", worst, "ratio", STRANDED_LIMIT))
    for each in judged:
        rows += each.rows
        notes += each.notes
    return Benchmark(area="gpu", machine=machine(), seed=seed, rows=tuple(rows), notes=tuple(notes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One replay beside its best packings."""

    busy_replaced: int
    ratio: float
    """Stranded by the planner over stranded by the best packing, each summed over the replay."""
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def _judged(demand: Demand, progress: Callable[[str, int, int], None]) -> Judged:
    geometry = geometry_for(demand)
    counts = np.array([profile_row(geometry, ask.request) for ask in demand.asks])
    shares = np.bincount(counts, minlength=len(geometry.profiles)) / max(counts.size, 1)
    best, gpus = smallest_fleet(geometry, asked_for(demand, geometry), shares, progress)
    found = _replay(demand, gpus, SlicePlanner(), progress)
    first_fit = _replay(demand, gpus, FirstFit(), progress)
    least = sum(best[moment.asked].stranded for moment in found.moments)
    most = sum(best[moment.asked].served_slices for moment in found.moments)
    stranded = sum(moment.stranded for moment in found.moments)
    served = sum(moment.served_slices for moment in found.moments)
    early = sum(not each.is_optimal for each in best.values())
    notes = [f"{demand.name}: {early} of {len(best)} packings are not proven best"] if early else []
    figures = {
        "gpus": (gpus, ""),
        "requests": (found.asked, ""),
        "served": (found.served, ""),
        "refused": (found.refused, ""),
        "waited_steps": (found.waited_steps, ""),
        "stranded_over_milp_ratio": (_ratio(stranded, least), "ratio"),
        "stranded_over_milp_in_place_ratio": (_in_place(demand, found, progress), "ratio"),
        "served_over_milp_ratio": (_ratio(served, most), "ratio"),
        "stranded_of_capacity_ratio": (
            stranded / (len(found.moments) * gpus * geometry.compute_slices),
            "ratio",
        ),
        "gpus_replaced": (found.replacements, ""),
        "idle_slices_reused": (found.reused, ""),
        "plan_ms_p99": (1000 * float(np.quantile(found.plan_seconds, 0.99)), "ms"),
        "packings_solved": (len(best), ""),
        "first_fit_refused": (first_fit.refused, ""),
        "first_fit_stranded_over_milp_ratio": (
            _ratio(sum(moment.stranded for moment in first_fit.moments), least),
            "ratio",
        ),
    }
    return Judged(
        busy_replaced=found.busy_replaced,
        ratio=_ratio(stranded, least),
        rows=tuple(row(f"{demand.name}_{name}", value, unit) for name, (value, unit) in figures.items()),
        notes=tuple(notes),
    )


def _replay(
    demand: Demand, gpus: int, planner: PlansSlices, progress: Callable[[str, int, int], None]
) -> Replayed:
    def at(step: int, steps: int) -> None:
        progress(f"replaying {demand.name}", step, steps)

    with TemporaryDirectory() as folder:
        return replay_demand(demand, gpus=gpus, folder=Path(folder), planner=planner, progress=at)


def geometry_for(demand: Demand) -> Geometry:
    """Return how the GPUs of a demand may be cut.

    Raises:
        InputError: they can't be.

    """
    nvml = FakeNvml([demand.kind])
    nvml.nvmlInit()
    geometry = geometry_of(nvml, nvml.gpus[0])
    if geometry is None:
        raise InputError(f"a {demand.kind.name} can't be cut into slices; take another")
    return geometry


def smallest_fleet(
    geometry: Geometry,
    asked: set[tuple[int, ...]],
    shares: NDArray[np.float64],
    progress: Callable[[str, int, int], None],
) -> tuple[dict[tuple[int, ...], Packing], int]:
    """Return the fewest GPUs on which the best packing serves everybody at any moment, and its packings.

    From the moment that asks for most downwards: GPUs are added until each is served.
    """
    compute = np.array([profile.compute_slices for profile in geometry.profiles])
    order = sorted(asked, key=lambda each: (int(np.dot(each, compute)), each), reverse=True)
    gpus = max(1, -(-int(np.dot(order[0], compute)) // geometry.compute_slices))
    at = 0
    best: dict[tuple[int, ...], Packing] = {}
    while at < len(order):
        progress("packing", at, len(order))
        found = best_packing(geometry, {Standing(): gpus}, np.array(order[at]), shares)
        short = int(np.dot(order[at], compute)) - found.served_slices
        if short > 0:
            gpus += -(-short // geometry.compute_slices)
            best.clear()
            at = 0
            continue
        best[order[at]] = found
        at += 1
    return best, gpus


def _in_place(demand: Demand, found: Replayed, progress: Callable[[str, int, int], None]) -> float:
    """Return what is stranded over that of the best packing of newcomers around what stands."""
    changed = [moment for moment in dict.fromkeys(found.moments) if any(moment.newcomers)]
    every = max(1, len(changed) // IN_PLACE_MOMENTS)
    stranded, least = 0.0, 0.0
    for at, moment in enumerate(changed[::every]):
        progress(f"packing {demand.name} in place", at, IN_PLACE_MOMENTS)
        newcomers = np.array(moment.newcomers, dtype=np.int64)
        best = best_packing(found.geometry, dict(moment.before), newcomers, found.shares)
        stranded, least = stranded + moment.stranded, least + best.stranded
    return _ratio(stranded, least)


def _ratio(value: float, best: float) -> float:
    """Return how much larger a value is than the best; one where neither is anything."""
    if best > 0:
        return value / best
    return 1.0 if value <= 0 else math.inf
