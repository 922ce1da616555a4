"""Import the Azure VM trace of 2017 (AzurePublicDataset, V1).

One of the importers in `FORMATS`: the table of VMs and any of the 125 files of readings in, rows of the
schema out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from tidegate.model.errors import InputError
from tidegate.sim.traces import schema
from tidegate.sim.traces.lines import files_under, numbers_from, read_lines

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.sim.traces.schema import Progress

_START_SECONDS: Final = 1_479_254_400
"""2016-11-16 00:00 UTC stands for the trace's second 0. Its true date is not published: the paper says
late 2016 to early 2017, so take neither days of the week nor times of day from it."""

_SECONDS_MAX: Final = 100 * 366 * 86_400
"""The trace is 30 days long; a reading later than this is a wrong number."""

_PERCENT_MAX: Final = 1e6
_CORES_MAX: Final = 1e6

_VM_COLUMNS: Final = (
    "vmid",
    "subscriptionid",
    "deploymentid",
    "vmcreated",
    "vmdeleted",
    "maxcpu",
    "avgcpu",
    "p95maxcpu",
    "vmcategory",
    "vmcorecount",
    "vmmemory",
)
_READING_COLUMNS: Final = ("timestamp", "vmid", "mincpu", "maxcpu", "avgcpu")
_READING_TYPES: Final = {
    "timestamp": pl.Int64(),
    "vmid": pl.Categorical(),
    "mincpu": pl.Float32(),
    "maxcpu": pl.Float32(),
    "avgcpu": pl.Float32(),
}


def import_azure2017(path: Path, progress: Progress | None = None) -> pl.DataFrame:
    """Return the rows of a folder with ``vmtable.csv`` and ``vm_cpu_readings-file-*.csv`` (``.gz`` too).

    ``cpu_cores_used`` is the average over 5 minutes (the trace has the minimum and maximum beside it)
    times the VM's cores. There is no usage of memory, so memory stays out. A VM that has readings and is
    not in the table gets no capacity. Any subset of the files of readings will do; all 125 need far more
    memory than most machines have.

    Raises:
        InputError: a file is missing, or a line is not of the format; the sentence names it.

    """
    folder = path if path.is_dir() else path.parent
    cores = _cores(files_under(folder, "vmtable.csv", "vmtable.csv.gz")[0])
    files = files_under(path, "*vm_cpu_readings-file-*.csv", "*vm_cpu_readings-file-*.csv.gz")
    parts = []
    for done, file in enumerate(files, start=1):
        parts.append(_readings(file))
        if progress is not None:
            progress(done, len(files))
    seconds = pl.col("timestamp") + _START_SECONDS
    rows = (
        pl.concat(parts)
        .with_columns(pl.col("vmid").cast(pl.String))
        .join(cores, on="vmid", how="left")
        .select(
            (seconds * 1000).cast(pl.Datetime("ms", "UTC")).alias(schema.TIME),
            pl.col("vmid").alias(schema.VM),
            (pl.col("avgcpu") / 100 * pl.col("cores")).cast(pl.Float32).alias("cpu_cores_used"),
            pl.col("cores").alias("cpu_cores_capacity"),
        )
        .sort(schema.VM, schema.TIME, maintain_order=True)
    )
    if rows["cpu_cores_capacity"].is_null().all():
        raise InputError(
            f"{path}: none of the VMs with readings is in vmtable.csv; name readings and table of one trace"
        )
    return rows


def _cores(path: Path) -> pl.DataFrame:
    """Return each VM's number of cores: columns vmid and cores."""
    texts = pl.Series(read_lines(path), dtype=pl.String)
    lines = pl.Series(range(1, len(texts) + 1), dtype=pl.UInt32)
    filled = texts.str.strip_chars() != ""
    if not filled.any():
        raise InputError(f"{path} is empty, and says of no VM how many cores it has; fetch the file again")
    fields = _split(texts.filter(filled), _VM_COLUMNS, path=path, lines=lines.filter(filled))
    cores = fields["vmcorecount"]
    if cores.str.starts_with(">").any():
        raise InputError(
            f"{path} gives ranges of cores such as '>24', as the Azure trace of 2019 (V2) does; "
            "name the files of the 2017 trace (V1)"
        )
    counts = numbers_from(
        cores, path=path, lines=lines.filter(filled), what="number of cores", at_most=_CORES_MAX
    )
    return pl.DataFrame({"vmid": fields["vmid"], "cores": counts.cast(pl.Float32)}).unique(
        "vmid", keep="last", maintain_order=True
    )


def _readings(path: Path) -> pl.DataFrame:
    """Return the columns timestamp, vmid and avgcpu of one file of readings."""
    try:
        rows = pl.read_csv(
            path,
            has_header=False,
            new_columns=list(_READING_COLUMNS),
            schema_overrides=_READING_TYPES,
            glob=False,
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        _blame_line(path)
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} can't be read as CSV ({reason}); fetch the file again") from error
    if rows.width != len(_READING_COLUMNS) or _is_wrong(rows):
        _blame_line(path)
    return rows.select("timestamp", "vmid", "avgcpu")


def _is_wrong(rows: pl.DataFrame) -> bool:
    missing = sum(rows.select("timestamp", "vmid", "avgcpu").null_count().row(0))
    return missing > 0 or not bool(
        (rows["avgcpu"].is_between(0, _PERCENT_MAX) & rows["timestamp"].is_between(0, _SECONDS_MAX)).all()
    )


def _blame_line(path: Path) -> None:
    """Find the line that is not of the format, slowly, as it happens once.

    Raises:
        InputError: always where a line is wrong.

    """
    texts = pl.Series(read_lines(path), dtype=pl.String)
    lines = pl.Series(range(1, len(texts) + 1), dtype=pl.UInt32)
    fields = _split(texts, _READING_COLUMNS, path=path, lines=lines)
    limits = {"timestamp": _SECONDS_MAX} | dict.fromkeys(("mincpu", "maxcpu", "avgcpu"), _PERCENT_MAX)
    for name, most in limits.items():
        numbers_from(fields[name], path=path, lines=lines, what=name, at_most=most)


def _split(texts: pl.Series, names: tuple[str, ...], *, path: Path, lines: pl.Series) -> pl.DataFrame:
    """Return comma-separated lines as columns of text."""
    wrong = texts.str.count_matches(",", literal=True) != len(names) - 1
    if wrong.any():
        at = int(wrong.arg_true()[0])
        found = texts[at].count(",") + 1
        raise InputError(
            f"{path}, line {lines[at]}: {found} values where the Azure trace of 2017 has {len(names)}; "
            "correct or remove the line"
        )
    split = texts.str.split_exact(",", len(names) - 1).struct.unnest()
    split.columns = list(names)
    return split
