"""Which columns a trace has, in which units, and what makes a row wrong.

Importers and the generator write frames of this shape; `load` reads them into a `Trace`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import polars as pl

from tidegate.model.errors import InputError
from tidegate.model.resources import Resource

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (files done, files in all) while many files are read."""

TIME: Final = "time"
VM: Final = "vm"
SERVER: Final = "server"
APP_PREFIX: Final = "app_"
"""Columns that start so are application metrics: any number of them, unit last in the name."""

TIME_TYPE: Final = pl.Datetime("us", "UTC")

EARLIEST_SECONDS: Final = -2_208_988_800
LATEST_SECONDS: Final = 7_258_118_400
"""Times lie in 1900 to 2199: what is outside is a unit mistaken, and may not even fit a timestamp."""

LARGEST: Final = 1e30
"""No amount is as large; below it, sums of samples stay within float32, in which they are held."""

_UNITS_PER_SECOND: Final = {"ms": 10**3, "us": 10**6, "ns": 10**9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of numbers: its name, its unit and what it says."""

    name: str
    unit: str
    meaning: str


NUMBERS: Final[tuple[Column, ...]] = (
    Column(name="cpu_cores_used", unit="cores", meaning="CPU used, averaged since the sample before"),
    Column(name="cpu_cores_capacity", unit="cores", meaning="CPU the VM may use; zero: no sample"),
    Column(name="memory_bytes_used", unit="bytes", meaning="memory used"),
    Column(name="memory_bytes_capacity", unit="bytes", meaning="memory the VM may use; zero: no sample"),
    Column(name="disk_read_bytes_per_second", unit="bytes/s", meaning="read from all disks"),
    Column(name="disk_write_bytes_per_second", unit="bytes/s", meaning="written to all disks"),
    Column(name="network_receive_bytes_per_second", unit="bytes/s", meaning="received on all interfaces"),
    Column(name="network_transmit_bytes_per_second", unit="bytes/s", meaning="sent on all interfaces"),
    Column(name="gpu_fraction_used", unit="fraction of one GPU", meaning="GPU used"),
    Column(name="gpu_memory_bytes_used", unit="bytes", meaning="GPU memory used"),
    Column(name="network_bytes_per_second_capacity", unit="bytes/s", meaning="bandwidth the VM may use"),
    Column(name="storage_bytes_per_second_capacity", unit="bytes/s", meaning="bandwidth the VM may use"),
    Column(name="memory_bytes_working_set", unit="bytes", meaning="memory touched of late"),
    Column(name="memory_faults_per_second", unit="faults/s", meaning="page faults that went to disk"),
    Column(name="swap_bytes_per_second", unit="bytes/s", meaning="swapped in and out"),
)
"""Every column of numbers but the application metrics; all are optional, see `check_names`."""

_NUMBER_NAMES: Final = frozenset(column.name for column in NUMBERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceColumns:
    """Where one resource stands in a trace."""

    used: tuple[str, ...]
    """Columns that together say what was used; those a file lacks are left out."""
    combine: Literal["sum", "max"]
    capacity: str | None
    capacity_required: bool


COLUMNS_OF: Final[dict[Resource, ResourceColumns]] = {
    Resource.CPU: ResourceColumns(
        used=("cpu_cores_used",), combine="sum", capacity="cpu_cores_capacity", capacity_required=True
    ),
    Resource.MEMORY: ResourceColumns(
        used=("memory_bytes_used",), combine="sum", capacity="memory_bytes_capacity", capacity_required=True
    ),
    # The unit is its own capacity: a whole GPU is 1.
    Resource.GPU: ResourceColumns(
        used=("gpu_fraction_used",), combine="sum", capacity=None, capacity_required=False
    ),
    # Links are full duplex: the busier direction is what a VM needs.
    Resource.NETWORK: ResourceColumns(
        used=("network_receive_bytes_per_second", "network_transmit_bytes_per_second"),
        combine="max",
        capacity="network_bytes_per_second_capacity",
        capacity_required=False,
    ),
    Resource.STORAGE: ResourceColumns(
        used=("disk_read_bytes_per_second", "disk_write_bytes_per_second"),
        combine="sum",
        capacity="storage_bytes_per_second_capacity",
        capacity_required=False,
    ),
}


def is_number_column(name: str) -> bool:
    """Return whether the schema wants numbers in the column ``name``."""
    return name in _NUMBER_NAMES or name.startswith(APP_PREFIX)


def is_known_column(name: str) -> bool:
    """Return whether ``name`` is part of the schema; other columns are ignored."""
    return name in {TIME, VM, SERVER} or is_number_column(name)


def resources_in(names: Iterable[str]) -> tuple[Resource, ...]:
    """Return the resources whose usage a frame with these column names holds."""
    present = frozenset(names)
    return tuple(resource for resource, columns in COLUMNS_OF.items() if present.intersection(columns.used))


def check_names(names: Iterable[str], *, source: str) -> None:
    """Refuse a frame that lacks a required column.

    Required are ``time``, ``vm`` and the usage of at least one resource; usage of CPU and memory comes
    with its capacity.

    Raises:
        InputError: a column is missing; the sentence names ``source`` and the column.

    """
    present = frozenset(names)
    for name in (TIME, VM):
        if name not in present:
            raise InputError(
                f"{source} has no column {name}; rename the column that holds it, "
                "or convert the source with `tidegate trace import`"
            )
    resources = resources_in(present)
    if not resources:
        raise InputError(
            f"{source} has no column that says what a VM used; it needs one such as cpu_cores_used with "
            "cpu_cores_capacity"
        )
    for resource in resources:
        columns = COLUMNS_OF[resource]
        if columns.capacity_required and columns.capacity not in present:
            raise InputError(
                f"{source} has {columns.used[0]} but no column {columns.capacity}; "
                f"add what each VM may use, in {resource.unit}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Where:
    """What rows to name when one is wrong: those of a file, of which some may have been left out."""

    source: str
    kept: pl.Series | None = None
    """For each row that is looked at, how many rows of the file stand before it; None: they are all."""

    def refuse(self, wrong: pl.Series, *, column: str, problem: str) -> None:
        """Refuse a column where ``wrong`` (one truth value a row) holds.

        Raises:
            InputError: a row is wrong; the sentence names the first one.

        """
        if wrong.any():
            at = int(wrong.arg_true()[0])
            row = (at if self.kept is None else int(self.kept[at])) + 1
            raise InputError(f"{self.source}: row {row}, column {column}: {problem}")


def checked(rows: pl.DataFrame, where: Where) -> pl.DataFrame:
    """Return ``rows`` with types made regular, after refusing what is wrong in them.

    ``time`` becomes microseconds in UTC (a time without zone is taken as UTC), ``vm`` and ``server``
    become text, and NaN becomes null: both mean a missing value. Only columns of the schema are looked
    at; required ones are the business of `check_names`.

    Raises:
        InputError: a column has the wrong type, ``time`` or ``vm`` is missing in a row, a time is outside
            `EARLIEST_SECONDS` to `LATEST_SECONDS`, or a number is negative, infinite or over `LARGEST`;
            the sentence names the source, the row (1 is the first row of data)
            and the column.

    """
    regular = []
    for series in rows.iter_columns():
        if series.name == TIME:
            regular.append(_checked_time(series, where))
        elif series.name in {VM, SERVER}:
            regular.append(_checked_text(series, where))
        elif is_number_column(series.name):
            regular.append(_checked_numbers(series, where))
        else:
            regular.append(series)
    return pl.DataFrame(regular)


def _checked_time(series: pl.Series, where: Where) -> pl.Series:
    if not isinstance(series.dtype, pl.Datetime):
        raise InputError(
            f"{where.source}: column {TIME} holds {series.dtype}, not timestamps; store it as a UTC timestamp"
        )
    where.refuse(series.is_null(), column=TIME, problem="the time is missing; correct or remove the row")
    per_second = _UNITS_PER_SECOND[series.dtype.time_unit]
    # Before any cast: a time that overflows ends the whole program.
    units = series.to_physical()
    where.refuse(
        (units < EARLIEST_SECONDS * per_second) | (units >= LATEST_SECONDS * per_second),
        column=TIME,
        problem="the time is outside the years 1900 to 2199; correct it, or look whether its unit is right",
    )
    zoned = (
        series.dt.replace_time_zone("UTC")
        if series.dtype.time_zone is None
        else series.dt.convert_time_zone("UTC")
    )
    return zoned.cast(TIME_TYPE)


def _checked_text(series: pl.Series, where: Where) -> pl.Series:
    named = isinstance(series.dtype, pl.String | pl.Categorical | pl.Enum) or series.dtype.is_integer()
    if not named:
        raise InputError(
            f"{where.source}: column {series.name} holds {series.dtype}, not text; store the names as text"
        )
    text = series.cast(pl.String)
    if series.name == VM:
        where.refuse(
            text.is_null() | (text == ""),
            column=VM,
            problem="the name is missing; correct or remove the row",
        )
    return text


def _checked_numbers(series: pl.Series, where: Where) -> pl.Series:
    if series.dtype == pl.Null:
        return series.cast(pl.Float64)
    if not series.dtype.is_numeric():
        raise InputError(
            f"{where.source}: column {series.name} holds {series.dtype}, not numbers; store it as numbers"
        )
    wide = isinstance(series.dtype, pl.Decimal | pl.Int128)
    numbers = series.cast(pl.Float64) if wide else series
    if numbers.dtype.is_float():
        numbers = numbers.fill_nan(None)
        where.refuse(
            numbers.is_infinite().fill_null(value=False),
            column=series.name,
            problem="the number is infinite; correct it, or leave the cell empty if it is unknown",
        )
        where.refuse(
            (numbers > LARGEST).fill_null(value=False),
            column=series.name,
            problem="the number is too large; correct it, or leave the cell empty if it is unknown",
        )
    where.refuse(
        (numbers < 0).fill_null(value=False),
        column=series.name,
        problem="the number is negative; correct it, or leave the cell empty if it is unknown",
    )
    return numbers
