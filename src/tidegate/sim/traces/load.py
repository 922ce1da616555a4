"""Read trace files onto a regular grid of time.

Rows of the schema go in, a `Trace` comes out; replay, forecasting and the simulator start from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.model.trace import Trace
from tidegate.sim.traces import schema
from tidegate.sim.traces.read import column_names, read_columns, stem, trace_files
from tidegate.sim.traces.strays import find_stray, refuse_stray

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tidegate.sim.traces.schema import Progress

GRID_CELLS_MAX: Final = 2_000_000_000
"""Most cells a grid may have (resources x ticks x VMs, usage and capacity): 8 GB of float32."""

STEPS_SECONDS: Final = (1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1200, 1800, 3600, 7200, 86400)
"""Steps that collectors use; an inferred step goes to the nearest one within `STEP_TOLERANCE`."""

STEP_TOLERANCE: Final = 0.1

_MICROSECONDS: Final = 1_000_000
_HAS_CAPACITY: Final = "has_capacity"


def load_trace(
    paths: Sequence[Path],
    *,
    resources: Sequence[Resource],
    step_seconds: int | None = None,
    progress: Progress | None = None,
) -> Trace:
    """Read the files as one trace; a VM that occurs in several of them continues.

    A sample goes to the slot ``floor(seconds since 1970 UTC / step)``; of several in one slot the last
    by time counts (of equal times, the last in the order of files and rows). Gaps stay NaN. Usage above
    capacity is kept as it is. The capacity of network and storage is NaN where the files have none,
    that of ``gpu`` is 1, the unit itself. A VM that never has CPU or memory capacity is left out and
    counted. ``progress`` is called after each file.

    Raises:
        InputError: no file is given, a file can't be read or breaks the schema, a resource is not in
            it, nothing is left, a time lies far from all others, or the grid would be larger than
            `GRID_CELLS_MAX`.

    """
    if step_seconds is not None and step_seconds < 1:
        raise InputError(f"the step is {step_seconds} seconds; give one of at least one second")
    resources = tuple(dict.fromkeys(resources))
    files = trace_files(paths)
    parts = []
    for done, file in enumerate(files, start=1):
        parts.append(_samples(file, resources))
        if progress is not None:
            progress(done, len(files))
    samples = pl.concat(parts, how="diagonal")
    del parts
    name = "+".join(stem(file) for file in files)
    if samples.is_empty():
        raise InputError(f"{_listed(files)} holds no rows; give a trace with samples")
    coded = _coded(samples)
    samples_with_capacity = bool(coded.samples[_HAS_CAPACITY].any())
    del samples
    if not samples_with_capacity:
        raise InputError(
            f"{_listed(files)}: no VM ever has capacity; fill cpu_cores_capacity or memory_bytes_capacity"
        )
    step = step_seconds if step_seconds is not None else infer_step_seconds(coded.time_us, coded.vm)
    stray = find_stray(coded.time_us, step_seconds=step)
    if stray is not None:
        refuse_stray(stray, files)
    return _gridded(coded, name=name, resources=resources, step=step)


def infer_step_seconds(time_us: NDArray[np.int64], vm: NDArray[np.integer]) -> int:
    """Return the usual time between two samples of a VM, rounded to a step that collectors use.

    ``time_us`` are microseconds and ``vm`` the number of the VM, both of shape (rows,) and sorted by VM,
    then time. A median within `STEP_TOLERANCE` of one of `STEPS_SECONDS` is taken as that.

    Raises:
        InputError: no VM has samples at two times.

    """
    gap_us = np.diff(time_us)[np.diff(vm) == 0]
    gap_us = gap_us[gap_us > 0]
    if gap_us.size == 0:
        raise InputError("no VM of the trace has samples at two times; give the step with --step")
    median = float(np.median(gap_us)) / _MICROSECONDS
    nearest = min(STEPS_SECONDS, key=lambda step: abs(median - step) / step)
    if abs(median - nearest) <= STEP_TOLERANCE * nearest:
        return nearest
    return max(1, round(median))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Coded:
    """Samples sorted by VM, then time; every array has shape (rows,)."""

    samples: pl.DataFrame
    vms: tuple[str, ...]
    vm: NDArray[np.uint32]
    time_us: NDArray[np.int64]


def _samples(path: Path, resources: Sequence[Resource]) -> pl.DataFrame:
    """Return one file's time (microseconds), vm, server, whether it has capacity, and usage and capacity.

    The usage of resource ``r`` is in the column ``used_r``, its capacity in ``capacity_r``.
    """
    names = column_names(path)
    schema.check_names(names, source=str(path))
    held = schema.resources_in(names)
    for resource in resources:
        if resource not in held:
            raise InputError(
                f"{path} has no column {schema.COLUMNS_OF[resource].used[0]}; "
                f"choose among its resources with --resource {','.join(held_one.label for held_one in held)}"
            )
    limits = [name for name in ("cpu_cores_capacity", "memory_bytes_capacity") if name in names]
    wanted = {schema.TIME, schema.VM, schema.SERVER, *limits}
    for resource in resources:
        columns = schema.COLUMNS_OF[resource]
        wanted.update(columns.used)
        if columns.capacity is not None:
            wanted.add(columns.capacity)
    rows = read_columns(path, [name for name in names if name in wanted])
    limit = pl.max_horizontal(limits) if limits else pl.lit(1.0)
    chosen = [
        pl.col(schema.TIME).dt.epoch("us"),
        pl.col(schema.VM),
        (limit > 0).fill_null(value=False).alias(_HAS_CAPACITY),
    ]
    if schema.SERVER in names:
        chosen.append(pl.col(schema.SERVER))
    for resource in resources:
        chosen.extend(_usage_and_capacity(resource, names, limit))
    return rows.select(chosen)


def _usage_and_capacity(resource: Resource, names: Sequence[str], limit: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Return what a row says of one resource, null in both where it is no sample."""
    columns = schema.COLUMNS_OF[resource]
    parts = [pl.col(name).cast(pl.Float64) for name in columns.used if name in names]
    # Not sum_horizontal: it would take a missing part as zero.
    used = parts[0]
    for part in parts[1:]:
        used = used + part if columns.combine == "sum" else _larger(used, part)
    if columns.capacity is not None and columns.capacity in names:
        capacity = pl.col(columns.capacity).cast(pl.Float32)  # what is zero there is no capacity
        present = used.is_not_null() & (capacity > 0)
    else:
        capacity = pl.lit(1.0) if resource is Resource.GPU else pl.lit(None, dtype=pl.Float64)
        # Archives write an absent VM as a row of zeros: no capacity, so no sample of anything.
        present = used.is_not_null() & (limit > 0).fill_null(value=True)
    return (
        pl.when(present).then(used).cast(pl.Float32).alias(f"used_{resource.label}"),
        pl.when(present).then(capacity).cast(pl.Float32).alias(f"capacity_{resource.label}"),
    )


def _larger(one: pl.Expr, other: pl.Expr) -> pl.Expr:
    """Return the larger of two, null where either is (max_horizontal would take the one that is there)."""
    return pl.when(one.is_not_null() & other.is_not_null()).then(pl.max_horizontal(one, other))


def _coded(samples: pl.DataFrame) -> _Coded:
    """Number the VMs by name and sort by VM, then time; equal times keep their order."""
    vms = tuple(samples[schema.VM].unique().sort().to_list())
    samples = samples.with_columns(pl.col(schema.VM).cast(pl.Enum(vms)).to_physical())
    vm = samples[schema.VM].to_numpy()
    time_us = samples[schema.TIME].to_numpy()
    in_order = (vm[1:] > vm[:-1]) | ((vm[1:] == vm[:-1]) & (time_us[1:] >= time_us[:-1]))
    if not in_order.all():
        samples = samples.sort(schema.VM, schema.TIME, maintain_order=True)
        vm = samples[schema.VM].to_numpy()
        time_us = samples[schema.TIME].to_numpy()
    return _Coded(samples=samples, vms=vms, vm=vm, time_us=time_us)


def _listed(files: Sequence[Path]) -> str:
    """Return the files by their paths, for a sentence."""
    return ", ".join(str(file) for file in files)


def _gridded(coded: _Coded, *, name: str, resources: tuple[Resource, ...], step: int) -> Trace:
    """Put sorted samples on the grid; the last of a slot overwrites those before it."""
    slot = coded.time_us // (step * _MICROSECONDS)
    first = int(slot.min())
    ticks = int(slot.max()) - first + 1
    has_capacity = coded.samples[_HAS_CAPACITY].to_numpy()
    kept = np.zeros(len(coded.vms), dtype=bool)
    kept[coded.vm[has_capacity]] = True
    vms = int(kept.sum())
    _refuse_huge(name, ticks=ticks, vms=vms, resources=len(resources), step_seconds=step)
    row_kept = kept[coded.vm]
    tick_of_row = (slot - first)[row_kept]
    vm_of_row = (np.cumsum(kept) - 1)[coded.vm[row_kept]]
    shape = (len(resources), ticks, vms)
    used = np.full(shape, np.nan, dtype=np.float32)
    capacity = np.full(shape, np.nan, dtype=np.float32)
    for at, resource in enumerate(resources):
        # Of repeated indices numpy keeps the last assignment: the sample that is last by time.
        used[at, tick_of_row, vm_of_row] = _column(coded, f"used_{resource.label}")[row_kept]
        capacity[at, tick_of_row, vm_of_row] = _column(coded, f"capacity_{resource.label}")[row_kept]
    if np.isnan(used).all():
        raise InputError(f"{name}: {_what_is_empty(resources)}")
    return Trace(
        name=name,
        start_seconds=first * step,
        step_seconds=step,
        resources=resources,
        vms=tuple(vm for vm, keep in zip(coded.vms, kept, strict=True) if keep),
        servers=_servers(coded, kept),
        used=used,
        capacity=capacity,
        vms_without_capacity=len(coded.vms) - vms,
    )


def _what_is_empty(resources: Sequence[Resource]) -> str:
    needed = [
        name
        for resource in resources
        for name in (*schema.COLUMNS_OF[resource].used, schema.COLUMNS_OF[resource].capacity)
        if name is not None
    ]
    return (
        f"no row has both usage and capacity of {' or '.join(one.label for one in resources)}; "
        f"fill {', '.join(needed)}, or choose other resources"
    )


def _refuse_huge(name: str, *, ticks: int, vms: int, resources: int, step_seconds: int) -> None:
    cells = 2 * resources * ticks * vms
    if cells > GRID_CELLS_MAX:
        enough = step_seconds * -(-cells // GRID_CELLS_MAX)
        raise InputError(
            f"{name} would need {cells:,} cells ({ticks:,} steps of {step_seconds} s x {vms:,} VMs), more "
            f"than {GRID_CELLS_MAX:,}; look for a wrong time, or give a longer --step, such as {enough}s"
        )


def _column(coded: _Coded, name: str) -> NDArray[np.float32]:
    """Return a column as float32 with NaN for null."""
    return coded.samples[name].fill_null(float("nan")).to_numpy()


def _servers(coded: _Coded, kept: NDArray[np.bool_]) -> tuple[str, ...]:
    """Return the last server named for each kept VM ("" if none is), or nothing if no file names any."""
    if schema.SERVER not in coded.samples.columns:
        return ()
    server = coded.samples[schema.SERVER]
    names = ("", *server.drop_nulls().unique().sort().to_list())
    known = server.is_not_null().to_numpy()
    number = server.replace_strict(
        list(names), list(range(len(names))), default=None, return_dtype=pl.UInt32
    ).fill_null(0)
    last = np.zeros(len(coded.vms), dtype=np.uint32)
    last[coded.vm[known]] = number.to_numpy()[known]
    return tuple(names[at] for at in last[kept])
