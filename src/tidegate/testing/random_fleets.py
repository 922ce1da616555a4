"""Fleets and plans drawn from a seed, for properties that must hold on any of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.plan import Plan, Reason
from tidegate.model.roster import CARD, NO_CARD, SHARES
from tidegate.testing.checks import require
from tidegate.testing.fleets import places_of, read_only, roster_of, snapshot_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.snapshot import Snapshot
    from tidegate.ports import Guard

RELATIVE_ERROR = 1e-5


def random_snapshot(seed: int, *, in_flight: bool = True, unknown: bool = False) -> Snapshot:
    """Return a fleet of up to 12 workloads on up to 3 servers and 2 cards, some of them full.

    With ``unknown``, some workloads have no capacity yet and hold an unknown amount.
    """
    rng = np.random.default_rng(seed)
    resources, workloads = int(rng.integers(1, 4)), int(rng.integers(0, 13))
    servers, cards = int(rng.integers(1, 4)), int(rng.integers(0, 3))
    shape = resources, workloads
    unit = 10.0 ** rng.integers(0, 10, (resources, 1))
    capacity = (rng.integers(1, 9, shape) * unit).astype(np.float32)
    if unknown:
        capacity[:, rng.random(workloads) < 0.2] = np.nan
    held = capacity * rng.random(shape, dtype=np.float32)
    host = rng.integers(0, servers, workloads)
    card = rng.integers(servers, servers + cards, workloads) if cards else np.full(workloads, NO_CARD)
    card = np.where(rng.random(workloads) < 0.3, NO_CARD, card)
    on_card = np.where(card == NO_CARD, 0, np.nan_to_num(capacity) * rng.random(shape) * 0.5)
    moving = (rng.random((SHARES, *shape)) < 0.2) & in_flight
    moving[CARD, :, card == NO_CARD] = False
    change = moving * rng.uniform(-1, 1, moving.shape) * np.stack([held, on_card])
    used = np.where(rng.random(shape) < 0.1, np.nan, rng.random(shape) * (held + on_card))
    allocatable = _allocatable(rng, (held, host), (on_card, card), servers=servers, cards=cards)
    return snapshot_of(
        used,
        capacity=capacity,
        held=held,
        on_card=on_card,
        in_flight=change,
        host=host,
        card=card,
        places=places_of(
            servers=allocatable[:, :servers],
            cards=allocatable[:, servers:],
            worth=float(rng.uniform(0.3, 1.5)),
        ),
        roster=roster_of(
            workloads,
            resources=resources,
            ids=rng.permutation(100)[:workloads],
            violation_rate=rng.uniform(0.001, 0.5, workloads),
            priority=rng.integers(0, 4, workloads),
            floor=np.nan_to_num(capacity) * rng.random(shape) * 0.3,
            offloadable_ratio=rng.random(shape),
        ),
    )


def random_plan(seed: int, snapshot: Snapshot, *, migrating: bool = False) -> Plan:
    """Return a plan that grows some, shrinks some and leaves some; who has no card wants none.

    With ``migrating``, some workloads are wanted on another card.
    """
    rng = np.random.default_rng((seed, 1))
    held = snapshot.grant
    factor = np.where(rng.random(held.shape) < 0.3, 1.0, rng.uniform(0, 2, held.shape))
    extra = np.where(rng.random(held.shape) < 0.2, rng.random(held.shape) * snapshot.capacity, 0)
    wanted = (held * factor + extra).astype(np.float32)
    wanted[CARD][:, snapshot.card == NO_CARD] = 0
    card = snapshot.card
    cards = np.flatnonzero(snapshot.places.is_card)
    if migrating and cards.size:
        moves = (rng.random(card.size) < 0.4) & (card != NO_CARD)
        card = np.where(moves, rng.choice(cards, card.size), card).astype(np.int32)
    return read_only(
        Plan(
            time_seconds=snapshot.time_seconds,
            expires_seconds=snapshot.time_seconds + snapshot.step_seconds,
            wanted=wanted,
            card=card,
            reason=np.full(wanted.shape[1:], Reason.BASELINE, dtype=np.uint8),
        )
    )


def check_guard(guard: Guard, plan: Plan, snapshot: Snapshot) -> Plan:
    """Require that a guard only shrinks a plan, and return what it left.

    Every share must lie between what is held (with or without what is in flight) and what was wanted.

    Raises:
        AssertionError: a share left that interval, or a code means nothing.

    """
    guarded = guard.shrink(plan, snapshot)
    expected = snapshot.grant + snapshot.in_flight
    ends = np.stack([snapshot.grant, expected, plan.wanted])
    low, high = np.fmin.reduce(ends), np.fmax.reduce(ends)
    slack = RELATIVE_ERROR * np.abs(high)
    outside = (guarded.wanted < low - slack) | (guarded.wanted > high + slack)
    at = tuple(int(index) for index in np.argwhere(outside)[0]) if outside.any() else ()
    require(
        not outside.any(),
        f"{guard!r} moved the share {at} to {guarded.wanted[at]}, outside {low[at]} .. {high[at]}",
    )
    require(np.isin(guarded.reason, [int(reason) for reason in Reason]).all(), f"{guard!r}: unknown reason")
    return guarded


def applied(plan: Plan, snapshot: Snapshot) -> Snapshot:
    """Return the fleet as it is once the plan came true, with nothing left in flight."""
    known = ~np.isnan(plan.wanted)
    return read_only(
        replace(
            snapshot,
            grant=np.where(known, plan.wanted, snapshot.grant),
            in_flight=np.where(known, np.float32(0), snapshot.in_flight),
            card=plan.card,
        )
    )


def _allocatable(
    rng: np.random.Generator,
    at_host: tuple[NDArray[np.float32], NDArray[np.integer]],
    at_card: tuple[NDArray[np.float64], NDArray[np.integer]],
    *,
    servers: int,
    cards: int,
) -> NDArray[np.float64]:
    """Between four fifths and twice of what is held at each place, and a little."""
    places = servers + cards
    sums = np.zeros((at_host[0].shape[0], places))
    for amounts, place in (at_host, at_card):
        there = place >= 0
        for row in range(sums.shape[0]):
            sums[row] += np.bincount(place[there], np.nan_to_num(amounts[row][there]), places)
    return sums * rng.uniform(0.8, 2.0, sums.shape) + rng.random(sums.shape)


__all__ = ["applied", "check_guard", "random_plan", "random_snapshot"]
