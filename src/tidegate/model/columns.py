"""Memory of a stage: named arrays whose last axes are (resources, workloads), in step with the roster.

Every stage that remembers something per series keeps it in `Columns`, so that workloads may come, go
and be renamed between ticks in one place of the code, and so that saving and restoring a stage is
saving and restoring named arrays. Leading axes (time slots, bins, bases) come first: a tick that
touches one slot touches contiguous memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tidegate.model.errors import InputError
from tidegate.model.roster import realigned, source_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

    from tidegate.model.snapshot import Snapshot

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What one array holds: its leading axes, its type, and what a newcomer's entries are."""

    dtype: DTypeLike
    fill: float
    leading: tuple[int, ...] = ()


class Columns:
    """Arrays by name, each of shape (*leading, resources, workloads)."""

    def __init__(self, **columns: Column) -> None:
        """Declare the arrays; they are made at the first `follow`."""
        self._columns = columns
        self._arrays: dict[str, NDArray[Any]] = {}
        self._ids: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the array; writing into it writes into the memory."""
        return self._arrays[name]

    def __setitem__(self, name: str, values: NDArray[Any]) -> None:
        """Replace an array by another of the same shape and type."""
        held = self._arrays[name]
        if values.shape != held.shape:
            raise ValueError(f"column '{name}' has shape {held.shape}, got {values.shape}")
        self._arrays[name] = np.ascontiguousarray(values, dtype=held.dtype)

    @property
    def names(self) -> tuple[str, ...]:
        """What the arrays are called."""
        return tuple(self._columns)

    @property
    def ids(self) -> NDArray[np.int64]:
        """The workloads the rows stand for."""
        return self._ids

    def follow(self, snapshot: Snapshot) -> bool:
        """Bring every array in step with the snapshot's roster; True if anything moved."""
        ids = snapshot.roster.ids
        if self._ids is ids:
            return False
        if self._arrays and np.array_equal(self._ids, ids):
            self._ids = ids
            return False
        resources = len(snapshot.resources)
        if self._arrays:
            rows = source_rows(self._ids, ids)
            self._arrays = {
                name: realigned(self._arrays[name], rows, column.fill)
                for name, column in self._columns.items()
            }
        else:
            self._arrays = {
                name: np.full((*column.leading, resources, ids.size), column.fill, dtype=column.dtype)
                for name, column in self._columns.items()
            }
        self._ids = ids
        return True

    def state(self) -> dict[str, NDArray[Any]]:
        """Return a copy of every array and the identifiers they stand for."""
        return {"ids": self._ids.copy()} | {name: array.copy() for name, array in self._arrays.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned.

        Raises:
            InputError: an array is missing or its leading axes are not the declared ones.

        """
        self._ids = np.array(part_of(state, "ids"), dtype=np.int64)
        if self._ids.size == 0 and not any(name in state for name in self._columns):
            self._arrays = {}  # saved before the first snapshot
            return
        for name, column in self._columns.items():
            found = state.get(name)
            if found is None or found.shape[:-2] != column.leading:
                wanted = (*column.leading, "resources", "workloads")
                raise InputError(
                    f"the saved state's '{name}' is missing or not of shape {wanted}; "
                    "start without saved state"
                )
        self._arrays = {
            name: np.array(state[name], dtype=column.dtype) for name, column in self._columns.items()
        }


def flat(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """Return a view of (*leading, resources, workloads) with resources and workloads as one axis.

    Raises:
        ValueError: it would be a copy, and what is written there would be lost.

    """
    if not array.flags.c_contiguous:
        raise ValueError("only an array in C order has a flat view")
    return array.reshape(*array.shape[:-2], array.shape[-2] * array.shape[-1])


def part_of(state: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    """Return one array of a saved state.

    Raises:
        InputError: it is not there.

    """
    if name not in state:
        raise InputError(f"the saved state lacks '{name}'; start without saved state")
    return state[name]


def prefixed(prefix: str, state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return a part's saved state under names of its own in the whole's."""
    return {f"{prefix}.{name}": array for name, array in state.items()}


def under(state: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """Return what `prefixed` put under a prefix, by the part's own names."""
    start = f"{prefix}."
    return {name.removeprefix(start): array for name, array in state.items() if name.startswith(start)}
