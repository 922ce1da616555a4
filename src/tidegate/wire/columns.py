"""Columns of numbers as bytes: little-endian and without gaps, read in place."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from tidegate.model.refusals import InvalidField

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Scalar = TypeVar("_Scalar", bound=np.generic)

SWAPPED: Final = sys.byteorder == "big"


def packed(column: NDArray[Any], dtype: type[np.generic]) -> bytes:
    """Return an array's numbers as bytes, row after row, as ``dtype``."""
    return np.ascontiguousarray(column, dtype=np.dtype(dtype).newbyteorder("<")).tobytes()


def unpacked(field: str, data: bytes, dtype: type[_Scalar], shape: tuple[int, ...]) -> NDArray[_Scalar]:
    """Return bytes as a read-only array that shares their memory.

    Raises:
        InvalidField: there are more or fewer bytes than the shape needs; ``field`` is theirs.

    """
    wanted = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if len(data) != wanted:
        shown = " x ".join(map(str, shape))
        raise InvalidField(
            field,
            f"{len(data)} bytes where {wanted} are due, {shown} of {np.dtype(dtype).name}",
            limit=wanted,
        )
    column = np.frombuffer(data, dtype=np.dtype(dtype).newbyteorder("<")).reshape(shape)
    return column.astype(dtype) if SWAPPED else column


def checked_amounts(
    field: str, column: NDArray[np.floating], *, missing: bool = False, unlimited: bool = False
) -> None:
    """Refuse amounts that can't be: negative ones, and NaN and infinite ones where those say nothing.

    Raises:
        InvalidField: there is one; the first is told.

    """
    fits = column >= 0
    if missing:
        fits |= np.isnan(column)
    if not unlimited:
        fits &= ~np.isposinf(column)
    _told(field, column, fits, "amounts are not negative" + ("" if unlimited else ", and finite"))


def checked_within(field: str, column: NDArray[np.generic], least: float, most: float) -> None:
    """Refuse numbers outside a range, and NaN.

    Raises:
        InvalidField: there is one; the first is told.

    """
    fits = (column >= least) & (column <= most)  # type: ignore[operator] # any of numbers
    _told(field, column, fits, f"it lies in {least:g}-{most:g}", limit=most)


def checked_flags(field: str, column: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return bytes of 0 and 1 as booleans, in the same memory.

    Raises:
        InvalidField: there is another.

    """
    checked_within(field, column, 0, 1)
    return column.view(np.bool_)


def _told(
    field: str,
    column: NDArray[np.generic],
    fits: NDArray[np.bool_],
    rule: str,
    *,
    limit: float | None = None,
) -> None:
    if fits.all():
        return
    at = int(np.argmin(fits))
    raise InvalidField(field, f"number {at} is {column.flat[at]}; {rule}", limit=limit)
