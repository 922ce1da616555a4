"""Tables on disk, CSV or Parquet, as checked columns: what the readers of feeds read through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray

BYTES_MAX: Final = 512 * 1024**2
"""A feed's file is no larger: hourly weather of a hundred stations over ten years is 500 MB of CSV."""
ROWS_MAX: Final = 5_000_000
EARLIEST_SECONDS: Final = -2_208_988_800
LATEST_SECONDS: Final = 7_258_118_400
"""Times lie in 1900 to 2199: what is outside is a unit mistaken."""
LARGEST: Final = 1e30
"""No value is as large; below it, sums stay within float32."""
HOLDS_STEPS: Final = 3
"""A measured value stands for so many of its feed's usual steps: two may be lost before it is unknown."""
HOLDS_SECONDS_MIN: Final = 60
HOLDS_SECONDS_MAX: Final = 7 * 86_400
HOLDS_SECONDS_ALONE: Final = 86_400
"""How long the value of a feed of one point holds."""

_SUFFIXES: Final = (".parquet", ".csv", ".csv.gz")
_PER_SECOND: Final = {"ms": 10**3, "us": 10**6, "ns": 10**9}
_ISO: Final = "%Y-%m-%dT%H:%M:%S%.f%#z"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """The rows of a file, and where each stands in it."""

    path: Path
    frame: pl.DataFrame
    numbers: NDArray[np.int64]
    """(rows,) the number of each row in the file; 1 is the first below the header."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns."""
        return tuple(self.frame.columns)

    def has(self, column: str) -> bool:
        """Return whether there is a column of that name."""
        return column in self.frame.columns

    def needs(self, *columns: str) -> None:
        """Refuse a table that lacks a column.

        Raises:
            InputError: it does; the sentence names the first.

        """
        for column in columns:
            if not self.has(column):
                raise InputError(f"{self.path} has no column {column}; rename the column that holds it")

    def refuse(self, wrong: NDArray[np.bool_], column: str, problem: str) -> None:
        """Refuse the table where ``wrong`` (rows,) holds.

        Raises:
            InputError: a row is wrong; the sentence names the first.

        """
        if wrong.any():
            raise InputError(f"{self.path}: row {self.numbers[wrong.argmax()]}, column {column}: {problem}")

    def times(self, column: str) -> NDArray[np.int64]:
        """Return a column of times (rows,) in seconds since 1970 UTC; one without a zone is UTC.

        Raises:
            InputError: a time is missing, is none, or is outside 1900 to 2199.

        """
        import polars as pl

        series = self.frame[column]
        if series.dtype == pl.String:
            series = _parsed_times(series)
        elif series.dtype == pl.Date:
            series = series.cast(pl.Datetime("us"))
        if isinstance(series.dtype, pl.Datetime):
            seconds = series.to_physical() // _PER_SECOND[series.dtype.time_unit]
        elif series.dtype.is_integer():
            seconds = series.cast(pl.Int64)
        else:
            raise InputError(
                f"{self.path}: column {column} holds {series.dtype}, not times; write them like "
                "2026-01-31T12:00:00Z"
            )
        self.refuse(
            seconds.is_null().to_numpy(),
            column,
            "this is no time, or it is missing; write it like 2026-01-31T12:00:00Z",
        )
        found = seconds.to_numpy().astype(np.int64)
        self.refuse(
            (found < EARLIEST_SECONDS) | (found >= LATEST_SECONDS),
            column,
            "the time is outside the years 1900 to 2199; correct it, or look whether its unit is right",
        )
        return found

    def texts(self, column: str) -> NDArray[np.object_]:
        """Return a column of names (rows,).

        Raises:
            InputError: a name is missing.

        """
        import polars as pl

        series = self.frame[column].cast(pl.String).str.strip_chars()
        missing = (series.is_null() | (series == "")).to_numpy()
        self.refuse(missing, column, "the name is missing; correct or remove the row")
        return series.to_numpy().astype(object)

    def values(
        self, column: str, *, least: float | None = None, most: float = LARGEST
    ) -> NDArray[np.float32]:
        """Return a column of numbers (rows,), NaN where missing.

        Raises:
            InputError: a number is none, is infinite, or lies outside ``least`` to ``most``.

        """
        import polars as pl

        series = self.frame[column]
        if series.dtype == pl.String:
            stripped = _blank_as_null(series)
            numbers = stripped.cast(pl.Float64, strict=False)
            self.refuse(
                (numbers.is_null() & stripped.is_not_null()).to_numpy(),
                column,
                "this is no number; correct it, or leave the cell empty if it is unknown",
            )
        elif series.dtype.is_numeric() or series.dtype in {pl.Boolean, pl.Null}:
            numbers = series.cast(pl.Float64)
        else:
            raise InputError(f"{self.path}: column {column} holds {series.dtype}, not numbers; store numbers")
        found = numbers.fill_null(np.nan).to_numpy().astype(np.float64)
        low = -LARGEST if least is None else least
        self.refuse(
            np.isinf(found) | (found > most) | (found < low),
            column,
            f"the number is outside {low:g} to {most:g}; correct it, or leave the cell empty",
        )
        return found.astype(np.float32)

    def holds_numbers(self, column: str) -> bool:
        """Return whether a column is one of numbers: of text, one cell that is a number makes it so."""
        import polars as pl

        series = self.frame[column]
        if series.dtype == pl.String:
            return bool(_blank_as_null(series).cast(pl.Float64, strict=False).is_not_null().any())
        return series.dtype.is_numeric()


def read_table(path: Path) -> Table:
    """Return the rows of a CSV or Parquet file; blank lines say nothing.

    Raises:
        InputError: the file is none, is too large, can't be read, or has no rows.

    """
    try:
        import polars as pl
    except ModuleNotFoundError as error:
        raise InputError("reading tables needs polars; pip install 'tidegate[replay]'") from error
    suffix = next((suffix for suffix in _SUFFIXES if path.name.lower().endswith(suffix)), None)
    check_file(path, bytes_max=BYTES_MAX)
    if suffix is None:
        raise InputError(f"{path} is no {' or '.join(_SUFFIXES)} file; convert it to one")
    try:
        if suffix == ".parquet":
            frame = pl.read_parquet(path, n_rows=ROWS_MAX + 1, glob=False)
        else:
            frame = pl.read_csv(path, infer_schema=False, null_values=[""], n_rows=ROWS_MAX + 1, glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} can't be read as {suffix[1:]} ({reason}); write the file again") from error
    if frame.height > ROWS_MAX:
        raise InputError(f"{path} has more than {ROWS_MAX} rows; split it, or thin it out")
    numbers = np.arange(1, frame.height + 1)
    if frame.height and suffix != ".parquet":
        blank = pl.select(pl.all_horizontal(column.is_null() for column in frame.iter_columns())).to_series()
        numbers, frame = numbers[~blank.to_numpy()], frame.filter(~blank)
    if frame.height == 0:
        raise InputError(f"{path} has no rows; write the file again, or leave the feed out")
    return Table(path=path, frame=frame, numbers=numbers)


def check_file(path: Path, *, bytes_max: int) -> None:
    """Refuse what is no file, or too large a one.

    Raises:
        InputError: it is.

    """
    if not path.is_file():
        raise InputError(f"{path} does not exist or is no file; name the file of a feed")
    size = path.stat().st_size
    if size > bytes_max:
        raise InputError(f"{path} has {size} bytes, {bytes_max} at most; split it, or thin it out")


def holds_seconds(valid_seconds: Iterable[int] | NDArray[np.int64]) -> int:
    """Return how long the values of a feed hold that comes at such times: `HOLDS_STEPS` usual steps."""
    times = np.unique(np.asarray(valid_seconds, dtype=np.int64))
    if times.size < 2:
        return HOLDS_SECONDS_ALONE
    usual = int(np.median(np.diff(times)))
    return int(np.clip(HOLDS_STEPS * usual, HOLDS_SECONDS_MIN, HOLDS_SECONDS_MAX))


def bare_name(path: Path) -> str:
    """Return the file's name without the ending of its kind."""
    suffix = next((suffix for suffix in _SUFFIXES if path.name.lower().endswith(suffix)), path.suffix)
    return path.name[: len(path.name) - len(suffix)] if suffix else path.name


def _blank_as_null(series: pl.Series) -> pl.Series:
    return series.str.strip_chars().replace({"": None, "null": None, "NA": None, "NaN": None, "nan": None})


def _parsed_times(series: pl.Series) -> pl.Series:
    """Turn ISO 8601 texts, to the day, the minute or the second, into times; null where it is none."""
    import polars as pl

    iso = series.str.strip_chars().str.replace(r"^(\d{4}-\d{2}-\d{2}) ", "${1}T")
    iso = iso.str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00:00")
    iso = iso.str.replace(r"^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2})($|[zZ+-])", "${1}:00${2}")
    zoned = pl.select(
        pl.when(iso.str.contains(r"([zZ]|[+-]\d{2}:?\d{2})$")).then(iso).otherwise(iso + "Z")
    ).to_series()
    return zoned.str.to_datetime(_ISO, time_unit="us", strict=False, exact=True)
