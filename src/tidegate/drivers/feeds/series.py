"""Any named numbers over time, as feeds: a table of time and value, or of time, name and value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.drivers.feeds.table import bare_name, holds_seconds, read_table
from tidegate.model.errors import InputError
from tidegate.model.feed import Feed, FeedKind

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tidegate.drivers.feeds.table import Table

SERIES_MAX: Final = 10_000
"""Named series in one file."""


def read_series(path: Path) -> tuple[Feed, ...]:
    """Return a feed per name, or per name and VM, of a table.

    Columns: ``time``, ``value``, and optionally ``name`` (else the file's), ``vm`` (whom it is about) and
    ``issued`` (when it became known; else when it was measured).

    Raises:
        InputError: the table can't be read, lacks a column, or a row is wrong.

    """
    table = read_table(path)
    table.needs("time", "value")
    names = table.texts("name") if table.has("name") else np.full(table.numbers.size, bare_name(path), object)
    vms = table.texts("vm") if table.has("vm") else None
    valid, issued = times_of(table, "time")
    values = table.values("value")
    keys = names if vms is None else np.array([f"{n}\0{v}" for n, v in zip(names, vms, strict=True)], object)
    feeds = []
    for rows in rows_by_name(keys, table, most=SERIES_MAX).values():
        feed = measured(
            name=str(names[rows[0]]),
            kind=FeedKind.SERIES,
            valid_seconds=valid[rows],
            issued_seconds=issued[rows],
            values=values[rows],
            vms=None if vms is None else (str(vms[rows[0]]),),
        )
        feeds.append(feed)
    return tuple(feeds)


def times_of(table: Table, column: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return from when the rows hold and when they became known, (rows,) each: when measured, if not said.

    Raises:
        InputError: a time is wrong.

    """
    valid = table.times(column)
    return valid, table.times("issued") if table.has("issued") else valid


def rows_by_name(names: NDArray[np.object_], table: Table, *, most: int) -> dict[str, NDArray[np.intp]]:
    """Return the rows of each name, by name.

    Raises:
        InputError: there are more than ``most`` names.

    """
    distinct, which = np.unique(names.astype(str), return_inverse=True)
    if distinct.size > most:
        raise InputError(f"{table.path} names {distinct.size} series, {most} at most; split the file")
    order = np.argsort(which, kind="stable")
    ends = np.searchsorted(which[order], np.arange(distinct.size), side="right")
    return {str(name): rows for name, rows in zip(distinct, np.split(order, ends[:-1]), strict=True)}


def measured(
    *,
    name: str,
    kind: FeedKind,
    valid_seconds: NDArray[np.int64],
    issued_seconds: NDArray[np.int64],
    values: NDArray[np.float32],
    vms: tuple[str, ...] | None = None,
) -> Feed:
    """Return a feed of the points that are no NaN; each holds for a few of the feed's usual steps."""
    known = ~np.isnan(values)
    return Feed(
        name=name,
        kind=kind,
        valid_seconds=valid_seconds[known],
        issued_seconds=issued_seconds[known],
        values=values[known],
        holds_seconds=holds_seconds(valid_seconds[known]),
        vms=vms,
    )
