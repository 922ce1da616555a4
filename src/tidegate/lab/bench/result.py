"""What a benchmark returns: rows of figures, each beside its limit where there is one."""

from __future__ import annotations

import os
import platform
import sys
from typing import Literal

import msgspec
import numpy as np

Direction = Literal["max", "min"]
"""Whether the limit is the most or the least the value may be."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure. ``holds`` is None where there is no limit."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    direction: Direction = "max"
    holds: bool | None = None


def row(name: str, value: float, unit: str, limit: float | None = None, direction: Direction = "max") -> Row:
    """Return a figure with its verdict."""
    holds = None
    if limit is not None:
        holds = bool(value <= limit if direction == "max" else value >= limit)
    return Row(name=name, value=float(value), unit=unit, limit=limit, direction=direction, holds=holds)


class Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    """One area's figures, in the form that machines read."""

    area: str
    machine: dict[str, str]
    seed: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """What went wrong, in sentences, where a figure does not say it."""
    failures: tuple[str, ...] = ()
    """Whose figures are missing since they failed, and why."""


def machine() -> dict[str, str]:
    """Return what a reader needs to know of the machine: kind, cores, versions, thread settings."""
    threads = {name: os.environ[name] for name in os.environ if name.endswith("_NUM_THREADS")}
    return {
        "cores": str(os.cpu_count()),
        "processor": platform.machine(),
        "python": sys.version.split()[0],
        "numpy": np.__version__,
    } | threads
