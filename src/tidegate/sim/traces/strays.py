"""Finds the one wrong time that would stretch a trace's grid over years.

A clock that was not set dates a sample to 1970, and the grid then holds decades of gaps. `load` asks here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.sim.traces import schema
from tidegate.sim.traces.read import read_columns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS: Final = 1_000_000
_GAP_SECONDS: Final = 8 * 7 * 86_400
"""Shorter gaps are real: machines stand still for weeks."""
_GAP_STEPS: Final = 1000
_GAP_FACTOR: Final = 10
"""A gap of so many times the steps that have samples at all is a wrong time, if few samples ..."""
_FEW_RATIO: Final = 0.01
"""... lie beyond it: this share of the steps that have any, or one ..."""
_GAP_FACTOR_OF_MANY: Final = 100
"""... and with so many times, whatever lies beyond it: nobody replays that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """Samples that a gap far larger than all of the trace parts from the rest."""

    time_us: int
    """One of them: the nearest to the rest."""
    gap_seconds: int


def find_stray(time_us: NDArray[np.int64], *, step_seconds: int) -> Stray | None:
    """Return where a trace's times (rows,), in any order, fall apart; None where they hold together."""
    if time_us.size == 0 or int(time_us.max()) - int(time_us.min()) <= _GAP_SECONDS * _MICROSECONDS:
        return None
    slots, first_row = np.unique(time_us // (step_seconds * _MICROSECONDS), return_index=True)
    gaps = np.diff(slots)
    at = int(gaps.argmax())
    gap, below, occupied = int(gaps[at]), at + 1, slots.size
    fewer = min(below, occupied - below)
    few = fewer <= max(1, _FEW_RATIO * occupied)
    factor = _GAP_FACTOR if few else _GAP_FACTOR_OF_MANY
    if gap * step_seconds <= _GAP_SECONDS or gap <= max(_GAP_STEPS, factor * occupied):
        return None
    odd = at if below == fewer else at + 1
    return Stray(time_us=int(time_us[first_row[odd]]), gap_seconds=gap * step_seconds)


def refuse_stray(stray: Stray, files: Sequence[Path]) -> None:
    """Name the file and row of a stray time, by reading the times of the files again.

    Raises:
        InputError: always where one of the files holds that time.

    """
    when = _EPOCH + timedelta(microseconds=stray.time_us)
    for path in files:
        times = read_columns(path, [schema.TIME, schema.VM])[schema.TIME].dt.epoch("us")
        schema.Where(str(path)).refuse(
            times == stray.time_us,
            column=schema.TIME,
            problem=(
                f"{when:%Y-%m-%dT%H:%M:%SZ} lies {stray.gap_seconds / 86_400:,.0f} days from the other "
                "samples; correct or remove the row, or give the parts as traces of their own"
            ),
        )
