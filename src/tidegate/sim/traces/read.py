"""Read trace files, Parquet or CSV, as checked rows.

Files become rows of the schema here; `load` puts them on a grid.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from tidegate.model.errors import InputError
from tidegate.sim.traces import schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.sim.traces.schema import Progress

_SUFFIXES: Final = (".parquet", ".csv", ".csv.gz")


def trace_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files meant by ``paths``; a folder means the trace files right in it, sorted by name.

    Raises:
        InputError: a path does not exist, a file is of another kind, or there is none.

    """
    files: list[Path] = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.name.endswith(_SUFFIXES))
            if not found:
                raise InputError(f"{path} holds no {' or '.join(_SUFFIXES)} file; name a trace")
            files.extend(found)
        elif not path.exists():
            raise InputError(f"{path} does not exist; name a trace file")
        elif not path.name.endswith(_SUFFIXES):
            raise InputError(
                f"{path} is no {' or '.join(_SUFFIXES)} file; convert it with `tidegate trace import`"
            )
        else:
            files.append(path)
    if not files:
        raise InputError("no trace was named; name a file")
    return files


def column_names(path: Path) -> list[str]:
    """Return the names of a trace file's columns.

    Raises:
        InputError: the file can't be read.

    """
    try:
        if path.suffix == ".parquet":
            return list(pl.read_parquet_schema(path))
        return pl.read_csv(path, n_rows=0, infer_schema=False).columns
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(path, error) from error


def read_rows(
    paths: Sequence[Path], *, columns: Sequence[str] | None = None, progress: Progress | None = None
) -> pl.DataFrame:
    """Return the rows of the files in the schema's types, in the order of files and rows.

    ``columns`` chooses columns beside ``time`` and ``vm``; by default all that the schema knows. A
    column that only some files have is null in the rows of the others.

    Raises:
        InputError: no file is given, or one can't be read or breaks the schema.

    """
    files = trace_files(paths)
    parts = []
    for done, file in enumerate(files, start=1):
        names = column_names(file)
        schema.check_names(names, source=str(file))
        wanted = [
            name
            for name in names
            if name in {schema.TIME, schema.VM}
            or (schema.is_known_column(name) if columns is None else name in columns)
        ]
        parts.append(read_columns(file, wanted))
        if progress is not None:
            progress(done, len(files))
    return pl.concat(parts, how="diagonal_relaxed")


def read_columns(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Return the named columns of one file, checked, in the schema's types.

    Raises:
        InputError: the file can't be read, or a row is wrong.

    """
    try:
        if path.suffix == ".parquet":
            rows = pl.read_parquet(path, columns=list(columns))
        else:
            rows = pl.read_csv(path, columns=list(columns), infer_schema=False, null_values=[""])
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(path, error) from error
    if path.suffix != ".parquet":
        rows = pl.DataFrame([_parsed(series, str(path)) for series in rows.iter_columns()])
    return schema.checked(rows, source=str(path))


def stem(path: Path) -> str:
    """Return the file's name without the ending of its kind."""
    return next(path.name.removesuffix(suffix) for suffix in _SUFFIXES if path.name.endswith(suffix))


def _unreadable(path: Path, error: Exception) -> InputError:
    kind = "Parquet" if path.suffix == ".parquet" else "CSV"
    reason = " ".join(str(error).split())[:200]
    return InputError(f"{path} can't be read as {kind} ({reason}); write the file again")


def _parsed(series: pl.Series, source: str) -> pl.Series:
    """Turn one column of a CSV file from text into what the schema wants."""
    if series.name == schema.TIME:
        # One pattern for every ISO 8601 spelling: `T` between date and time, and a zone (UTC if none).
        iso = series.str.strip_chars().str.replace(r"^(\d{4}-\d{2}-\d{2}) ", "${1}T")
        iso = pl.select(
            pl.when(iso.str.contains(r"([zZ]|[+-]\d{2}:?\d{2})$")).then(iso).otherwise(iso + "Z")
        ).to_series()
        values = iso.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", strict=False, exact=True)
        problem = "this is no time; write it like 2026-01-31T12:00:00Z"
    elif schema.is_number_column(series.name):
        # Only here, as a VM may be called `null`.
        series = series.str.strip_chars().replace({"": None, "null": None, "NA": None})
        values = series.cast(pl.Float64, strict=False)
        problem = "this is no number; correct it, or leave the cell empty if it is unknown"
    else:
        return series
    schema.refuse_rows(
        values.is_null() & series.is_not_null(), column=series.name, source=source, problem=problem
    )
    return values.alias(series.name)
