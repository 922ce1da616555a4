"""What links could do over time, as feeds: latency, bandwidth and loss of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate.drivers.feeds.series import measured, rows_by_name, times_of
from tidegate.drivers.feeds.table import LARGEST, read_table
from tidegate.model.errors import InputError
from tidegate.model.feed import Feed, FeedKind

if TYPE_CHECKING:
    from pathlib import Path

LINKS_MAX: Final = 256
MEASURES: Final = {
    "latency_seconds": LARGEST,
    "bandwidth_bytes_per_second": LARGEST,
    "loss_ratio": 1.0,
}
"""What may be told of a link, and how much it can be; none is below zero."""


def read_network(path: Path) -> tuple[Feed, ...]:
    """Return a feed per link and measure of a table, named ``link/measure``.

    Columns: ``time``, ``link``, at least one of `MEASURES`, and optionally ``issued``.

    Raises:
        InputError: the table can't be read, lacks a column, or a row is wrong.

    """
    table = read_table(path)
    table.needs("time", "link")
    told = [measure for measure in MEASURES if table.has(measure)]
    if not told:
        raise InputError(f"{path} tells nothing of its links; add a column {' or '.join(MEASURES)}")
    valid, issued = times_of(table, "time")
    links = rows_by_name(table.texts("link"), table, most=LINKS_MAX)
    values = {measure: table.values(measure, least=0, most=MEASURES[measure]) for measure in told}
    feeds = (
        measured(
            name=f"{link}/{measure}",
            kind=FeedKind.NETWORK,
            valid_seconds=valid[rows],
            issued_seconds=issued[rows],
            values=values[measure][rows],
        )
        for link, rows in links.items()
        for measure in told
    )
    return tuple(feed for feed in feeds if feed.values.size)
