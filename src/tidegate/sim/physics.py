"""What happens to demand in the world: pure functions over any array namespace, no writes in place.

numpy runs them in production and array-API libraries such as JAX can run them in training: the
namespace is passed in as ``xp``. Frames are (resources, workloads); places are numbered as in
`tidegate.model.roster.Places`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from types import ModuleType

Array = Any
"""An array of the namespace in use; the array API standard has no common type to import."""


class Membership(NamedTuple):
    """Which place each workload is at, prepared for sums: stable while nobody moves."""

    place: Array
    """(workloads,) place numbers, 0 or more."""
    order: Array
    """(workloads,) workloads sorted by place."""
    ends: Array
    """(places,) where each place's workloads end in that order."""


class Served(NamedTuple):
    """What every workload got."""

    used: Array
    """(resources, workloads) served demand, server units."""
    at_host: Array
    at_card: Array
    """The parts of ``used`` served at the host and at the card."""
    pressed: Array
    """(resources, workloads) whether demand was above what it got."""


def membership(xp: ModuleType, place: Array, places: int) -> Membership:
    """Return the sorted view of who is where; O(n log n) once per change of the fleet."""
    order = xp.argsort(place, stable=True)
    ends = xp.searchsorted(xp.take(place, order), xp.arange(places, dtype=place.dtype), side="right")
    return Membership(place, order, ends)


def summed(xp: ModuleType, amounts: Array, member: Membership) -> Array:
    """Sum amounts (resources, workloads) at each place: (resources, places).

    Differences of a running sum in float64, so that a million small shares don't drift.
    """
    sorted_amounts = xp.take(xp.astype(amounts, xp.float64), member.order, axis=1)
    running = xp.cumulative_sum(sorted_amounts, axis=1, include_initial=True)
    upto = xp.take(running, member.ends, axis=1)
    start = xp.zeros((upto.shape[0], 1), dtype=upto.dtype)
    return upto - xp.concat([start, upto[:, :-1]], axis=1)


def contended(xp: ModuleType, asked: Array, member: Membership, allocatable: Array) -> Array:
    """Return what of ``asked`` (resources, workloads) its place can serve: all, or an equal share of it.

    A place whose total demand is above its capacity serves everyone the same fraction, as a fair
    scheduler of equal weights does.
    """
    total = summed(xp, asked, member)
    fraction = xp.where(total > allocatable, allocatable / xp.where(total > 0, total, 1.0), 1.0)
    return asked * xp.astype(xp.take(fraction, member.place, axis=1), asked.dtype)


def serve(
    xp: ModuleType,
    *,
    demand: Array,
    grant_host: Array,
    grant_card: Array,
    offloadable_ratio: Array,
    host: Membership,
    card: Membership,
    allocatable: Array,
    tolerance: Array,
) -> Served:
    """Serve demand from what is granted at host and card, places contended.

    The card serves at most the offloadable part. ``grant_card`` is in server units and ``allocatable``
    (resources, places) too; a workload without a card has ``grant_card`` 0 and any place in ``card``.
    ``tolerance`` (resources, workloads) is how far above what it got demand may be and not count as
    pressed. Missing demand (NaN) uses nothing and stays NaN in ``used``.
    """
    absent = xp.isnan(demand)
    present = xp.where(absent, xp.zeros_like(demand), demand)
    on_card = xp.minimum(present * offloadable_ratio, grant_card)
    on_host = xp.minimum(present - on_card, grant_host)
    on_card = contended(xp, on_card, card, allocatable)
    on_host = contended(xp, on_host, host, allocatable)
    got = on_card + on_host
    return Served(
        used=xp.where(absent, demand, got),
        at_host=on_host,
        at_card=on_card,
        pressed=~absent & (present > got + tolerance),
    )


def transferred(xp: ModuleType, remaining: Array, link: Membership, budget: Array) -> Array:
    """Return how many of the ``remaining`` bytes (moves,) cross their link in one step.

    ``link`` says which link each move uses and ``budget`` (links,) how many bytes it carries in the step. A
    link with less budget than work gives every move the same share of what it has left, so that moves
    that started together end together.
    """
    moved = contended(xp, remaining[None, :], link, budget[None, :])
    return moved[0, :]


def transfer_seconds(xp: ModuleType, moved_bytes: Array, link_bytes_per_second: Array) -> Array:
    """Return how long moving a state over its link takes."""
    return moved_bytes / xp.maximum(link_bytes_per_second, xp.asarray(1.0, dtype=link_bytes_per_second.dtype))
