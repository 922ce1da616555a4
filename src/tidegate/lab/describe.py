"""What a trace holds, and how predictable the VMs in it are.

A `Trace` goes in, a `Description` comes out; ``tidegate trace describe`` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.resources import Resource
    from tidegate.model.trace import Trace

_HOUR_SECONDS: Final = 3600
_DAY_SECONDS: Final = 86_400
_PAIRS_MIN: Final = 24
"""An autocorrelation from fewer pairs of samples is chance, and does not count."""
_SAMPLES_PER_SLOT_MIN: Final = 3
"""With one day of samples each mean by time of day is its own sample and explains everything."""
_BLOCK_CELLS: Final = 4_000_000
"""Cells of float64 worked on at once: 32 MB an array, whatever the size of the trace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceDescription:
    """One resource of a trace; a number that the trace can't give is None."""

    resource: str
    unit: str
    samples: int
    completeness_ratio: float
    """Share of the grid's cells (steps x VMs) with a sample."""
    used_mean: float | None
    """Mean of all samples, in ``unit``."""
    use_ratio: float | None
    """Sum of what was used over sum of capacity, on samples that have one."""
    vms_varying: int
    """VMs whose usage varies at all; the numbers below are over these."""
    autocorrelation_step: float | None
    """Median over VMs of the correlation of usage with itself one step later."""
    autocorrelation_hour: float | None
    autocorrelation_day: float | None
    autocorrelation_week: float | None
    time_of_day_ratio_p25: float | None
    """Share of a VM's variance that the mean of each time of day explains: quartiles over VMs."""
    time_of_day_ratio_p50: float | None
    time_of_day_ratio_p75: float | None
    time_of_day_ratio_p90: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A trace in figures."""

    name: str
    start_seconds: int
    """Seconds since 1970 UTC of the first step."""
    span_seconds: int
    step_seconds: int
    ticks: int
    vms: int
    vms_without_capacity: int
    """VMs that never have capacity and were left out."""
    servers: int
    completeness_ratio: float
    """Share of the grid's cells with a sample of any resource."""
    resources: tuple[ResourceDescription, ...]


def describe(trace: Trace) -> Description:
    """Return what ``trace`` holds."""
    any_sample = np.zeros(trace.used.shape[1:], dtype=bool)
    for used in trace.used:
        any_sample |= ~np.isnan(used)
    return Description(
        name=trace.name,
        start_seconds=trace.start_seconds,
        span_seconds=trace.ticks * trace.step_seconds,
        step_seconds=trace.step_seconds,
        ticks=trace.ticks,
        vms=len(trace.vms),
        vms_without_capacity=trace.vms_without_capacity,
        servers=len({server for server in trace.servers if server}),
        completeness_ratio=float(any_sample.mean()),
        resources=tuple(_describe_resource(trace, resource) for resource in trace.resources),
    )


def autocorrelation(used: NDArray[np.floating], *, lag: int) -> NDArray[np.float64]:
    """Return each VM's correlation of usage with itself ``lag`` steps later, shape (vms,).

    ``used`` has shape (ticks, vms) with NaN for missing samples. Pairs with a missing sample don't
    count; a VM with few pairs or without variance gets NaN.
    """
    if not 0 < lag < used.shape[0]:
        return np.full(used.shape[1], np.nan)
    present = ~np.isnan(used)
    centred = _centred(used, present)
    pairs = (present[lag:] & present[:-lag]).sum(axis=0)
    together = np.einsum("tv,tv->v", centred[lag:], centred[:-lag])
    alone = np.einsum("tv,tv->v", centred, centred)
    usable = (pairs >= _PAIRS_MIN) & _varies(used, present)
    samples = present.sum(axis=0)
    return np.where(
        usable,
        (together / np.maximum(pairs, 1)) / np.where(usable, alone / np.maximum(samples, 1), 1),
        np.nan,
    )


def time_of_day_ratio(used: NDArray[np.floating], slot_of_day: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the share of each VM's variance that its mean by time of day explains, shape (vms,).

    ``used`` has shape (ticks, vms), ``slot_of_day`` (ticks,). The means come from the same samples, so
    a VM without any rhythm gets about (slots of a day / samples), not zero. A VM without variance, or
    with few samples for the slots of a day, gets NaN.
    """
    present = ~np.isnan(used)
    centred = _centred(used, present)
    order = np.argsort(slot_of_day, kind="stable")
    starts = np.flatnonzero(np.diff(slot_of_day[order], prepend=-1))
    sums = np.add.reduceat(centred[order], starts, axis=0)
    counts = np.add.reduceat(present[order], starts, axis=0, dtype=np.int64)
    explained = (sums**2 / np.maximum(counts, 1)).sum(axis=0)
    whole = np.einsum("tv,tv->v", centred, centred)
    usable = _varies(used, present) & (present.sum(axis=0) >= _SAMPLES_PER_SLOT_MIN * starts.size)
    return np.where(usable, explained / np.where(usable, whole, 1), np.nan)


def _centred(used: NDArray[np.floating], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return usage less each VM's mean, and 0 where missing, so that sums skip it."""
    filled = np.where(present, used, 0).astype(np.float64)
    mean = filled.sum(axis=0) / np.maximum(present.sum(axis=0), 1)
    return np.where(present, filled - mean, 0.0)


def _varies(used: NDArray[np.floating], present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which VMs have two different values; exact, where a sum of squares would round."""
    lowest = np.where(present, used, np.inf).min(axis=0)
    highest = np.where(present, used, -np.inf).max(axis=0)
    return np.asarray(highest > lowest)


def _describe_resource(trace: Trace, resource: Resource) -> ResourceDescription:
    used, capacity = trace.rows_of(resource)
    step = trace.step_seconds
    second_of_day = (trace.start_seconds + step * np.arange(trace.ticks, dtype=np.int64)) % _DAY_SECONDS
    slot_of_day = second_of_day // step
    lags = {"step": 1} | {
        name: round(seconds / step)
        for name, seconds in (("hour", _HOUR_SECONDS), ("day", _DAY_SECONDS), ("week", 7 * _DAY_SECONDS))
    }
    blocks = range(0, used.shape[1], max(1, _BLOCK_CELLS // max(trace.ticks, 1)))
    width = blocks.step
    parts = [used[:, at : at + width] for at in blocks]
    correlation = {
        name: np.concatenate([autocorrelation(part, lag=lag) for part in parts]) for name, lag in lags.items()
    }
    ratio = np.concatenate([time_of_day_ratio(part, slot_of_day) for part in parts])
    present = ~np.isnan(used)
    samples = int(present.sum())
    both = present & ~np.isnan(capacity)
    held = float(capacity[both].sum(dtype=np.float64))
    return ResourceDescription(
        resource=resource.label,
        unit=resource.unit,
        samples=samples,
        completeness_ratio=samples / used.size,
        used_mean=float(used[present].mean(dtype=np.float64)) if samples else None,
        use_ratio=float(used[both].sum(dtype=np.float64)) / held if held > 0 else None,
        vms_varying=sum(int(_varies(part, ~np.isnan(part)).sum()) for part in parts),
        autocorrelation_step=_quantile(correlation["step"], 0.5),
        autocorrelation_hour=_quantile(correlation["hour"], 0.5),
        autocorrelation_day=_quantile(correlation["day"], 0.5),
        autocorrelation_week=_quantile(correlation["week"], 0.5),
        time_of_day_ratio_p25=_quantile(ratio, 0.25),
        time_of_day_ratio_p50=_quantile(ratio, 0.5),
        time_of_day_ratio_p75=_quantile(ratio, 0.75),
        time_of_day_ratio_p90=_quantile(ratio, 0.9),
    )


def _quantile(values: NDArray[np.float64], level: float) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.quantile(known, level)) if known.size else None
