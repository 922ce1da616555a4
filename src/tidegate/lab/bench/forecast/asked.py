"""What a benchmark of forecasts is asked for, and what each of its parts answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.lab.bench.result import Row

PARTS: Final = ("league", "replay", "feeds", "lstm", "tick")
"""Each can be measured alone."""
ORIGINS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which parts to measure, on what, and how much of it."""

    traces: tuple[Path, ...] = ()
    """Trace files; without, the archive's or a made-up one."""
    parts: tuple[str, ...] = PARTS
    models: tuple[str, ...] | None = None
    """Whom the engine is held against; None: every model that is installed."""
    vms: int | None = None
    """Evenly chosen among the trace's; None: all."""
    origins: int = ORIGINS
    seed: int = 0
    processes: int | None = None
    """None: all cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The figures of one part, and what can't be said in figures."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    """Who failed while others went on, and why; each a sentence."""
