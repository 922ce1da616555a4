"""Which leases there are, and what they draw from which supply: the one thing here that changes."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

from tidegate.vral.supplies import Offer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tidegate.model.resources import Resource
    from tidegate.vral.claims import Change, Claim, Ended, Lease
    from tidegate.vral.supplies import Market, Supply

ENDED_MAX: Final = 64
"""Leases that are over, remembered for each VM."""
VMS_ENDED_MAX: Final = 4096
"""VMs of which leases that are over are remembered."""


class Books:
    """All leases by name, by VM and by supply."""

    def __init__(self, leases: Iterable[Lease] = (), ended: Iterable[Ended] = ()) -> None:
        """Go on from what was written down."""
        self._leases: dict[str, Lease] = {}
        self._of: dict[str, dict[str, Lease]] = {}
        self._drawn: dict[tuple[Resource, str], dict[str, float]] = {}
        """What each VM draws, by resource and supply."""
        self._ended: dict[str, deque[Ended]] = {}
        self._last = 0
        for lease in leases:
            self._put(lease)
        for one in ended:
            self._end(one)

    def __len__(self) -> int:
        """Return the number of leases."""
        return len(self._leases)

    def __iter__(self) -> Iterator[Lease]:
        """Iterate over the leases as they are now."""
        return iter(tuple(self._leases.values()))

    def of(self, vm: str) -> tuple[Lease, ...]:
        """Return a VM's leases."""
        return tuple(self._of.get(vm, {}).values())

    def get(self, vm: str, name: str) -> Lease | None:
        """Return a VM's lease; None where it has none of that name."""
        return self._of.get(vm, {}).get(name)

    def named(self, name: str) -> Lease | None:
        """Return a lease whosever it is; None where there is none of that name."""
        return self._leases.get(name)

    def ended(self, vm: str) -> tuple[Ended, ...]:
        """Return what is remembered of a VM's leases that are over."""
        return tuple(self._ended.get(vm, ()))

    @property
    def all_ended(self) -> tuple[Ended, ...]:
        """What is remembered of everyone's."""
        return tuple(one for many in self._ended.values() for one in many)

    def next_name(self) -> str:
        """Return a name that no lease had since the books were opened, or has now."""
        return f"lease-{self._last + 1}"

    def leased(self, vm: str, resource: Resource) -> float:
        """Return what a VM's leases of a resource come to."""
        return math.fsum(one.amount for one in self.of(vm) if one.claim.resource is resource)

    def drawn(self, resource: Resource, supply: str) -> dict[str, float]:
        """Return what each VM draws from a supply."""
        return self._drawn.get((resource, supply), {})

    def commit(self, change: Change) -> None:
        """Make a change that was written down."""
        if change.put is not None:
            self._put(change.put)
        if change.ended is not None:
            self._end(change.ended)

    def room(self, supply: Supply, resource: Resource, vm: str, market: Market) -> float:
        """Return how much more a VM's leases may draw from a supply; below 0 where it is overdrawn.

        What another VM needs whether leased or not is kept for it, and so is what it has leased: the larger
        of both.
        """
        row = market.rows.get(vm)
        if row is None:
            return 0.0
        drawn = self.drawn(resource, supply.name)
        mine = drawn.get(vm, 0.0)
        kept = supply.reserved_sum - float(supply.reserved[row])
        for other, amount in drawn.items():
            at = market.rows.get(other)
            if other != vm:
                kept += amount if at is None else max(amount - float(supply.reserved[at]), 0.0)
        return min(supply.amount - kept, float(supply.most[row])) - mine

    def offers(
        self, vm: str, claim: Claim, market: Market, *, without: tuple[str, ...] = ()
    ) -> tuple[Offer, ...]:
        """Return what each supply can do for a claim."""
        row = market.rows[vm]
        found = []
        for supply in market.supplies.get(claim.resource, ()):
            held = float(supply.held[row])
            drawn = self.drawn(claim.resource, supply.name).get(vm, 0.0)
            suits = not (supply.is_far and claim.near) and not (supply.is_slower and not claim.may_be_slower)
            found.append(
                Offer(
                    supply=supply.name,
                    ready=0.0 if math.isnan(held) else max(held - drawn, 0.0),
                    room=max(self.room(supply, claim.resource, vm, market), 0.0),
                    suits=suits and supply.name not in without,
                )
            )
        return tuple(found)

    def _put(self, lease: Lease) -> None:
        before = self._leases.get(lease.name)
        self._leases[lease.name] = lease
        self._of.setdefault(lease.vm, {})[lease.name] = lease
        self._last = max(self._last, _number(lease.name))
        self._draw(lease.vm, lease.claim.resource, {*_supplies(lease), *_supplies(before)})

    def _end(self, ended: Ended) -> None:
        lease = self._leases.pop(ended.name, None)
        self._last = max(self._last, _number(ended.name))
        if lease is not None:
            del self._of[lease.vm][lease.name]
            if not self._of[lease.vm]:
                del self._of[lease.vm]
            self._draw(lease.vm, lease.claim.resource, set(_supplies(lease)))
        self._ended.setdefault(ended.vm, deque(maxlen=ENDED_MAX)).append(ended)
        while len(self._ended) > VMS_ENDED_MAX:
            del self._ended[next(iter(self._ended))]

    def _draw(self, vm: str, resource: Resource, supplies: set[str]) -> None:
        """Add up anew what a VM draws: sums that are kept up by differences drift."""
        for supply in supplies:
            drawn = self._drawn.setdefault((resource, supply), {})
            amount = math.fsum(one.drawn(supply) for one in self.of(vm) if one.claim.resource is resource)
            if amount > 0:
                drawn[vm] = amount
            else:
                drawn.pop(vm, None)


def _number(name: str) -> int:
    """Return the number in a lease's name; 0 where it has none."""
    number = name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _supplies(lease: Lease | None) -> tuple[str, ...]:
    return () if lease is None else tuple(part.supply for part in lease.parts)
