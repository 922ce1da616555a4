"""What there is: supplies, each of one resource at one place, and the decision where a claim is served.

What is asked for is first held against what the VM holds already; the shortfall comes from the supplies in
their order, the card's before the host's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidegate.vral.claims import ROUNDING_RATIO, Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tidegate.model.resources import Resource

HOST: Final = "host"
CARD: Final = "card"
TOLERANCE_RATIO: Final = 0.01
"""What is read back may be so much less: quotas have whole microseconds, balloons whole pages."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Supply:
    """One resource at one place; columns are over the workloads of the market."""

    name: str
    amount: float
    """What may be leased of it in all; infinite where nobody knows a limit."""
    held: NDArray[np.float64]
    """(workloads,) what each holds there, read back; NaN unknown."""
    most: NDArray[np.float64]
    """(workloads,) most that each may hold there."""
    reserved: NDArray[np.float64]
    """(workloads,) what each needs there whether leased or not."""
    reserved_sum: float
    is_far: bool = False
    """Behind a link."""
    is_slower: bool = False
    """Slower than the host's own."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Market:
    """What there is, what is held and what is coming, as of one sample."""

    rows: Mapping[str, int]
    """Where each VM stands, by name."""
    ids: Sequence[int]
    priorities: Sequence[int]
    supplies: Mapping[Resource, tuple[Supply, ...]]
    """In the order in which they are drawn from."""
    predicted: Mapping[Resource, NDArray[np.float64]]
    """(workloads,) the forecast's quantile of demand over the lead; NaN where nothing is known."""
    lead_seconds: float

    def supply(self, resource: Resource, name: str) -> Supply | None:
        """Return one supply; None where it is gone."""
        return next((one for one in self.supplies.get(resource, ()) if one.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one supply can do for one VM."""

    supply: str
    ready: float
    """Held there already and promised to no lease."""
    room: float
    """What it can be promised there in all, what is ready included."""
    suits: bool = True
    """Whether the claim's constraints allow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Where it comes from."""

    parts: tuple[Part, ...]
    ready: float
    """How much of it was held already."""
    missing: float
    looked: tuple[str, ...]
    """Which supplies were asked for the shortfall."""

    @property
    def found(self) -> float:
        """What there is of it."""
        return math.fsum(part.amount for part in self.parts)


def decided(wanted: float, offers: Sequence[Offer]) -> Decision:
    """Return where an amount comes from: what is held first, then one supply after the other.

    Source: the order card, host, failure is that of a predictive resource manager of an offload card.
    """
    left, ready = wanted, 0.0
    taken = dict.fromkeys((offer.supply for offer in offers), 0.0)
    for offer in offers:
        took = max(min(left, offer.ready, offer.room), 0.0) if offer.suits else 0.0
        taken[offer.supply] += took
        left, ready = left - took, ready + took
    looked = []
    for offer in offers:
        if left <= ROUNDING_RATIO * wanted:
            break
        if not offer.suits:
            continue
        looked.append(offer.supply)
        took = max(min(left, offer.room - taken[offer.supply]), 0.0)
        taken[offer.supply] += took
        left -= took
    least = ROUNDING_RATIO * wanted
    return Decision(
        parts=tuple(Part(supply=name, amount=amount) for name, amount in taken.items() if amount > least),
        ready=ready,
        missing=left if left > least else 0.0,
        looked=tuple(looked),
    )


def merged(parts: Sequence[Part], more: Sequence[Part]) -> tuple[Part, ...]:
    """Return the parts of both, one for each supply."""
    names = dict.fromkeys(part.supply for part in (*parts, *more))
    return tuple(
        Part(supply=name, amount=math.fsum(one.amount for one in (*parts, *more) if one.supply == name))
        for name in names
    )


def cut(parts: Sequence[Part], amount: float, order: Sequence[str]) -> tuple[Part, ...]:
    """Return the parts of what is left once it holds ``amount``; what stands last in order goes first.

    The host's is drawn last and given back first: it is what others are short of.
    """
    surplus = math.fsum(part.amount for part in parts) - amount
    return tuple(_given_back(parts, surplus, {name: at for at, name in enumerate(order)}))


def _given_back(parts: Sequence[Part], surplus: float, rank: Mapping[str, int]) -> Iterator[Part]:
    for part in sorted(parts, key=lambda part: -rank.get(part.supply, len(rank))):
        back = min(max(surplus, 0.0), part.amount)
        surplus -= back
        if part.amount - back > 0:
            yield Part(supply=part.supply, amount=part.amount - back)
