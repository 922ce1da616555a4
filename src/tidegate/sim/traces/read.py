"""Read trace files, Parquet or CSV, as checked rows.

Files become rows of the schema here; `load` puts them on a grid.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from tidegate.model.errors import InputError
from tidegate.sim.traces import schema
from tidegate.sim.traces.lines import check_name, read_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.sim.traces.schema import Progress

_SUFFIXES: Final = (".parquet", ".csv", ".csv.gz")
_UNREADABLE: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
_TWICE: Final = re.compile(r"(.*)_duplicated_\d+")
"""What polars calls a column of a CSV file whose name stands before it already."""


def trace_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files meant by ``paths``; a folder means the trace files right in it, sorted by name.

    Raises:
        InputError: a path does not exist, a file is of another kind or its name no text, or there is none.

    """
    files: list[Path] = []
    for given in paths:
        path = Path(given)
        check_name(path)
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if _suffix(file))
            if not found:
                raise InputError(f"{path} holds no {' or '.join(_SUFFIXES)} file; name a trace")
            files.extend(found)
        elif not path.exists():
            raise InputError(f"{path} does not exist; name a trace file")
        elif not _suffix(path):
            raise InputError(
                f"{path} is no {' or '.join(_SUFFIXES)} file; convert it with `tidegate trace import`"
            )
        else:
            files.append(path)
    if not files:
        raise InputError("no trace was named; name a file")
    for file in files:
        check_name(file)
    return files


def column_names(path: Path) -> list[str]:
    """Return the names of a trace file's columns.

    Raises:
        InputError: the file can't be read, or a name stands twice.

    """
    try:
        if _is_parquet(path):
            with path.open("rb") as file:
                return list(pl.read_parquet_schema(file))
        names = pl.read_csv(path, n_rows=0, infer_schema=False, glob=False).columns
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    for name in names:
        twice = _TWICE.fullmatch(name)
        if twice and twice[1] in names:
            raise InputError(f"{path}, line 1: the column {twice[1]} stands twice; rename or remove one")
    return names


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
    if not _is_parquet(path):
        return _read_csv(path, columns)
    try:
        rows = pl.read_parquet(path, columns=list(columns), glob=False)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    return schema.checked(rows, schema.Where(str(path)))


def stem(path: Path) -> str:
    """Return the file's name without the ending of its kind."""
    return path.name[: len(path.name) - len(_suffix(path))]


def _suffix(path: Path) -> str:
    """Return the ending of a trace file's kind, "" if it is none; capitals are no matter."""
    name = path.name.lower()
    return next((suffix for suffix in _SUFFIXES if name.endswith(suffix)), "")


def _is_parquet(path: Path) -> bool:
    return _suffix(path) == ".parquet"


def _read_csv(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Return columns of a CSV file; blank lines say nothing, and a line of too few values is refused."""
    names = column_names(path)
    wanted = list(dict.fromkeys([*columns, *names[-1:]]))
    try:
        rows = pl.read_csv(path, columns=wanted, infer_schema=False, null_values=[""], glob=False)
    except _UNREADABLE as error:
        if "more fields" in str(error):
            _refuse_uneven_lines(path, len(names))
        raise _unreadable(path, error) from error
    if rows[names[-1]].is_null().any():
        _refuse_uneven_lines(path, len(names))
    blank = pl.select(pl.all_horizontal(series.is_null() for series in rows.iter_columns())).to_series()
    where = schema.Where(str(path), (~blank).arg_true() if blank.any() else None)
    rows = rows.select(columns).filter(~blank)
    return schema.checked(pl.DataFrame([_parsed(series, where) for series in rows.iter_columns()]), where)


def _refuse_uneven_lines(path: Path, width: int) -> None:
    """Find the line that ends before the last column or after it, slowly: polars fills short ones up.

    Raises:
        InputError: a line is neither blank nor of as many values as there are columns.

    """
    lines = csv.reader(read_lines(path))
    for fields in lines:
        if len(fields) != width and any(field.strip() for field in fields):
            raise InputError(
                f"{path}, line {lines.line_num}: {len(fields)} values for {width} columns; "
                "correct or remove the line"
            )


def _unreadable(path: Path, error: BaseException) -> InputError:
    kind = "Parquet" if _is_parquet(path) else "CSV"
    reason = " ".join(str(error).split())[:200]
    return InputError(f"{path} can't be read as {kind} ({reason}); write the file again")


def _parsed(series: pl.Series, where: schema.Where) -> pl.Series:
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
    where.refuse(values.is_null() & series.is_not_null(), column=series.name, problem=problem)
    return values.alias(series.name)
