"""A journal's samples as a trace: what was lived can be replayed under other policies and SLAs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from tidegate.journal.sql.reader import Reader
from tidegate.lab.trace_files import Written
from tidegate.model.errors import InputError
from tidegate.sim.traces import write_trace
from tidegate.sim.traces.schema import COLUMNS_OF, SERVER, TIME, TIME_TYPE, VM
from tidegate.sim.traces.write import check_ending

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tidegate.journal.sql.opening import Location
    from tidegate.model.snapshot import Snapshot

ROWS_MAX: Final = 20_000_000
"""Most rows of one file: some two gigabytes of memory while it is made."""


def export_trace(
    where: Location, out: Path, *, last_seconds: int | None, progress: Callable[[int, int], None]
) -> Written:
    """Write the samples that a journal keeps, or those of its last seconds, to the Parquet file ``out``.

    A sample's time is the beginning of the interval it covers, as everywhere in traces. What was cut off by a
    grant stays cut off.

    Raises:
        InputError: there is no journal or no sample, there are too many, or ``out`` can't be written.
        TidegateError: the journal is damaged.

    """
    check_ending(out)
    reader = Reader.of(where)
    try:
        span = reader.span()
        if span is None:
            raise InputError(f"the journal {where.name} holds no tick yet; let 'tidegate up' run for one")
        since = span.first_seconds if last_seconds is None else span.last_seconds - last_seconds + 1
        first = reader.first_with_samples(since)
        workloads = len(reader.fleet_of(span.last).roster)
        if workloads * (span.last - first + 1) > ROWS_MAX:
            raise InputError(
                f"the journal holds {span.last - first + 1} ticks of {workloads} workloads, over "
                f"{ROWS_MAX:,} rows; give a shorter --last"
            )
        parts = []
        for number, snapshot in reader.snapshots(first, span.last):
            progress(number - first, span.last - first + 1)
            parts.append(_rows(snapshot))
    finally:
        reader.close()
    rows = pl.concat(parts, how="diagonal")
    write_trace(rows, out)
    return Written(path=str(out), rows=rows.height, vms=rows[VM].n_unique())


def _rows(snapshot: Snapshot) -> pl.DataFrame:
    """Return one tick's samples; who had none is left out."""
    present = ~np.isnan(snapshot.used).all(axis=0)
    start = snapshot.time_seconds - snapshot.step_seconds
    names, places = snapshot.roster.names, snapshot.places.names
    columns: dict[str, Any] = {
        VM: [names[row] for row in np.flatnonzero(present).tolist()],
        SERVER: [places[place] for place in snapshot.host[present]],
    }
    for row, resource in enumerate(snapshot.resources):
        of = COLUMNS_OF[resource]
        columns[of.used[0]] = snapshot.used[row, present].astype(np.float64)
        if of.capacity is not None:
            columns[of.capacity] = snapshot.capacity[row, present].astype(np.float64)
    time = pl.lit(start * 1_000_000, dtype=pl.Int64).cast(TIME_TYPE).alias(TIME)
    frame = pl.DataFrame(columns).fill_nan(None)
    return frame.select(time, pl.all())


__all__ = ["export_trace"]
