"""The coming day of a workload, ready to be shown, and of a whole fleet in a few figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tidegate.forecast.day_ahead.remembered import NEEDED, SAID, remembered
from tidegate.model.day_ahead import NOBODY, Turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tidegate.journal.sql.checkpoint import Manifest
    from tidegate.journal.sql.reader import Reader
    from tidegate.model.day_ahead import DayAhead
    from tidegate.model.resources import Resource


class ComingDay(msgspec.Struct, frozen=True, kw_only=True):
    """What was said of a workload's next hours; amounts in the resource's base unit."""

    start_seconds: int
    """Where the first hour begins, seconds since 1970 UTC."""
    model: str
    refreshed_seconds: int
    """Up to when it is based on samples."""
    why: str
    """Why it was refreshed then."""
    levels: tuple[float, ...]
    peaks: tuple[tuple[float | None, ...], ...]
    """(levels, hours) quantiles of the peak of each hour; None: not said."""
    loss: float | None
    """Mean quantile loss of what was said a day before, as a share of capacity; None until measured."""
    coverage: tuple[float | None, ...]
    """(levels,) share of hours whose peak stayed at or below what was said a day before."""


def coming_day(reader: Reader, manifest: Manifest, identity: int, resource: int) -> ComingDay | None:
    """Return what a checkpoint remembers of a workload's coming day; None where nothing was said.

    Raises:
        TidegateError: the journal is damaged.

    """
    found = [name for name in manifest.arrays if name.endswith(SAID)]
    if not found:
        return None
    prefix = found[0].removesuffix("said")
    state: dict[str, NDArray[Any]] = {}
    for name in NEEDED:
        state |= reader.state(manifest, under=f"{prefix}{name}")
    whole = {name.removeprefix(prefix): array for name, array in state.items()}
    day = remembered(whole, identity)
    if day is None or not day.known[resource, 0] or day.model[resource, 0] == NOBODY:
        return None
    return ComingDay(
        start_seconds=day.start_seconds,
        model=day.models[int(day.model[resource, 0])],
        refreshed_seconds=int(day.refreshed_seconds[resource, 0]),
        why=Turn(int(day.turn[resource, 0])).words,
        levels=tuple(_rounded(level) for level in day.levels.tolist()),
        peaks=tuple(
            tuple(_known(amount) for amount in hours) for hours in day.quantiles[..., resource, 0].tolist()
        ),
        loss=_known(float(day.loss[resource, 0])),
        coverage=tuple(_known(float(share)) for share in day.coverage[:, resource, 0]),
    )


def day_figures(day: DayAhead | None, resources: Sequence[Resource]) -> list[dict[str, object]]:
    """Return a fleet's day ahead by resource, for machines; nothing where nobody looks so far."""
    if day is None:
        return []
    known = day.known
    return [
        {
            "resource": resource.label,
            "models": sorted({day.models[at] for at in day.model[row][known[row]].tolist()}),
            "series": known.shape[1],
            "series_known": int(known[row].sum()),
            "loss": _mean(day.loss[row]),
            "coverage": {
                f"{_rounded(level):g}": _mean(day.coverage[at, row])
                for at, level in enumerate(day.levels.tolist())
            },
        }
        for row, resource in enumerate(resources)
    ]


def _mean(values: NDArray[np.float32]) -> float | None:
    measured = values[~np.isnan(values)]
    return float(measured.mean()) if measured.size else None


def _rounded(level: float) -> float:
    return round(level, 6)


def _known(amount: float) -> float | None:
    return amount if np.isfinite(amount) else None


__all__ = ["ComingDay", "coming_day", "day_figures"]
