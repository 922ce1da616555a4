"""What commands do with trace files: import, make up, describe.

The commands stand above the lab and the lab above the simulator, so ``tidegate trace`` comes through here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.lab.describe import Description, describe
from tidegate.model.errors import InputError
from tidegate.sim.traces import FORMATS, generate_trace, load_trace, write_trace
from tidegate.sim.traces.read import column_names, trace_files
from tidegate.sim.traces.schema import VM, check_names, resources_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl

    from tidegate.model.resources import Resource
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
    return _written(FORMATS[format_name](source, progress), out)


def make_trace(out: Path, *, vms: int, days: float, step_seconds: int, seed: int) -> Written:
    """Write a synthetic trace to ``out``.

    Raises:
        InputError: a number is out of range, or ``out`` can't be written.

    """
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
        files = trace_files(paths)
        for file in files:
            check_names(column_names(file), source=str(file))
        held = [resources_in(column_names(file)) for file in files]
        resources = [resource for resource in held[0] if all(resource in others for others in held)]
    return describe(load_trace(paths, resources=resources, step_seconds=step_seconds, progress=progress))


def _written(rows: pl.DataFrame, out: Path) -> Written:
    write_trace(rows, out)
    return Written(path=str(out), rows=rows.height, vms=rows[VM].n_unique())
