"""Make a synthetic trace for demonstrations and tests.

The rows follow the schema, so that everything that takes a trace takes this one. Nothing in it was
measured: it shows how things work, and says nothing about how well they do on real VMs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from tidegate.model.errors import InputError
from tidegate.sim.traces import schema

if TYPE_CHECKING:
    from numpy.typing import NDArray

_START_SECONDS: Final = 1_704_067_200
"""2024-01-01 00:00 UTC, a Monday."""
_DAY_SECONDS: Final = 86_400
_DAYS_MAX: Final = 10_000
_CELLS_MAX: Final = 100_000_000
"""Most samples of a column: about 15 GB for all of them while they are made."""
_KINDS: Final = ("idle", "daily", "cron", "bursty", "shifting")
_KIND_RATIOS: Final = (0.35, 0.25, 0.15, 0.15, 0.10)
"""Most VMs of the public traces idle, and smooth days are fewer than spikes."""
_CORES: Final = (1, 2, 4, 8, 16)
_MEMORY_BYTES_PER_CORE: Final = 4 * 1024**3
_NETWORK_CAPACITY: Final = 1.25e9
_STORAGE_CAPACITY: Final = 5e8
_VMS_PER_SERVER: Final = 8
_GPU_EVERY: Final = 10
_GAP_RATIO: Final = 0.2
"""Share of VMs with one gap of up to half a day, as collectors stop now and then."""
_LATE_RATIO: Final = 0.05
"""Share of VMs that are created within the first half of the trace."""
_LOST_RATIO: Final = 0.001
"""Share of samples lost one by one."""


def generate_trace(*, vms: int, days: float, step_seconds: int, seed: int) -> pl.DataFrame:
    """Return the rows of ``vms`` synthetic VMs, named ``synthetic-00001`` and on, sorted by VM and time.

    VMs idle, follow the day and the week, spike on a schedule, burst or shift their level; some come
    late, some have gaps. The same arguments give the same rows.

    Raises:
        InputError: a number is not positive, or the trace is shorter than two steps or too large to be
            made in memory.

    """
    long_enough = math.isfinite(days) and days * _DAY_SECONDS >= 2 * step_seconds
    if vms < 1 or step_seconds < 1 or seed < 0 or not long_enough:
        raise InputError(
            f"{vms} VMs over {days} days in steps of {step_seconds} s with seed {seed} make no trace; "
            "give at least one VM, two steps, and a seed of zero or more"
        )
    if days > _DAYS_MAX:
        raise InputError(f"{days:g} days are more than {_DAYS_MAX:,}; make a shorter trace")
    cells = vms * int(days * _DAY_SECONDS / step_seconds)
    if cells > _CELLS_MAX:
        raise InputError(
            f"{vms:,} VMs over {days:g} days in steps of {step_seconds} s are {cells:,} samples, more than "
            f"{_CELLS_MAX:,}; make fewer VMs or days, or a longer --step"
        )
    rng = np.random.default_rng(seed)
    seconds = np.arange(0, int(days * _DAY_SECONDS), step_seconds, dtype=np.int64)
    shape = _Shape(rng=rng, seconds=seconds, step_seconds=step_seconds)
    cores = rng.choice(_CORES, size=vms).astype(np.float64)
    cpu = np.clip(_cpu_ratio(shape, vms), 0.001, 1.0)
    columns = _columns(shape, cpu, cores)
    present = _present(shape, vms)
    return _rows(columns, seconds=seconds, present=present, cores=cores)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """What every part of the trace is made from."""

    rng: np.random.Generator
    seconds: NDArray[np.int64]
    step_seconds: int

    @property
    def ticks(self) -> int:
        return self.seconds.size

    def noise(self, vms: int, *, memory_ratio: float, scale: float) -> NDArray[np.float64]:
        """Return (ticks, vms) of noise around 1 that remembers ``memory_ratio`` of itself each step."""
        fresh = self.rng.normal(0.0, scale * np.sqrt(1 - memory_ratio**2), size=(self.ticks, vms))
        for tick in range(1, self.ticks):
            fresh[tick] += memory_ratio * fresh[tick - 1]
        return np.exp(fresh)


def _cpu_ratio(shape: _Shape, vms: int) -> NDArray[np.float64]:
    """Return CPU usage as a share of capacity, (ticks, vms)."""
    kind = shape.rng.choice(len(_KINDS), size=vms, p=_KIND_RATIOS)
    ratio = shape.rng.uniform(0.005, 0.05, size=vms) * np.ones((shape.ticks, 1))
    for number, name in enumerate(_KINDS):
        of_kind = np.flatnonzero(kind == number)
        if name != "idle" and of_kind.size:
            ratio[:, of_kind] += _EXTRA[name](shape, of_kind.size)
    return ratio * shape.noise(vms, memory_ratio=0.8, scale=0.2)


def _daily(shape: _Shape, vms: int) -> NDArray[np.float64]:
    """Return office hours: a hill by day, low on weekends."""
    peak_seconds = shape.rng.normal(14 * 3600, 2 * 3600, size=vms)
    turn = 2 * np.pi * (shape.seconds[:, None] - peak_seconds) / _DAY_SECONDS
    hill = np.exp(2.0 * (np.cos(turn) - 1.0))
    weekday = (shape.seconds // _DAY_SECONDS) % 7
    weekend_ratio = shape.rng.uniform(0.1, 0.9, size=vms)
    week = np.where((weekday >= 5)[:, None], weekend_ratio, 1.0)
    return shape.rng.uniform(0.2, 0.7, size=vms) * hill * week


def _cron(shape: _Shape, vms: int) -> NDArray[np.float64]:
    """Return spikes on a schedule: hourly, every six hours, or nightly."""
    every = shape.rng.choice([3600, 6 * 3600, _DAY_SECONDS], size=vms)
    offset = shape.rng.uniform(0, every)
    lasts = np.maximum(shape.rng.uniform(300, 1800, size=vms), shape.step_seconds)
    running = (shape.seconds[:, None] - offset) % every < lasts
    return np.where(running, shape.rng.uniform(0.4, 0.95, size=vms), 0.0)


def _bursty(shape: _Shape, vms: int) -> NDArray[np.float64]:
    """Return bursts at any time, a few a day, that fade over about half an hour."""
    starts = shape.rng.random((shape.ticks, vms)) < 4 * shape.step_seconds / _DAY_SECONDS
    level = np.where(starts, shape.rng.uniform(0.3, 1.0, size=(shape.ticks, vms)), 0.0)
    fade = np.exp(-shape.step_seconds / 1800)
    for tick in range(1, shape.ticks):
        level[tick] = np.maximum(level[tick], level[tick - 1] * fade)
    return level


def _shifting(shape: _Shape, vms: int) -> NDArray[np.float64]:
    """Return a level that jumps about once in four days, as after a deployment."""
    jumps = shape.rng.random((shape.ticks, vms)) < shape.step_seconds / (4 * _DAY_SECONDS)
    levels = shape.rng.uniform(0.05, 0.6, size=(shape.ticks, vms))
    last_jump = np.maximum.accumulate(np.where(jumps, np.arange(shape.ticks)[:, None], 0), axis=0)
    return np.take_along_axis(levels, last_jump, axis=0)


_EXTRA: Final = {"daily": _daily, "cron": _cron, "bursty": _bursty, "shifting": _shifting}


def _columns(
    shape: _Shape, cpu: NDArray[np.float64], cores: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return the columns of usage that follow from CPU usage, each (ticks, vms) in the schema's unit."""
    vms = cores.size
    held = shape.rng.uniform(0.1, 0.6, size=vms) * shape.noise(vms, memory_ratio=0.999, scale=0.15)
    memory = np.clip(held + 0.2 * cpu, 0.01, 1.0)
    columns = {
        "cpu_cores_used": cpu * cores,
        "memory_bytes_used": np.rint(memory * cores * _MEMORY_BYTES_PER_CORE),
    }
    # Bytes per core second of work, drawn once per VM: some serve, some compute.
    flows = {
        "disk_read_bytes_per_second": (2e6, _STORAGE_CAPACITY / 2),
        "disk_write_bytes_per_second": (1e6, _STORAGE_CAPACITY / 2),
        "network_receive_bytes_per_second": (5e6, _NETWORK_CAPACITY),
        "network_transmit_bytes_per_second": (5e6, _NETWORK_CAPACITY),
    }
    for name, (typical, most) in flows.items():
        per_core = typical * np.exp(shape.rng.normal(0.0, 1.5, size=vms))
        noise = shape.noise(vms, memory_ratio=0.5, scale=0.4)
        columns[name] = np.minimum(columns["cpu_cores_used"] * per_core * noise, most)
    gpu = np.clip(cpu * shape.noise(vms, memory_ratio=0.9, scale=0.3), 0.0, 1.0)
    gpu[:, np.arange(vms) % _GPU_EVERY != 0] = np.nan
    columns["gpu_fraction_used"] = gpu
    return columns


def _present(shape: _Shape, vms: int) -> NDArray[np.bool_]:
    """Return which samples exist, (ticks, vms)."""
    rng, seconds = shape.rng, shape.seconds[:, None]
    span = float(shape.ticks * shape.step_seconds)
    present = rng.random((shape.ticks, vms)) >= _LOST_RATIO
    created = np.where(rng.random(vms) < _LATE_RATIO, rng.uniform(0, span / 2, size=vms), 0.0)
    gap_start = np.where(rng.random(vms) < _GAP_RATIO, rng.uniform(0, span, size=vms), span)
    gap_end = gap_start + rng.uniform(0, min(_DAY_SECONDS / 2, span / 4), size=vms)
    present &= (seconds >= created) & ~((seconds >= gap_start) & (seconds < gap_end))
    # A VM without any sample would not be in the trace at all.
    present[-1, ~present.any(axis=0)] = True
    return present


def _rows(
    columns: dict[str, NDArray[np.float64]],
    *,
    seconds: NDArray[np.int64],
    present: NDArray[np.bool_],
    cores: NDArray[np.float64],
) -> pl.DataFrame:
    vm, tick = np.nonzero(present.T)
    digits = max(5, len(str(cores.size)))
    names = pl.Series([f"synthetic-{number:0{digits}d}" for number in range(1, cores.size + 1)])
    servers = pl.Series([f"server-{number // _VMS_PER_SERVER + 1:03d}" for number in range(cores.size)])
    capacity = {
        "cpu_cores_capacity": cores[vm],
        "memory_bytes_capacity": cores[vm] * _MEMORY_BYTES_PER_CORE,
        "network_bytes_per_second_capacity": np.full(vm.size, _NETWORK_CAPACITY),
        "storage_bytes_per_second_capacity": np.full(vm.size, _STORAGE_CAPACITY),
    }
    numbers = {name: values[tick, vm] for name, values in columns.items()} | capacity
    whole = {"memory_bytes_used", "memory_bytes_capacity"}
    return pl.DataFrame(
        {
            schema.TIME: pl.Series((_START_SECONDS + seconds[tick]) * 1000).cast(pl.Datetime("ms", "UTC")),
            schema.VM: names[vm],
            schema.SERVER: servers[vm],
            **{
                column.name: pl.Series(numbers[column.name])
                .fill_nan(None)
                .cast(pl.Int64 if column.name in whole else pl.Float32)
                for column in schema.NUMBERS
                if column.name in numbers
            },
        }
    )
