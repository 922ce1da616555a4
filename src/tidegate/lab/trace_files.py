"""What commands do with trace files: import, make up, describe.

The commands stand above the lab and the lab above the simulator, so ``tidegate trace`` comes through here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.lab.describe import Description, describe
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.sim.traces import FORMATS, generate_trace, load_trace, write_trace
from tidegate.sim.traces.read import column_names, trace_files
from tidegate.sim.traces.schema import VM, Where, check_names, checked, resources_in
from tidegate.sim.traces.write import check_ending

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl

    from tidegate.model.trace import Trace
    from tidegate.sim.traces import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A trace file that was just written."""

    path: str
    rows: int
    vms: int


def import_trace(source: Path, out: Path, *, format_name: str, progress: Progress | None = None) -> Written:
    """Convert ``source``, in one of `FORMATS`, to the Parquet file ``out``.

    Raises:
        InputError: the format is unknown, ``source`` is not of it, or ``out`` can't be written.

    """
    if format_name not in FORMATS:
        raise InputError(f"the format {format_name!r} is unknown; choose one of {', '.join(FORMATS)}")
    check_ending(out)
    rows = FORMATS[format_name](source, progress)
    check_names(rows.columns, source=str(source))
    checked(rows, Where(str(source)))
    return _written(rows, out)


def make_trace(out: Path, *, vms: int, days: float, step_seconds: int, seed: int) -> Written:
    """Write a synthetic trace to ``out``.

    Raises:
        InputError: a number is out of range, or ``out`` can't be written.

    """
    check_ending(out)
    return _written(generate_trace(vms=vms, days=days, step_seconds=step_seconds, seed=seed), out)


def describe_files(
    paths: Sequence[Path],
    *,
    resources: Sequence[Resource] | None = None,
    step_seconds: int | None = None,
    progress: Progress | None = None,
) -> Description:
    """Describe the files as one trace; by default all resources that every file holds.

    Raises:
        InputError: see `load_trace`.

    """
    if resources is None:
        resources = _held_by_all(paths)
        if not resources:
            raise InputError(
                "the files share no resource that all of them have usage of; describe them one by one"
            )
    return describe(load_trace(paths, resources=resources, step_seconds=step_seconds, progress=progress))


def load_demand(paths: Sequence[Path], *, step_seconds: int | None = None) -> Trace:
    """Return the files as what a simulated fleet is asked for: CPU, and memory where every file has it.

    Raises:
        InputError: see `load_trace`; or a file has no CPU.

    """
    held = _held_by_all(paths)
    if Resource.CPU not in held:
        raise InputError(
            f"{' and '.join(str(path) for path in paths)}: a simulated fleet needs CPU of every VM; add "
            "cpu_cores_used and cpu_cores_capacity"
        )
    wanted = [resource for resource in (Resource.CPU, Resource.MEMORY) if resource in held]
    return load_trace(paths, resources=wanted, step_seconds=step_seconds)


def _held_by_all(paths: Sequence[Path]) -> list[Resource]:
    """Return the resources that every file has usage of."""
    names = {file: column_names(file) for file in trace_files(paths)}
    for file, columns in names.items():
        check_names(columns, source=str(file))
    held = [resources_in(columns) for columns in names.values()]
    return [resource for resource in held[0] if all(resource in others for others in held)]


def _written(rows: pl.DataFrame, out: Path) -> Written:
    write_trace(rows, out)
    return Written(path=str(out), rows=rows.height, vms=rows[VM].n_unique())
