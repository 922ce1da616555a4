"""Chunks: which series are worked on at a time.

Series are numbered resource by resource, as their arrays lie in memory. A chunk is several whole resources
of a small fleet, or a part of one resource of a large one; what costs the same for one series as for a
thousand is then paid once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK: Final = 4096
"""Series worked on at a time: the chunk's features and layers fit the second-level cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The workloads of one resource in a chunk."""

    row: int
    workloads: slice
    inside: slice
    """Where they stand in the chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Series that are worked on together."""

    series: slice
    """Their flat numbers."""
    runs: tuple[Run, ...]


def chunks(resources: int, workloads: int) -> Iterator[Chunk]:
    """Yield chunks of at most `CHUNK` series that cover each series once, in order."""
    rows = max(1, CHUNK // max(workloads, 1))
    for first in range(0, resources, rows):
        held = range(first, min(first + rows, resources))
        for start in range(0, workloads, CHUNK):
            stop = min(start + CHUNK, workloads)
            width = stop - start
            runs = tuple(
                Run(
                    row=row,
                    workloads=slice(start, stop),
                    inside=slice((row - first) * width, (row - first + 1) * width),
                )
                for row in held
            )
            begin = first * workloads + start
            yield Chunk(series=slice(begin, begin + len(runs) * width), runs=runs)
