"""The league: what each policy reserved and where it ran short, per workload, today and yesterday.

Reserves are judged by what an oracle would have reserved over the same samples, which is what was used:
that difference is a policy's regret. A day is a day of UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.model.columns import Column, Columns, part_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tidegate.model.snapshot import Snapshot

DAY_SECONDS: Final = 86_400
TODAY: Final = 0
YESTERDAY: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One policy's figures over one day, for one resource."""

    policy: str
    samples: int
    violation_ratio: float
    reserved_ratio: float
    regret_ratio: float
    """Reserved above what the day's oracle would have, as a share of capacity."""


class League:
    """Sums per policy and series, of today and of yesterday: (2, policies, resources, workloads)."""

    def __init__(self, policies: Sequence[str]) -> None:
        """Start with nothing counted."""
        self.policies = tuple(policies)
        number = Column(dtype=np.float32, fill=0.0, leading=(2,))
        by_policy = Column(dtype=np.float32, fill=0.0, leading=(2, len(self.policies)))
        self._day = -1
        self._memory = Columns(
            samples=number,
            used=number,
            capacity=Column(dtype=np.float32, fill=np.nan),
            short=by_policy,
            reserved=by_policy,
        )

    def begin(self, snapshot: Snapshot) -> NDArray[np.float32]:
        """Count a sample of every series, and return 1 / capacity where one came, else 0."""
        memory = self._memory
        memory.follow(snapshot)
        day = (snapshot.time_seconds - snapshot.step_seconds) // DAY_SECONDS
        # A clock set back over midnight goes on with the day it was in.
        if day > self._day:
            for name in ("samples", "used", "short", "reserved"):
                memory[name][YESTERDAY] = memory[name][TODAY] if day == self._day + 1 else 0
                memory[name][TODAY] = 0
            self._day = day
        present = ~np.isnan(snapshot.used) & (snapshot.capacity > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where(present, 1 / snapshot.capacity, 0).astype(np.float32)
        memory["samples"][TODAY] += present
        memory["used"][TODAY] += np.nan_to_num(snapshot.used) * scale
        np.copyto(memory["capacity"], snapshot.capacity, where=present)
        return scale

    def count(
        self, policy: int, held: NDArray[np.float32], short: NDArray[np.bool_], scale: NDArray[np.float32]
    ) -> None:
        """Count what a policy held during the sample (resources, workloads), and where it was too little."""
        memory = self._memory
        memory["reserved"][TODAY, policy] += np.nan_to_num(held) * scale
        memory["short"][TODAY, policy] += short & (scale > 0)

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the sums and the day they are of."""
        return self._memory.state() | {"day": np.array(self._day)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a saved state."""
        self._memory.restore(state)
        self._day = int(part_of(state, "day"))

    def standings(
        self, resource: int, *, day: int = TODAY, workload: int | None = None
    ) -> tuple[Standing, ...]:
        """Return every policy's figures for a resource (row), of the fleet or of one workload (row)."""
        return standings(self.policies, self._memory.state(), resource, day=day, workload=workload)


def standings(
    policies: Sequence[str],
    sums: Mapping[str, NDArray[Any]],
    resource: int,
    *,
    day: int = TODAY,
    workload: int | None = None,
) -> tuple[Standing, ...]:
    """Return every policy's figures from a league's saved sums; nothing before the first sample."""
    if "samples" not in sums:
        return ()
    which = slice(None) if workload is None else slice(workload, workload + 1)
    samples = sums["samples"][day, resource, which].astype(np.float64)
    weight = np.nan_to_num(sums["capacity"][resource, which]).astype(np.float64)
    whole = float((samples * weight).sum())
    count = int(samples.sum())
    if count == 0 or whole == 0:
        return ()
    oracle = float((sums["used"][day, resource, which] * weight).sum()) / whole
    found = []
    for at, policy in enumerate(policies):
        reserved = float((sums["reserved"][day, at, resource, which] * weight).sum()) / whole
        found.append(
            Standing(
                policy=policy,
                samples=count,
                violation_ratio=float(sums["short"][day, at, resource, which].sum()) / count,
                reserved_ratio=reserved,
                regret_ratio=reserved - oracle,
            )
        )
    return tuple(found)


__all__ = ["TODAY", "YESTERDAY", "League", "Standing", "standings"]
