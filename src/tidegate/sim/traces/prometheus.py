"""Import what a Prometheus recorded from a libvirt exporter.

One of the importers in `FORMATS`: answers of ``/api/v1/query_range`` in, rows of the schema out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from tidegate.model.errors import InputError
from tidegate.sim.traces import schema
from tidegate.sim.traces.lines import files_under
from tidegate.sim.traces.prometheus_json import Series, read_series

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.sim.traces.schema import Progress

_KIBIBYTE: Final = 1024.0

_COUNTERS: Final = {
    "libvirt_domain_info_cpu_time_seconds": "cpu_cores_used",
    "libvirt_domain_block_read_bytes": "disk_read_bytes_per_second",
    "libvirt_domain_block_write_bytes": "disk_write_bytes_per_second",
    "libvirt_domain_interface_receive_bytes": "network_receive_bytes_per_second",
    "libvirt_domain_interface_transmit_bytes": "network_transmit_bytes_per_second",
    "libvirt_domain_memory_stats_major_fault": "memory_faults_per_second",
    "libvirt_domain_memory_stats_swap_in_bytes": "swap_bytes_per_second",
    "libvirt_domain_memory_stats_swap_out_bytes": "swap_bytes_per_second",
}
"""Metrics that only grow, by name without ``_total`` and with ``block_stats`` as ``block`` and
``interface_stats`` as ``interface`` (exporters differ); their rates are summed over the VM's devices."""

_GAUGES: Final = {
    "libvirt_domain_info_virtual_cpus": ("cpu_cores_capacity", 1.0),
    "libvirt_domain_info_maximum_memory_bytes": ("memory_bytes_capacity", 1.0),
    "libvirt_domain_memory_stats_available_bytes": ("available", 1.0),
    "libvirt_domain_memory_stats_usable_bytes": ("usable", 1.0),
    "libvirt_domain_memory_stats_unused_bytes": ("unused", 1.0),
    "libvirt_domain_memory_stats_rss_bytes": ("rss", 1.0),
    # Exporters that leave the unit out of the name pass on libvirt's, which is KiB.
    "libvirt_domain_memory_stats_available": ("available", _KIBIBYTE),
    "libvirt_domain_memory_stats_usable": ("usable", _KIBIBYTE),
    "libvirt_domain_memory_stats_unused": ("unused", _KIBIBYTE),
    "libvirt_domain_memory_stats_rss": ("rss", _KIBIBYTE),
    "libvirt_domain_memory_stats_used_percent": ("used_percent", 1.0),
    "libvirt_domain_info_memory_usage_bytes": ("balloon", 1.0),
}
"""Metrics that go up and down: what they are called here, and the factor to base units."""

_MEMORY: Final = ("available", "usable", "unused", "rss", "used_percent", "balloon")

_GAP_FACTOR: Final = 2.5
"""A counter's rate over more than this many usual steps is an average over an outage, not a sample."""

_OVERLAPS_MAX: Final = 3
"""A live migration shows a VM on two servers for a sample or so; more than this are two VMs."""

_DEVICE_LABELS: Final = ("target_device", "device", "interface", "source_file")


def import_prometheus(path: Path, progress: Progress | None = None) -> pl.DataFrame:
    """Return the rows of a ``.json`` file of answers to range queries, or of a folder of such files.

    The label ``domain`` names the VM and ``instance`` the server. Counters become rates since the sample
    before; a counter that drops was reset, so its new value is what was counted since. What a VM uses of
    its memory is, of what its exporter offers, the first of: available less usable memory as its guest
    sees it, available less unused, the used percentage, the resident size, the balloon's size; one
    choice for the whole time of a VM. NaN, by which Prometheus also marks the end of a series, is
    missing.

    Raises:
        InputError: a file is not such an answer, no metric in it is known, a metric that gives a
            capacity is lacking, or one name is two VMs; the sentence says which.

    """
    files = files_under(path, "*.json")
    found = _Found()
    for done, file in enumerate(files, start=1):
        for series in read_series(file):
            found.add(series, file)
        if progress is not None:
            progress(done, len(files))
    if not found.keys:
        raise InputError(
            f"{path} holds no metric of a libvirt exporter; export "
            "libvirt_domain_info_cpu_time_seconds_total, libvirt_domain_info_virtual_cpus "
            "and what else there is of libvirt_domain_*"
        )
    wide = _wide(found)
    _refuse_without_capacity(wide, path)
    return _rows(_without_doubles(wide, path))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    """What one time series is about, whatever other labels it carries."""

    column: str
    metric: str
    vm: str
    server: str
    device: str
    counter: bool


@dataclass(slots=True)
class _Found:
    """The known series of all files; one that several files continue has one number."""

    keys: dict[_Key, int] = field(default_factory=dict)
    parts: list[pl.DataFrame] = field(default_factory=list)

    def add(self, series: Series, path: Path) -> None:
        """Keep a series if its metric is known."""
        name = series.metric.get("__name__", "")
        metric = (
            name.removesuffix("_total")
            .replace("_block_stats_", "_block_")
            .replace("_interface_stats_", "_interface_")
        )
        if not name:
            raise InputError(
                f"{path} holds a series without __name__, as functions such as rate() leave it; "
                "query the metric itself"
            )
        if metric not in _COUNTERS and metric not in _GAUGES:
            return
        vm = series.metric.get("domain")
        if not vm:
            raise InputError(f"{path} holds {name} without the label domain; export it with its labels")
        _refuse_impossible(series, path, f"{name} of {vm}")
        counter = metric in _COUNTERS
        column, scale = (_COUNTERS[metric], 1.0) if counter else _GAUGES[metric]
        key = _Key(
            column=column,
            metric=metric,
            vm=vm,
            server=series.metric.get("instance", ""),
            device=next((series.metric[label] for label in _DEVICE_LABELS if label in series.metric), ""),
            counter=counter,
        )
        number = self.keys.setdefault(key, len(self.keys))
        self.parts.append(
            pl.DataFrame({"time": series.milliseconds, "value": series.values * scale}).with_columns(
                pl.lit(number, dtype=pl.UInt32).alias("series")
            )
        )


def _refuse_impossible(series: Series, path: Path, name: str) -> None:
    """Refuse values below zero, which no metric here has, and beyond all sizes."""
    wrong = np.flatnonzero((series.values < 0) | (series.values > schema.LARGEST / _KIBIBYTE))
    if wrong.size:
        value, at = series.values[wrong[0]], series.milliseconds[wrong[0]] / 1000
        what = "negative" if value < 0 else "too large"
        raise InputError(f"{path}: {name} is {value:g} at {at:.0f}, which is {what}; remove that sample")


def _wide(found: _Found) -> pl.DataFrame:
    """Return one row per time (milliseconds), VM and server, with a column for each that was found."""
    about = pl.DataFrame(
        [(number, key.column, key.vm, key.server, key.counter) for key, number in found.keys.items()],
        schema={
            "series": pl.UInt32,
            "column": pl.String,
            schema.VM: pl.String,
            schema.SERVER: pl.String,
            "counter": pl.Boolean,
        },
        orient="row",
    )
    samples = (
        pl.concat(found.parts)
        .filter(pl.col("value").is_not_nan())
        .unique(["series", "time"], keep="last", maintain_order=True)
        .join(about, on="series", how="left")
        .sort("series", "time")
        .with_columns(pl.when("counter").then(_rate()).otherwise("value").alias("value"))
        .filter(pl.col("value").is_not_null())
    )
    identity = [schema.VM, schema.SERVER, schema.TIME]
    cells = samples.group_by([*identity, "column"]).agg(
        pl.when(pl.col("counter").first()).then(pl.col("value").sum()).otherwise(pl.col("value").last())
    )
    wide = cells.pivot(on="column", index=identity, values="value")
    expected = {*_COUNTERS.values(), *(column for column, _ in _GAUGES.values())}
    lacking = sorted(expected.difference(wide.columns))
    return wide.with_columns(pl.lit(None, dtype=pl.Float64).alias(column) for column in lacking)


def _rate() -> pl.Expr:
    """Return a counter's growth per second since the sample before, null for the first one."""
    grown = pl.col("value").diff().over("series")
    seconds = pl.col("time").diff().over("series") / 1000
    usual = seconds.median().over("series")
    return pl.when(seconds <= _GAP_FACTOR * usual).then(
        pl.when(grown < 0).then(pl.col("value")).otherwise(grown) / seconds
    )


def _refuse_without_capacity(wide: pl.DataFrame, path: Path) -> None:
    needs = (
        ("cpu_cores_used", "cpu_cores_capacity", "libvirt_domain_info_virtual_cpus"),
        ("memory", "memory_bytes_capacity", "libvirt_domain_info_maximum_memory_bytes"),
    )
    for used, capacity, metric in needs:
        columns = _MEMORY if used == "memory" else (used,)
        has_usage = any(wide[column].is_not_null().any() for column in columns)
        if has_usage and wide[capacity].is_null().all():
            raise InputError(f"{path} says what VMs use and not what they may use; export {metric} as well")


def _without_doubles(wide: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Keep one row per VM and time, as a VM in migration shows on two servers for a moment."""
    doubles = (
        wide.group_by(schema.VM, schema.TIME)
        .agg(pl.len().alias("servers"), pl.col(schema.SERVER).unique().sort().alias("names"))
        .filter(pl.col("servers") > 1)
        .group_by(schema.VM)
        .agg(pl.len().alias("times"), pl.col("names").first())
        .filter(pl.col("times") > _OVERLAPS_MAX)
        .sort(schema.VM)
    )
    if not doubles.is_empty():
        vm, _, servers = doubles.row(0)
        raise InputError(
            f"{path}: the domain {vm!r} runs on {' and '.join(servers)} at the same time, so it is two VMs; "
            "import each server by itself"
        )
    return wide.sort(schema.VM, schema.TIME, schema.SERVER).unique(
        [schema.VM, schema.TIME], keep="last", maintain_order=True
    )


def _rows(wide: pl.DataFrame) -> pl.DataFrame:
    """Turn wide cells into rows of the schema, without columns that nothing was found for."""
    choices = (
        pl.col("available") - pl.col("usable"),
        pl.col("available") - pl.col("unused"),
        pl.col("used_percent") / 100 * pl.coalesce("available", "memory_bytes_capacity"),
        pl.col("rss"),
        pl.col("balloon"),
    )
    used = pl.lit(None, dtype=pl.Float64)
    for choice in reversed(choices):
        # One definition for all of a VM's samples: a change of definition would look like demand.
        used = pl.when(choice.is_not_null().any().over(schema.VM)).then(choice).otherwise(used)
    rows = wide.with_columns(used.clip(lower_bound=0.0).alias("memory_bytes_used"))
    names = [column.name for column in schema.NUMBERS if column.name in rows.columns]
    named = [name for name in names if rows[name].is_not_null().any()]
    servers = [schema.SERVER] if (rows[schema.SERVER] != "").any() else []
    return rows.select(
        pl.col(schema.TIME).cast(pl.Datetime("ms", "UTC")),
        pl.col(schema.VM),
        *(pl.col(name).replace("", None) for name in servers),
        *(pl.col(name) for name in named),
    ).sort(schema.VM, schema.TIME)
