"""Import the Bitbrains trace (GWA-T-12) as its archive writes it.

One of the importers in `FORMATS`: files of the archive in, rows of the schema out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from tidegate.model.errors import InputError
from tidegate.sim.traces import schema
from tidegate.sim.traces.lines import files_under, numbers_from, read_lines

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tidegate.sim.traces.schema import Progress

_FIELDS: Final = (
    "time",
    "number of cores",
    "CPU capacity in MHz",
    "CPU usage in MHz",
    "CPU usage in percent",
    "memory capacity in KB",
    "memory usage in KB",
    "disk read in KB/s",
    "disk write in KB/s",
    "network received in KB/s",
    "network transmitted in KB/s",
)
_KIBIBYTE: Final = 1024
_MILLISECONDS_FROM: Final = 1e11
"""The header says milliseconds and the archive holds seconds; seconds reach this in the year 5138."""
_LARGEST: Final = 1e15
"""No field reaches it: not memory in KB (which as bytes must fit 64 bits), nor a time in milliseconds."""
_ARCHIVES: Final = frozenset({"fastStorage", "rnd"})


def import_bitbrains(path: Path, progress: Progress | None = None) -> pl.DataFrame:
    """Return the rows of ``N.csv`` files: ``path`` is one, or a folder with any number of months.

    File ``7.csv`` is VM ``bb007``, in every month. Values are rounded to what the collector resolved
    (0.1 MHz, 1 KiB of memory, 0.01 KiB/s): digits beyond it come from averaging and compress badly. CPU
    usage may exceed capacity, and is null where capacity is zero. Of rows with the same VM and time the
    last stays.

    Raises:
        InputError: a file is missing, or a line is not of the format; the sentence names both.

    """
    files = files_under(path, "*.csv")
    archives = {part for file in files for part in file.relative_to(path.parent).parts} & _ARCHIVES
    if len(archives) > 1:
        raise InputError(
            f"{path} holds both fastStorage and rnd, whose numbers mean different VMs; import each by itself"
        )
    parts = []
    for done, file in enumerate(files, start=1):
        parts.append(_rows_of(file))
        if progress is not None:
            progress(done, len(files))
    rows = pl.concat(parts)
    if rows.is_empty():
        raise InputError(f"{path} holds no samples; name a file or folder of GWA-T-12 that does")
    return rows.unique([schema.VM, schema.TIME], keep="last", maintain_order=True).sort(
        schema.VM, schema.TIME
    )


def _vm_name(path: Path) -> str:
    return f"bb{int(path.stem):03d}" if path.stem.isdecimal() else path.stem


def _rows_of(path: Path) -> pl.DataFrame:
    field = _fields(path)
    seconds = field[0]
    # Rounding happens in single precision, as in the copies of this archive that are passed around.
    cores = field[1].astype(np.float32)
    capacity_mhz = np.where((field[2] > 0) & (field[1] > 0), field[2], np.nan)
    used_cores = np.round(np.round(field[3].astype(np.float32), 1) * field[1] / capacity_mhz, 4)
    return pl.DataFrame(
        {
            schema.TIME: pl.Series(seconds * 1000).cast(pl.Int64).cast(pl.Datetime("ms", "UTC")),
            schema.VM: pl.Series([_vm_name(path)]).new_from_index(0, len(seconds)),
            "cpu_cores_used": pl.Series(used_cores.astype(np.float32)).fill_nan(None),
            "cpu_cores_capacity": cores,
            "memory_bytes_used": _bytes(field[6]),
            "memory_bytes_capacity": _bytes(field[5]),
            "disk_read_bytes_per_second": _bytes_per_second(field[7]),
            "disk_write_bytes_per_second": _bytes_per_second(field[8]),
            "network_receive_bytes_per_second": _bytes_per_second(field[9]),
            "network_transmit_bytes_per_second": _bytes_per_second(field[10]),
        }
    )


def _bytes(kibibytes: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.round(kibibytes.astype(np.float32)).astype(np.int64) * _KIBIBYTE


def _bytes_per_second(kibibytes: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.round(np.round(kibibytes.astype(np.float32), 2) * np.float32(_KIBIBYTE))


def _fields(path: Path) -> list[NDArray[np.float64]]:
    """Return the eleven columns of one file, each of shape (lines,); the first is seconds since 1970 UTC."""
    texts = read_lines(path)
    header = 1 if texts and texts[0].lstrip().startswith("Timestamp") else 0
    lines = pl.Series(range(1, len(texts) + 1), dtype=pl.UInt32)[header:]
    rows = pl.Series(texts, dtype=pl.String)[header:]
    filled = rows.str.strip_chars() != ""
    rows, lines = rows.filter(filled), lines.filter(filled)
    wrong = rows.str.count_matches(";") != len(_FIELDS) - 1
    if wrong.any():
        at = int(wrong.arg_true()[0])
        found = rows[at].count(";") + 1
        raise InputError(
            f"{path}, line {lines[at]}: {found} values where GWA-T-12 has {len(_FIELDS)}, separated by `;`; "
            "correct or remove the line"
        )
    split = rows.str.split_exact(";", len(_FIELDS) - 1).struct.unnest()
    fields = [
        numbers_from(column, path=path, lines=lines, what=what, at_most=_LARGEST).to_numpy()
        for column, what in zip(split.iter_columns(), _FIELDS, strict=True)
    ]
    times = fields[0]
    seconds = np.where(times > _MILLISECONDS_FROM, times / 1000, times)
    late = np.flatnonzero(seconds >= schema.LATEST_SECONDS)
    if late.size:
        raise InputError(
            f"{path}, line {lines[int(late[0])]}: the time {times[late[0]]:.0f} is after the year 2199; "
            "correct or remove the line"
        )
    return [seconds, *fields[1:]]
