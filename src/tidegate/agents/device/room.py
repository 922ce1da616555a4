"""What is left of a card: pure sums over what its applications hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidegate.agents.device.records import RESOURCES
from tidegate.model.application import Amounts
from tidegate.model.errors import InputError
from tidegate.model.refusals import Because, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tidegate.agents.device.records import Application

ROUNDING: Final = 1e-9
"""Sums of fractions may differ by so much, relatively."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a card has, and what its system keeps of it.

    A resource whose capacity is not known is not counted, but for the GPU: where nobody knows of one there
    is none.
    """

    capacity: Amounts
    reserved: Amounts

    def __post_init__(self) -> None:
        """Refuse to reserve more than there is.

        Raises:
            InputError: more is reserved than there is.

        """
        has = self.capacity.known()
        for name, amount in self.reserved.known().items():
            if amount > has.get(name, 0.0):
                raise InputError(
                    f"{name}: {amount:g} can't be reserved of {has.get(name, 0.0):g}; reserve less"
                )

    @property
    def allocatable(self) -> Amounts:
        """What may be granted."""
        kept = self.reserved.known()
        return amounts({name: has - kept.get(name, 0) for name, has in self.capacity.known().items()})


def amounts(by_name: Mapping[str, float]) -> Amounts:
    """Return amounts by resource; bytes are whole."""
    return Amounts(
        **{
            name: float(amount) if name in {"cpu_cores", "gpu_fraction"} else round(amount)
            for name, amount in by_name.items()
        }  # type: ignore[arg-type] # names and types are the fields'
    )


def charged(application: Application) -> dict[str, float]:
    """Return what is kept for an application: what it holds, may still hold, and may fall back to."""
    claims = [application.amounts.known(), application.held.known(), application.spec.floor.known()]
    safe = application.safe.known()
    claims.append({name: safe[name] for name in application.temporary if name in safe})
    return {
        name: max(claim[name] for claim in claims if name in claim)
        for name in RESOURCES
        if any(name in claim for claim in claims)
    }


def allocated(applications: Iterable[Application]) -> dict[str, float]:
    """Return what is kept for all of them."""
    total = dict.fromkeys(RESOURCES, 0.0)
    for application in applications:
        for name, amount in charged(application).items():
            total[name] += amount
    return total


def require_room(room: Room, applications: Mapping[str, Application], wanted: Application) -> None:
    """Refuse an application that would hold more than is left beside all others.

    What is kept for it already may stay, even on a card that became smaller.

    Raises:
        Refusal: there is too little, with how much of what.

    """
    others = allocated(one for name, one in applications.items() if name != wanted.name)
    before = applications.get(wanted.name)
    has_now = {} if before is None else charged(before)
    allocatable = room.allocatable.known()
    short = []
    for name, amount in charged(wanted).items():
        limit = allocatable.get(name, 0.0 if name == "gpu_fraction" else None)
        if limit is None or amount <= has_now.get(name, 0.0):
            continue
        left = limit - others[name]
        if amount > left + ROUNDING * limit:
            short.append(
                f"{name} is short by {amount - left:g} ({amount:g} wanted, {max(left, 0.0):g} left "
                f"of {limit:g})"
            )
    if short:
        raise Refusal(Because.NO_ROOM, f"application {wanted.name} does not fit: {'; '.join(short)}")


def overfull(room: Room, applications: Iterable[Application]) -> dict[str, float]:
    """Return by how much more is held than may be granted, as where a card became smaller."""
    allocatable = room.allocatable.known()
    over = {}
    for name, amount in allocated(applications).items():
        limit = allocatable.get(name, 0.0 if name == "gpu_fraction" else None)
        if limit is not None and amount > limit * (1 + ROUNDING):
            over[name] = amount - limit
    return over


__all__ = ["Room", "allocated", "amounts", "charged", "overfull", "require_room"]
