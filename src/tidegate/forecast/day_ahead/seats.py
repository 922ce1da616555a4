"""Seats: who is remembered, as long as it stays, whatever rows the roster has.

A history of two weeks is too large to be moved about whenever somebody comes or goes. So each workload has
a seat, and a roster that changes only changes who sits where.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.model.columns import part_of
from tidegate.model.errors import InputError
from tidegate.model.roster import realigned, source_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

    from tidegate.model.snapshot import Snapshot

FREE: Final = -1
"""In place of a row or a seat: there is none."""
GROWTH: Final = 1.25
"""Seats are added by this factor at least: a fleet that grows is not moved at every newcomer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerSeat:
    """What one array holds: its axes before and after (resources, seats), its type, a newcomer's entries."""

    dtype: DTypeLike
    fill: float
    leading: tuple[int, ...] = ()
    trailing: tuple[int, ...] = ()


class Seats:
    """Arrays by name, each of shape (*leading, resources, seats, *trailing); at most so many series."""

    def __init__(self, columns: Mapping[str, PerSeat], *, series_max: int) -> None:
        """Declare the arrays; they are made at the first `follow`."""
        self._columns = columns
        self._series_max = series_max
        self._arrays: dict[str, NDArray[Any]] = {}
        self._resources = 0
        self._roster_ids: NDArray[np.int64] | None = None
        self.ids: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        """(seats,) who sits there; meaningless where nobody does."""
        self.taken: NDArray[np.bool_] = np.empty(0, dtype=np.bool_)
        """(seats,) whether anybody does."""
        self.rows: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        """(seats,) its row in the roster, or `FREE`."""
        self.seat: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        """(workloads,) the seat of each row, or `FREE`."""

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the array; writing into it writes into the memory."""
        return self._arrays[name]

    @property
    def ready(self) -> bool:
        """Whether a snapshot was seen."""
        return bool(self._arrays)

    @property
    def workloads_max(self) -> int:
        """How many workloads may sit."""
        return max(1, self._series_max // max(1, self._resources))

    def follow(self, snapshot: Snapshot, *, again: bool = False) -> bool:
        """Seat the roster's workloads, the largest where not all can be; True if anybody came or went.

        ``again`` looks anew at who is largest, though nobody came or went.
        """
        ids = snapshot.roster.ids
        if not self._arrays:
            self._begin(len(snapshot.resources))
        crowded = again and ids.size > self.workloads_max
        if self._roster_ids is not None and not crowded:
            if self._roster_ids is ids:
                return False
            if np.array_equal(self._roster_ids, ids):
                self._roster_ids = ids
                return False
        self._roster_ids = ids
        wanted = np.ones(ids.size, dtype=np.bool_)
        sitting = np.flatnonzero(self.taken)
        held = source_rows(self.ids[sitting], ids)
        if ids.size > self.workloads_max:
            order = np.lexsort((held < 0, -_size(snapshot)))
            wanted[order[self.workloads_max :]] = False
        staying = sitting[held[wanted & (held >= 0)]]
        self._leave(np.setdiff1d(sitting, staying))
        self._enter(ids[wanted & (held < 0)])
        self._find(ids)
        return True

    def in_seats(self, frame: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a frame (resources, workloads) by seat; NaN where nobody sits."""
        return realigned(frame, self.rows, np.nan)

    def in_rows(self, array: NDArray[Any], fill: float) -> NDArray[Any]:
        """Return an array (..., resources, seats) by the roster's rows; ``fill`` for whoever has no seat."""
        return realigned(array, self.seat, fill)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return a copy of every array and who sits where."""
        named = {name: array.copy() for name, array in self._arrays.items()}
        return named | {"ids": self.ids.copy(), "taken": self.taken.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned.

        Raises:
            InputError: an array is missing or has other axes than were declared.

        """
        ids = np.array(part_of(state, "ids"), dtype=np.int64)
        taken = np.array(part_of(state, "taken"), dtype=np.bool_)
        self._roster_ids, self._arrays = None, {}
        self.ids, self.taken = ids, taken
        if not any(name in state for name in self._columns):
            return  # saved before the first snapshot
        found = {name: part_of(state, name) for name in self._columns}
        resources = int(next(iter(found.values())).shape[len(next(iter(self._columns.values())).leading)])
        for name, column in self._columns.items():
            if found[name].shape != (*column.leading, resources, ids.size, *column.trailing):
                raise InputError(
                    f"the saved state's '{name}' is not of the shape needed; start without saved state"
                )
        self._resources = resources
        self._arrays = {
            name: np.array(found[name], dtype=column.dtype) for name, column in self._columns.items()
        }

    def _begin(self, resources: int) -> None:
        self._resources = resources
        self.ids, self.taken = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_)
        self._arrays = {name: self._empty(column, 0) for name, column in self._columns.items()}

    def _empty(self, column: PerSeat, seats: int) -> NDArray[Any]:
        shape = (*column.leading, self._resources, seats, *column.trailing)
        return np.full(shape, column.fill, dtype=column.dtype)

    def _leave(self, seats: NDArray[np.intp]) -> None:
        self.taken[seats] = False
        for name, column in self._columns.items():
            axis = len(column.leading) + 1
            np.moveaxis(self._arrays[name], axis, 0)[seats] = column.fill

    def _enter(self, ids: NDArray[np.int64]) -> None:
        free = np.flatnonzero(~self.taken)
        if free.size < ids.size:
            least = self.ids.size + ids.size - free.size
            self._grow(max(least, min(int(self.ids.size * GROWTH), self.workloads_max)))
            free = np.flatnonzero(~self.taken)
        self.ids[free[: ids.size]] = ids
        self.taken[free[: ids.size]] = True

    def _grow(self, seats: int) -> None:
        more = seats - self.ids.size
        self.ids = np.concatenate((self.ids, np.zeros(more, dtype=np.int64)))
        self.taken = np.concatenate((self.taken, np.zeros(more, dtype=np.bool_)))
        for name, column in self._columns.items():
            parts = (self._arrays[name], self._empty(column, more))
            self._arrays[name] = np.concatenate(parts, axis=len(column.leading) + 1)

    def _find(self, ids: NDArray[np.int64]) -> None:
        """Note which row each seat has, and which seat each row."""
        sitting = np.flatnonzero(self.taken)
        self.rows = np.full(self.ids.size, FREE, dtype=np.int64)
        self.rows[sitting] = source_rows(ids, self.ids[sitting])
        self.seat = np.full(ids.size, FREE, dtype=np.int64)
        self.seat[self.rows[sitting]] = sitting


def _size(snapshot: Snapshot) -> NDArray[np.float64]:
    """Return how large each workload is (workloads,): its largest share of what is sold of a resource."""
    capacity = np.nan_to_num(snapshot.capacity).astype(np.float64)
    whole = np.maximum(capacity.sum(axis=1, keepdims=True), 1e-300)
    size: NDArray[np.float64] = (capacity / whole).max(axis=0, initial=0.0)
    return size
