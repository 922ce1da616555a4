"""Guards, in the order they run: each may only shrink a plan.

To shrink a plan is to move a wanted share back toward what is held; never past it, never beyond what
was wanted. `Guarded` state that a guard needs (when a share last changed) is its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.model.columns import Column, Columns
from tidegate.model.plan import Plan, Reason, shrunk
from tidegate.model.roster import CARD, HOST, SHARES
from tidegate.model.snapshot import card_worth, expected, in_server_units, summed_by_place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.model.snapshot import Snapshot
    from tidegate.ports import Clock


def charged(snapshot: Snapshot) -> NDArray[np.float32]:
    """Return what each share is charged at its place: held, or more if growth is in flight.

    A shrink in flight frees nothing until it is confirmed, a growth counts from its submission, so
    an action is charged at both ends. Shape (2, resources, workloads).
    """
    if not snapshot.in_flight.any():
        return snapshot.grant
    return snapshot.grant + np.maximum(snapshot.in_flight, 0)


def _share_place(plan: Plan, snapshot: Snapshot, share: int) -> NDArray[np.int32]:
    return snapshot.host if share == HOST else plan.card


@dataclass(frozen=True, slots=True)
class HoldUnknown:
    """Hold whatever a plan says nothing about, so that the guards after it can add up."""

    def shrink(self, plan: Plan, snapshot: Snapshot) -> Plan:
        """Return the plan with what is held where it wants NaN: nothing is known of the workload yet."""
        unknown = np.isnan(plan.wanted)
        if not unknown.any():
            return plan
        return replace(plan, wanted=np.where(unknown, expected(snapshot), plan.wanted))


@dataclass(frozen=True, slots=True)
class Expiry:
    """Refuse a plan older than its expiry: everything holds."""

    clock: Clock

    def shrink(self, plan: Plan, snapshot: Snapshot) -> Plan:
        """Return the plan, or one that changes nothing if it expired."""
        if self.clock.now_seconds() <= plan.expires_seconds:
            return plan
        held = expected(snapshot)
        changed = (plan.wanted != held).any(axis=0) | (plan.card != snapshot.card)
        return replace(shrunk(plan, held, changed, Reason.GUARD_EXPIRED), card=snapshot.card)


@dataclass(frozen=True, slots=True)
class FloorAndCeiling:
    """Keep every workload's total between its floor and its capacity.

    A shrink stops at the floor and a growth stops at the capacity. A workload already below its
    floor is not shrunk further; bringing it up is the planner's work.
    """

    def shrink(self, plan: Plan, snapshot: Snapshot) -> Plan:
        """Return the plan with shares pulled back to floor and ceiling."""
        total = in_server_units(plan.wanted, snapshot)
        below = np.fmax(snapshot.roster.floor - total, 0)
        above = np.fmax(total - snapshot.capacity, 0)
        if not (below > 0).any() and not (above > 0).any():
            return plan
        wanted = given_back(plan.wanted, below, plan, snapshot)
        wanted = _not_taken(wanted, above, plan, snapshot)
        return shrunk(plan, wanted, (wanted != plan.wanted).any(axis=0), Reason.GUARD_FLOOR)


def given_back(
    wanted: NDArray[np.float32], missing: NDArray[np.float32], plan: Plan, snapshot: Snapshot
) -> NDArray[np.float32]:
    """Return the wanted shares with shrinks undone, host first, until ``missing`` is back.

    ``missing`` is (resources, workloads) in server units.

    Nothing goes above what is held, so it needs no room anywhere.
    """
    held, result = expected(snapshot), wanted.copy()
    for share, unit in _units(snapshot):
        back = np.minimum(np.fmax(held[share] - result[share], 0), missing / unit)
        if share == CARD:
            back = np.where(plan.card == snapshot.card, back, np.float32(0))
        result[share] += back
        missing = missing - back * unit
    return result


def _not_taken(
    wanted: NDArray[np.float32], surplus: NDArray[np.float32], plan: Plan, snapshot: Snapshot
) -> NDArray[np.float32]:
    """Undo growth, host first, until ``surplus`` (resources, workloads; server units) is gone."""
    held, result = expected(snapshot), wanted.copy()
    for share, unit in _units(snapshot):
        grown = np.fmax(result[share] - held[share], 0)
        if share == CARD:
            grown = np.where(plan.card == snapshot.card, grown, np.float32(0))
        cut = np.minimum(grown, surplus / unit)
        result[share] -= cut
        surplus = surplus - cut * unit
    return result


def _units(snapshot: Snapshot) -> tuple[tuple[int, NDArray[np.float32] | np.float32], ...]:
    """Return each share with what one unit of it is worth, in server units."""
    return (HOST, np.float32(1)), (CARD, card_worth(snapshot))


@dataclass(frozen=True, slots=True)
class PlaceCapacity:
    """Cut growth where a place would be granted more than is allocatable there.

    With held amounts h (in-flight growth included), wanted w and room = allocatable - sum of h at the
    place, growth w - h is cut so that it fits, lower SLA classes first: sum over workloads <=
    allocatable, or nobody grows. A share that moves to another card is charged at both: all of it is
    growth at the new one, and it moves whole or not at all.
    """

    def shrink(self, plan: Plan, snapshot: Snapshot) -> Plan:
        """Return the plan with growth cut to what its place can hold."""
        if not snapshot.places.bounded:
            return plan
        plan = self._without_crowded_moves(plan, snapshot)
        base = charged(snapshot)
        wanted = plan.wanted.copy()
        touched = np.zeros(wanted.shape[1:], dtype=np.bool_)
        for share in range(SHARES):
            place = _share_place(plan, snapshot, share)
            growth = np.maximum(plan.wanted[share] - _base_at(place, base, share, snapshot), 0)
            cut = _fitting(growth, _room(base, share, snapshot), place, snapshot)
            short = cut < growth
            wanted[share] = np.where(short, base[share] + cut, wanted[share])
            touched |= short
        # Half a rehome is a loss: what did not fit there stays here.
        lost = np.where(touched, in_server_units(plan.wanted - wanted, snapshot), np.float32(0))
        wanted = given_back(wanted, np.fmax(lost, 0), plan, snapshot)
        return shrunk(plan, wanted, touched, Reason.GUARD_CAPACITY)

    @staticmethod
    def _without_crowded_moves(plan: Plan, snapshot: Snapshot) -> Plan:
        """Return the plan in which who would not fit on its new card stays where it is, as it is."""
        moves = plan.card != snapshot.card
        if not moves.any():
            return plan
        base = charged(snapshot)
        growth = np.maximum(plan.wanted[CARD] - _base_at(plan.card, base, CARD, snapshot), 0)
        cut = _fitting(growth, _room(base, CARD, snapshot), plan.card, snapshot)
        crowded = moves & (cut < growth).any(axis=0)
        if not crowded.any():
            return plan
        held = expected(snapshot)
        stays = replace(plan, card=np.where(crowded, snapshot.card, plan.card))
        refused = np.broadcast_to(crowded, growth.shape)
        return shrunk(stays, np.where(crowded, held, plan.wanted), refused, Reason.GUARD_CAPACITY)


def _base_at(
    place: NDArray[np.int32], base: NDArray[np.float32], share: int, snapshot: Snapshot
) -> NDArray[np.float32]:
    """Return what each share is already charged at its wanted place: nothing where it would move there."""
    if share == HOST:
        return base[HOST]
    return np.where(place == snapshot.card, base[CARD], np.float32(0))


def _room(base: NDArray[np.float32], share: int, snapshot: Snapshot) -> NDArray[np.float64]:
    """Return what is left at each place (resources, places) once everything held there is charged."""
    place = snapshot.host if share == HOST else snapshot.card
    held = summed_by_place(base[share], place, len(snapshot.places.names))
    return np.maximum(snapshot.places.allocatable - held, 0)


def _fitting(
    growth: NDArray[np.float32], room: NDArray[np.float64], place: NDArray[np.int32], snapshot: Snapshot
) -> NDArray[np.float32]:
    """Cut growth (resources, workloads) so that it fits each place's room, high priority first."""
    places = len(snapshot.places.names)
    if (summed_by_place(growth, place, places) <= room).all():
        return growth
    fitting = np.zeros_like(growth)
    for level in np.unique(snapshot.roster.priority)[::-1]:
        asked = np.where(snapshot.roster.priority == level, growth, 0)
        total = summed_by_place(asked, place, places)
        # Nudged below 1 so that float32 rounding of the parts can't add up to more than the room.
        ratio = np.minimum(1.0, room / np.where(total > 0, total, 1)) * (1 - 1e-6)
        ratio = np.where(total <= room, 1.0, ratio)
        given = asked * np.take(ratio, np.maximum(place, 0), axis=1).astype(np.float32)
        fitting += np.where(place < 0, np.float32(0), given)
        room = np.maximum(room - summed_by_place(given, place, places), 0)
    return fitting


@dataclass(frozen=True, slots=True)
class Pace:
    """Limit how much of its capacity a workload may lose in one tick; growth is never slowed."""

    shrink_ratio_max: float
    """Largest shrink per tick as a share of capacity, in (0, 1]."""

    def shrink(self, plan: Plan, snapshot: Snapshot) -> Plan:
        """Return the plan with big shrinks shortened."""
        held = in_server_units(expected(snapshot), snapshot)
        step = np.float32(self.shrink_ratio_max) * np.nan_to_num(snapshot.capacity)
        missing = np.fmax(held - step - in_server_units(plan.wanted, snapshot), 0)
        if not (missing > 0).any():
            return plan
        wanted = given_back(plan.wanted, missing, plan, snapshot)
        return shrunk(plan, wanted, (wanted != plan.wanted).any(axis=0), Reason.GUARD_PACE)


@dataclass(frozen=True, slots=True)
class Deadband:
    """Hold where a shrink would save next to nothing: each change costs a call, and a row in the journal."""

    shrink_ratio_min: float
    """Least shrink worth making, as a share of capacity."""

    def shrink(self, plan: Plan, snapshot: Snapshot) -> Plan:
        """Return the plan without small shrinks; growth is never refused."""
        held = expected(snapshot)
        saved = in_server_units(held, snapshot) - in_server_units(plan.wanted, snapshot)
        small = (saved > 0) & (saved < np.float32(self.shrink_ratio_min) * snapshot.capacity)
        # A rehome is no saving: what it takes at one place it gives at the other.
        small &= (plan.card == snapshot.card) & ~(plan.wanted > held).any(axis=0)
        return shrunk(plan, np.where(small, held, plan.wanted), small, Reason.GUARD_SMALL)


NEVER_SECONDS: Final = -(2**62)
"""When whoever never grew last grew; a power of two, so that a float holds it exactly."""


class CoolDown:
    """Refuse to shrink a share that grew less than ``seconds`` ago: no see-saw."""

    def __init__(self, seconds: int) -> None:
        """Know nobody yet; a newcomer has not grown."""
        self._seconds = seconds
        self._memory = Columns(
            grew_seconds=Column(dtype=np.int64, fill=NEVER_SECONDS),
            held=Column(dtype=np.float32, fill=np.nan),
        )

    def shrink(self, plan: Plan, snapshot: Snapshot) -> Plan:
        """Return the plan in which freshly grown workloads hold."""
        memory = self._memory
        memory.follow(snapshot)
        held = in_server_units(expected(snapshot), snapshot)
        memory["grew_seconds"][held > memory["held"]] = snapshot.time_seconds
        memory["held"] = held
        fresh = snapshot.time_seconds - memory["grew_seconds"] < self._seconds
        refused = fresh & (in_server_units(plan.wanted, snapshot) < held)
        if not refused.any():
            return plan
        return shrunk(
            plan, np.where(refused, expected(snapshot), plan.wanted), refused, Reason.GUARD_COOL_DOWN
        )

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return who grew when."""
        return self._memory.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a saved state."""
        self._memory.restore(state)


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """Let at most a share of the workloads shrink in one tick: the largest savings first.

    Growth is not limited: a mass growth is what an evening peak looks like, a mass shrink is what a
    broken collector looks like.
    """

    workloads_ratio_max: float
    """Largest share of the workloads that may shrink in one tick, in (0, 1]."""
    workloads_min: int = 20
    """Fleets this small may always shrink whole: a share of few is nothing."""

    def shrink(self, plan: Plan, snapshot: Snapshot) -> Plan:
        """Return the plan in which surplus shrinks wait for a later tick."""
        loss = _relative_loss(plan, snapshot)
        allowed = max(self.workloads_min, int(self.workloads_ratio_max * len(snapshot.roster)))
        if int((loss > 0).sum()) <= allowed:
            return plan
        keep = np.argpartition(-loss, allowed - 1)[:allowed]
        refused_rows = loss > 0
        refused_rows[keep] = False
        refused = refused_rows & (
            in_server_units(plan.wanted, snapshot) < in_server_units(expected(snapshot), snapshot)
        )
        return shrunk(
            plan, np.where(refused, expected(snapshot), plan.wanted), refused, Reason.GUARD_BLAST_RADIUS
        )


def _relative_loss(plan: Plan, snapshot: Snapshot) -> NDArray[np.float32]:
    """(workloads,) largest share of its capacity any resource of the workload loses; 0 where none."""
    lost = in_server_units(expected(snapshot), snapshot) - in_server_units(plan.wanted, snapshot)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(lost > 0, lost / snapshot.capacity, 0)
    largest: NDArray[np.float32] = np.nan_to_num(ratio, posinf=1.0).max(axis=0)
    return largest


__all__ = [
    "BlastRadius",
    "CoolDown",
    "Deadband",
    "Expiry",
    "FloorAndCeiling",
    "HoldUnknown",
    "Pace",
    "PlaceCapacity",
    "charged",
]
