"""What should be true, and the actions that make it so.

A `Plan` is the wanted state of the whole fleet; `Actions` is the difference to the current state, as
columns. `Resize`, `Rehome` and `Migrate` are single actions as people read them: a closed union.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.roster import HOST, SHARES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.resources import Resource
    from tidegate.model.snapshot import Snapshot


class Reason(IntEnum):
    """Why a workload is to hold what the plan says; guards overwrite it with their own."""

    HOLD = 0
    BASELINE = 1
    GROW_ON_FORECAST = 2
    GROW_ON_PRESSURE = 3
    SHRINK_ON_EVIDENCE = 4
    TAKE_FROM_CARD = 5
    TAKE_FROM_HOST = 6
    GIVE_BACK = 7
    FAILURE = 8
    PLACE_SHORT = 9
    MISSING_SAMPLES = 10
    GUARD_CAPACITY = 11
    GUARD_FLOOR = 12
    GUARD_PACE = 13
    GUARD_COOL_DOWN = 14
    GUARD_BLAST_RADIUS = 15
    GUARD_EXPIRED = 16
    GUARD_SMALL = 17
    HELD_OBSERVED = 18
    HELD_RECOMMENDED = 19
    HELD_PAUSED = 20
    HELD_OUT_OF_REACH = 21
    GUARD_IN_USE = 22
    GUARD_NEWCOMER = 23

    @property
    def sentence(self) -> str:
        """The same words on every screen."""
        return _SENTENCES[self]

    @property
    def is_of_guard(self) -> bool:
        """Whether a guard said it, not the planner."""
        return self >= Reason.GUARD_CAPACITY


_SENTENCES = {
    Reason.HOLD: "holds: no change is worth its cost",
    Reason.BASELINE: "the safe baseline decides: the forecast has not earned the right to act",
    Reason.GROW_ON_FORECAST: "grows before the forecast peak",
    Reason.GROW_ON_PRESSURE: "grows because it ran short",
    Reason.SHRINK_ON_EVIDENCE: "shrinks: observed need stayed lower for the dwell time",
    Reason.TAKE_FROM_CARD: "SUCCESS: the shortfall was taken from the card",
    Reason.TAKE_FROM_HOST: "SUCCESS: the card has none left, the shortfall was taken from the host",
    Reason.GIVE_BACK: "SUCCESS: predicted demand fell and the surplus was given back",
    Reason.FAILURE: "FAILURE: neither card nor host can cover the shortfall",
    Reason.PLACE_SHORT: "the place is short and this SLA class gives way",
    Reason.MISSING_SAMPLES: "no recent sample: the last grant stands",
    Reason.GUARD_CAPACITY: "guard: the place's capacity would be exceeded",
    Reason.GUARD_FLOOR: "guard: floor or ceiling",
    Reason.GUARD_PACE: "guard: at most one pace step per tick",
    Reason.GUARD_COOL_DOWN: "guard: changed too recently",
    Reason.GUARD_BLAST_RADIUS: "guard: too many workloads would change in one tick",
    Reason.GUARD_EXPIRED: "guard: the decision is older than its expiry",
    Reason.GUARD_SMALL: "guard: too small a saving to be worth a change",
    Reason.GUARD_IN_USE: "guard: what is in use is never taken",
    Reason.GUARD_NEWCOMER: "guard: not watched for long enough to take anything",
    Reason.HELD_OBSERVED: "observed only: its autonomy is 'observe'",
    Reason.HELD_RECOMMENDED: "recommended only: its autonomy is 'recommend'",
    Reason.HELD_OUT_OF_REACH: "out of reach: only CPU and memory of cgroups can be set, with --act and root",
    Reason.HELD_PAUSED: "paused: nothing is acted on until 'tidegate resume'",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """The wanted grants of every workload, and what would have been wanted without the forecast."""

    time_seconds: int
    expires_seconds: int
    """After this time the plan may not be applied."""
    wanted: NDArray[np.float32]
    """(2, resources, workloads): wanted share at the host and at the card, place units."""
    card: NDArray[np.int32]
    """(workloads,) the card the card share is wanted on, or -1."""
    reason: NDArray[np.uint8]
    """(resources, workloads): a `Reason`."""
    shortfall: NDArray[np.float32] | None = None
    """(resources, workloads): predicted demand the plan can't cover, server units; None: covered."""
    counterfactual: NDArray[np.float32] | None = None
    """(resources, workloads): total wanted without the forecast, server units; None: no forecast used."""


def host_plan(snapshot: Snapshot, total: NDArray[np.float32], reason: NDArray[np.uint8] | Reason) -> Plan:
    """Return a plan that puts all of ``total`` (resources, workloads) on the host, for one step."""
    wanted = np.zeros((SHARES, *total.shape), dtype=np.float32)
    wanted[HOST] = total
    codes = np.full(total.shape, reason, dtype=np.uint8) if isinstance(reason, Reason) else reason
    return Plan(
        time_seconds=snapshot.time_seconds,
        expires_seconds=snapshot.time_seconds + snapshot.step_seconds,
        wanted=wanted,
        card=snapshot.card,
        reason=codes,
    )


def shrunk(plan: Plan, wanted: NDArray[np.float32], where: NDArray[np.bool_], reason: Reason) -> Plan:
    """Return the plan with a guard's own wanted grants, its reason set ``where`` (resources, workloads)."""
    if not where.any():
        return plan
    codes = np.where(where, np.uint8(reason), plan.reason)
    return replace(plan, wanted=wanted, reason=codes)


class Kind(IntEnum):
    """What an action does."""

    RESIZE = 0
    REHOME = 1
    MIGRATE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """Change one share of one workload."""

    workload_id: int
    resource: Resource
    place: str
    amount_from: float
    amount_to: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehome:
    """Move part of a grant between the host and its card."""

    workload_id: int
    resource: Resource
    place_from: str
    place_to: str
    amount: float
    """In server units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrate:
    """Move a workload's share from one card to another, or the workload from host to host."""

    workload_id: int
    resource: Resource
    place_from: str
    place_to: str
    amount: float
    """In units of the new place."""


Action = Resize | Rehome | Migrate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Actions(Sequence[Action]):
    """A change set as columns, one row per action; reading a row gives it as a record.

    A resize has one row per share. A rehome or migrate row carries the amounts at its target; what
    leaves the source is ``amount_released`` there.
    """

    time_seconds: int
    expires_seconds: int
    kind: NDArray[np.uint8]
    workload: NDArray[np.int64]
    """(actions,) row in the roster."""
    workload_id: NDArray[np.int64]
    resource_row: NDArray[np.uint8]
    share: NDArray[np.uint8]
    """(actions,) 0 host, 1 card: the share that is set."""
    place_from: NDArray[np.int32]
    place_to: NDArray[np.int32]
    amount_from: NDArray[np.float32]
    amount_to: NDArray[np.float32]
    """(actions,) the share after the action, in the place's units."""
    resources: tuple[Resource, ...]
    place_names: Sequence[str]

    def __len__(self) -> int:
        """Return the number of actions."""
        return int(self.kind.shape[0])

    def __getitem__(self, row: int) -> Action:  # type: ignore[override]
        """Return one action as a record people can read."""
        resource = self.resources[int(self.resource_row[row])]
        identity = int(self.workload_id[row])
        start, end = float(self.amount_from[row]), float(self.amount_to[row])
        place_from = self.place_names[int(self.place_from[row])]
        place_to = self.place_names[int(self.place_to[row])]
        match Kind(int(self.kind[row])):
            case Kind.RESIZE:
                return Resize(
                    workload_id=identity,
                    resource=resource,
                    place=place_to,
                    amount_from=start,
                    amount_to=end,
                )
            case Kind.REHOME:
                return Rehome(
                    workload_id=identity,
                    resource=resource,
                    place_from=place_from,
                    place_to=place_to,
                    amount=end - start,
                )
            case Kind.MIGRATE:
                return Migrate(
                    workload_id=identity,
                    resource=resource,
                    place_from=place_from,
                    place_to=place_to,
                    amount=end,
                )

    def __iter__(self) -> Iterator[Action]:
        """Iterate over the actions as records."""
        return (self[row] for row in range(len(self)))
