"""What a trace tells of its VMs beside demand, as feeds: application metrics and memory behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.errors import InputError
from tidegate.model.feed import Feed, FeedKind
from tidegate.sim.traces.read import column_names, read_rows, trace_files
from tidegate.sim.traces.schema import APP_PREFIX, TIME, VM

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray

MEMORY_COLUMNS: Final = ("memory_bytes_working_set", "memory_faults_per_second", "swap_bytes_per_second")
FEEDS_MAX: Final = 100_000
"""Columns times VMs."""
HOLDS_STEPS: Final = 3
"""A sample stands for so many of the VM's usual steps: two may be lost before the metric is unknown."""
HOLDS_SECONDS_MIN: Final = 60
_MICROSECONDS: Final = 1_000_000


def trace_feeds(paths: Sequence[Path]) -> tuple[Feed, ...]:
    """Return a feed per VM and column ``app_*`` or memory behaviour, each known when it was measured.

    Raises:
        InputError: a file can't be read or breaks the schema, or there are too many feeds.

    """
    present = {name for file in trace_files(paths) for name in column_names(file)}
    columns = sorted(name for name in present if name.startswith(APP_PREFIX) or name in MEMORY_COLUMNS)
    if not columns:
        return ()
    rows = read_rows(paths, columns=columns).sort(VM, TIME, maintain_order=True)
    names, starts = np.unique(rows[VM].to_numpy().astype(str), return_index=True)
    if names.size * len(columns) > FEEDS_MAX:
        raise InputError(
            f"the trace holds {names.size * len(columns)} series of {', '.join(columns[:3])} and the like, "
            f"{FEEDS_MAX} at most; leave columns or VMs out"
        )
    seconds = rows[TIME].to_physical().to_numpy() // _MICROSECONDS
    feeds = []
    for column in columns:
        values = _numbers(rows[column])
        for name, start, end in zip(names, starts, [*starts[1:], rows.height], strict=True):
            known = ~np.isnan(values[start:end])
            if known.any():
                feeds.append(_feed(column, str(name), seconds[start:end][known], values[start:end][known]))
    return tuple(feeds)


def _numbers(series: pl.Series) -> NDArray[np.float32]:
    return series.fill_null(np.nan).to_numpy().astype(np.float32)


def _feed(column: str, vm: str, seconds: NDArray[np.int64], values: NDArray[np.float32]) -> Feed:
    gaps = np.diff(np.unique(seconds))
    usual = int(np.median(gaps)) if gaps.size else 0
    return Feed(
        name=column,
        kind=FeedKind.APPLICATION if column.startswith(APP_PREFIX) else FeedKind.MEMORY,
        valid_seconds=seconds,
        issued_seconds=seconds,
        values=values,
        holds_seconds=max(HOLDS_STEPS * usual, HOLDS_SECONDS_MIN),
        vms=(vm,),
    )
