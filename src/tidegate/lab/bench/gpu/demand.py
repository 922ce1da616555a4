"""Turns recorded use of GPUs into requests for slices over time.

Nobody in these traces asked for slices: what they would have asked for is read off in the plainest way.

*Instances* are those of recommendation models (31 days): each takes a share of its node's network card, the
only share of its node that the trace tells; it asks for that share of a GPU's compute and memory, from its
creation to its deletion.

*Containers* are those of image generation (one day): each asks, for every quarter of an hour, for as many
compute slices as its highest duty cycle took and for as much memory as it used at most; where that needs
another profile it gives its slice back and asks anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from tidegate.model.errors import InputError
from tidegate.model.gpu import SliceRequest
from tidegate.testing import A100_40GB, H100_80GB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import polars as pl

    from tidegate.model.gpu import Geometry
    from tidegate.testing import FakeKind

INSTANCES_FILE: Final = "gpu_v2025_dlrm.parquet"
MEMORY_FILE: Final = "pod_gpu_memory_used_bytes_anon.parquet"
DUTY_FILE: Final = "pod_gpu_duty_cycle_anon.parquet"
ONE_IN: Final = 4
"""Of the instances, every so manieth is replayed."""
INSTANCES_STEP_SECONDS: Final = 600
CONTAINERS_STEP_SECONDS: Final = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A slice that is wanted from one step up to another."""

    request: SliceRequest
    begin: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """All that is asked for over time, and of which kind of GPU."""

    name: str
    kind: FakeKind
    asks: tuple[Ask, ...]
    steps: int


def read_demands(folder: Path) -> tuple[Demand, ...]:
    """Return the demand of the traces in a folder.

    Raises:
        InputError: a file is not there, or is no such trace.

    """
    return (
        instances(_read(folder / INSTANCES_FILE)),
        containers(_read(folder / MEMORY_FILE), _read(folder / DUTY_FILE)),
    )


def _read(path: Path) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"{path} can't be read ({error}); set TIDEGATE_TRACES to the traces' folder"
        ) from error


def instances(table: pl.DataFrame, *, one_in: int = ONE_IN) -> Demand:
    """Return the demand of instances that have a GPU; those without a time were there before or stay after.

    Raises:
        InputError: a column is missing.

    """
    import polars as pl

    kind, step = A100_40GB, INSTANCES_STEP_SECONDS
    wanted = ("instance_sn", "gpu_request", "rdma_request", "creation_time", "deletion_time")
    rows = _columns(table, wanted).filter(pl.col("gpu_request") > 0).gather_every(one_in)
    times = rows.select("creation_time", "deletion_time")
    last = max(float(value) for column in times for value in column.drop_nulls()) if rows.height else 0.0
    steps = math.ceil(last / step) + 1
    asks = []
    for name, _, share, created, deleted in rows.iter_rows():
        begin = 0 if created is None else int(created // step)
        end = steps if deleted is None else max(math.ceil(deleted / step), begin + 1)
        asks.append(Ask(request=_shared(kind, str(name), share / 100), begin=begin, end=end))
    return Demand(name="instances", kind=kind, asks=tuple(asks), steps=steps)


def _shared(kind: FakeKind, name: str, share: float) -> SliceRequest:
    """Return the request for a share of a GPU, memory counted as its smallest slice has it."""
    smallest, whole = kind.profiles[0], max(kind.profiles, key=lambda one: one.size)
    memory = share * whole.size * smallest.memory_mebibytes / smallest.size
    return SliceRequest(
        name=name,
        compute_slices=max(1, math.ceil(share * whole.slices)),
        memory_bytes=int(min(memory, whole.memory_mebibytes) * 2**20),
    )


def containers(memory: pl.DataFrame, duty: pl.DataFrame) -> Demand:
    """Return the demand of containers that are sampled in both tables.

    Raises:
        InputError: a column is missing.

    """
    kind = H100_80GB
    whole = max(kind.profiles, key=lambda one: one.size)
    used = _peaks(memory, "memory").join(_peaks(duty, "duty"), on=("container_ip", "window"))
    used = used.sort("container_ip", "window")
    first = int(used["window"].min() or 0)  # type: ignore[arg-type] # whole numbers
    asks: list[Ask] = []
    for name, of_one in used.group_by("container_ip", maintain_order=True):
        windows = [
            (int(window) - first, max(1, math.ceil(whole.slices * min(percent, 100) / 100)), int(peak))
            for window, peak, percent in of_one.select("window", "memory", "duty").iter_rows()
        ]
        most = whole.memory_mebibytes * 2**20
        asks += _merged(str(name[0]), [(at, slices, min(peak, most)) for at, slices, peak in windows], kind)
    steps = max((ask.end for ask in asks), default=0)
    return Demand(name="containers", kind=kind, asks=tuple(asks), steps=steps)


def _peaks(table: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return the highest value of each container in each window."""
    import polars as pl

    rows = _columns(table, ("container_ip", "timestamp_anon", "value")).drop_nulls()
    window = (pl.col("timestamp_anon") // CONTAINERS_STEP_SECONDS).cast(pl.Int64).alias("window")
    return rows.group_by(pl.col("container_ip").cast(pl.String), window).agg(
        pl.col("value").max().alias(name)
    )


def _merged(name: str, windows: Iterable[tuple[int, int, int]], kind: FakeKind) -> Iterator[Ask]:
    """Return one request for each run of windows in a row that the same profile serves."""
    runs: list[list[Any]] = []
    for at, slices, memory in windows:
        profile = _profile(kind, slices, memory)
        if runs and runs[-1][1] == at and runs[-1][2] == profile:
            runs[-1][1] = at + 1
            runs[-1][3], runs[-1][4] = max(runs[-1][3], slices), max(runs[-1][4], memory)
        else:
            runs.append([at, at + 1, profile, slices, memory])
    for number, (begin, end, _, slices, memory) in enumerate(runs):
        request = SliceRequest(name=f"{name}#{number}", compute_slices=slices, memory_bytes=memory)
        yield Ask(request=request, begin=begin, end=end)


def _profile(kind: FakeKind, slices: int, memory_bytes: int) -> str:
    fit = [
        one for one in kind.profiles if one.slices >= slices and one.memory_mebibytes * 2**20 >= memory_bytes
    ]
    return min(fit, key=lambda one: (one.size, one.slices)).name


def _columns(table: pl.DataFrame, names: tuple[str, ...]) -> pl.DataFrame:
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise InputError(f"a trace of GPUs has no column {', '.join(missing)}; take the files of the archive")
    return table.select(names)


def profile_row(geometry: Geometry, request: SliceRequest) -> int:
    """Return the row of the profile that serves a request.

    Raises:
        InputError: it is larger than any slice.

    """
    profile = geometry.smallest_for(request)
    if profile is None:
        raise InputError(f"no slice is large enough for '{request.name}'; take a larger GPU")
    return geometry.profiles.index(profile)


def asked_for(demand: Demand, geometry: Geometry) -> set[tuple[int, ...]]:
    """Return how much is asked for at once, whoever is served: requests by profile, of all moments.

    Raises:
        InputError: a request is larger than any slice.

    """
    change = [[0] * len(geometry.profiles) for _ in range(demand.steps + 1)]
    for ask in demand.asks:
        row = profile_row(geometry, ask.request)
        change[ask.begin][row] += 1
        change[min(ask.end, demand.steps)][row] -= 1
    return set(accumulate(map(tuple, change[:-1]), lambda sums, more: tuple(map(int.__add__, sums, more))))
