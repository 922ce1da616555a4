"""Who supplies what is leased: the host's own machine, and whatever else joins it, as a card.

A supplier says what it has with each sample, and is told what each VM draws from it. What came about it
says with the next sample: a promise is in force when it is read back, not when it was passed on.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tidegate.model.roster import HOST as HOST_SHARE
from tidegate.vral.supplies import HOST, Supply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.model.resources import Resource
    from tidegate.model.snapshot import Snapshot


class Supplier(Protocol):
    """One place that resources come from."""

    def supplies(self, snapshot: Snapshot, predicted: NDArray[np.float64]) -> Mapping[Resource, Supply]:
        """Return what there is of each resource for the workloads of a sample; must not wait.

        ``predicted`` is demand (resources, workloads), NaN where nothing is known.
        """
        ...

    def promise(self, vm: str, resource: Resource, amount: float) -> None:
        """Have a VM hold this much of a resource here from now on, 0: nothing; must not wait."""
        ...


class HostSupplier:
    """The server itself: what is promised is a floor, which whoever decides sizes keeps."""

    def __init__(self, *, machine: Mapping[Resource, float], settable: SettableOf) -> None:
        """Supply up to what the server may grant, and where nobody limits that, what the machine has."""
        self._machine, self._settable = dict(machine), settable
        self._lock = threading.Lock()
        self._promised: dict[tuple[str, Resource], float] = {}
        self.own_floor: NDArray[np.float32] | None = None
        """(resources, workloads) floors of the last sample without what is promised."""

    @property
    def promised(self) -> dict[tuple[str, Resource], float]:
        """What is promised to whom."""
        with self._lock:
            return dict(self._promised)

    def promise(self, vm: str, resource: Resource, amount: float) -> None:
        """Note it for the next sample."""
        with self._lock:
            if amount > 0:
                self._promised[vm, resource] = amount
            else:
                self._promised.pop((vm, resource), None)

    def supplies(self, snapshot: Snapshot, predicted: NDArray[np.float64]) -> Mapping[Resource, Supply]:
        """Return what the server has: what can't be limited can't be promised beyond what is held."""
        settable, found = self._settable.settable, {}
        for row, resource in enumerate(snapshot.resources):
            held = snapshot.grant[HOST_SHARE, row].astype(np.float64)
            held[~np.isfinite(held)] = np.nan
            sold = snapshot.capacity[row].astype(np.float64)
            most = np.where(settable[row] & np.isfinite(sold), sold, held)
            needed = np.where(np.isnan(predicted[row]), held, predicted[row])
            floor = snapshot.roster.floor[row] if self.own_floor is None else self.own_floor[row]
            reserved = np.nan_to_num(np.fmin(np.fmax(needed, floor), np.fmax(sold, held)))
            amount = float(snapshot.places.allocatable[row, 0])
            if not np.isfinite(amount):
                amount = self._machine.get(resource, np.inf)
            found[resource] = Supply(
                name=HOST,
                amount=amount,
                held=held,
                most=np.nan_to_num(most),
                reserved=reserved,
                reserved_sum=float(reserved.sum()),
            )
        return found


class SettableOf(Protocol):
    """Says where limits can be set."""

    @property
    def settable(self) -> NDArray[np.bool_]:
        """Where limits can be set: (resources, workloads)."""
        ...


__all__ = ["HostSupplier", "SettableOf", "Supplier"]
