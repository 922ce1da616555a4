"""Runs a policy and, beside it, ours without its forecast on the same world, and keeps the score of both.

`tidegate up` shows what comes out: what prediction saved and what it broke, counted the same way.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.app.artefacts import model_store
from tidegate.app.day_ahead import KIND, OFF, Beside, DayAheadOptions, spoken_by
from tidegate.app.registry import PLAIN_MODEL
from tidegate.app.service import Service
from tidegate.app.wiring import SHADOWS, simulated
from tidegate.forecast.profile import Profile
from tidegate.learn.observing import Observing
from tidegate.model.autonomy import Level
from tidegate.model.outcome import Phase
from tidegate.model.plan import Reason
from tidegate.model.snapshot import in_server_units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tidegate.app.resume import Resumed
    from tidegate.app.sources import LiveFleet
    from tidegate.drivers.simulated.build import World
    from tidegate.journal.sql.opening import Location
    from tidegate.journal.sql.writer import SqlJournal
    from tidegate.model.resources import Resource
    from tidegate.model.tick import Tick
    from tidegate.ports import Scorer

SHADOW_POLICY: Final = "tidegate"
SHADOW_NAME: Final = "recent peak, calibrated margin"
"""What runs in the shadow: our policy with its forecast switched off. It places shares on hosts and cards
alike, so that the difference is what prediction does."""
WARM_UP_SECONDS: Final = 86_400
"""What the policy without a forecast is shown of the time before a journal goes on."""
MOVER_RATIO_MIN: Final = 0.05
"""Changes of less than this share of a workload's capacity are not worth showing."""
MOVERS_PER_TICK: Final = 3
MOVERS_MAX: Final = 24


class Totals:
    """Sums over all ticks so far, per resource."""

    def __init__(self, resources: int) -> None:
        """Start with nothing counted."""
        self.samples = np.zeros(resources, dtype=np.int64)
        self.short = np.zeros(resources, dtype=np.int64)
        self.failed_actions = 0
        self._reserved = np.zeros(resources)
        self._capacity = np.zeros(resources)

    def add(self, tick: Tick) -> None:
        """Count one tick: samples, those that ran short, and what was held of what was sold."""
        present = ~np.isnan(tick.snapshot.used)
        self.samples += present.sum(axis=1)
        self.short += (tick.snapshot.pressed & present).sum(axis=1)
        self._reserved += np.where(present, tick.snapshot.held, 0).sum(axis=1, dtype=np.float64)
        self._capacity += np.where(present, tick.snapshot.capacity, 0).sum(axis=1, dtype=np.float64)
        self.failed_actions += int((tick.outcome.phase >= Phase.REFUSED).sum())

    @property
    def short_ratio(self) -> NDArray[np.float64]:
        """Share of samples that ran short (resources,); 0 before any."""
        return self.short / np.maximum(self.samples, 1)

    @property
    def reserved_ratio(self) -> NDArray[np.float64]:
        """Share of what was sold that was held (resources,); 0 before any."""
        return self._reserved / np.maximum(self._capacity, 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mover:
    """One big change of what a workload holds in all, and why."""

    time_seconds: int
    workload: str
    resource: Resource
    amount_from: float
    """Server units."""
    amount_to: float
    reason: Reason


class SideBySide:
    """Two loops over two fleets that were started from one world; each tick turns both."""

    def __init__(
        self,
        world: World,
        *,
        policy_name: str,
        seed: int,
        scorer: Scorer,
        journal: SqlJournal | None = None,
        day_ahead: DayAheadOptions | None = None,
        fleet: LiveFleet | None = None,
    ) -> None:
        """Stand before the first step; with a journal, the policy's ticks go there.

        ``fleet`` is one that was started from ``world`` elsewhere; without it, it is started here.

        Raises:
            InputError: nobody goes by the policy's name, or the day ahead's model can't be used.

        """
        self.world = world
        self.policy_name, self.shadow_name = policy_name, SHADOW_NAME
        self.fleet: LiveFleet = world.start() if fleet is None else fleet
        self._shadow_fleet = world.start()
        self._journal = journal
        self._beside = self._day_ahead(day_ahead or DayAheadOptions(model=OFF), seed)
        profile = Profile(step_seconds=world.trace.step_seconds)
        self._loop = simulated(
            world,
            self.fleet,
            policy_name=policy_name,
            seed=seed,
            scorer=scorer,
            journal=journal,
            learner=None if journal is None else Observing(profile, profile),
            autonomy=None if journal is None else journal.controls(Level.AUTO).autonomy,
            league=journal is not None,
            around=self._beside,
        )
        self._service = None if journal is None else Service(loop=self._loop, journal=journal)
        self._shadow = simulated(
            world, self._shadow_fleet, policy_name=SHADOW_POLICY, seed=seed, model=PLAIN_MODEL
        )
        self.allowed_ratio = float(world.fleet.roster.violation_rate.mean())
        """Share of samples that may run short, over all workloads' SLAs."""
        resources = len(world.trace.resources)
        self.totals, self.shadow_totals = Totals(resources), Totals(resources)
        self.movers: deque[Mover] = deque(maxlen=MOVERS_MAX)
        self.last: Tick | None = None
        self.ticks = 0
        """Turned since this start."""

    def close(self) -> None:
        """End the work on the day ahead."""
        self._beside.close()

    def _day_ahead(self, options: DayAheadOptions, seed: int) -> Beside:
        trace = self.world.trace
        spoken = spoken_by(
            options,
            model_store(None, self.fleet),
            trace.resources,
            step_seconds=trace.step_seconds,
            seed=seed,
        )
        self.notes = spoken.notes
        for note in self.notes:
            self.tell(KIND, note)
        return Beside(
            options,
            spoken,
            resources=trace.resources,
            step_seconds=trace.step_seconds,
            tell=partial(self.tell, KIND),
        )

    def tell(self, kind: str, sentence: str) -> None:
        """Note something a person should know in the journal, if there is one."""
        if self._journal is not None:
            self._journal.event(self.fleet.now_seconds(), kind, sentence)

    def go_on(self, where: Location) -> Resumed | None:
        """Go on from the journal; None at the first start.

        Raises:
            InputError: the journal's last step is not one of the trace.
            TidegateError: a part of the journal that is needed is missing or damaged.

        """
        resumed = None if self._service is None else self._service.go_on(where)
        if resumed is not None:
            self.fleet.go_on(resumed.after)
            step = self.world.trace.ticks - self.fleet.ticks_left
            warm_up = min(step, WARM_UP_SECONDS // self.world.trace.step_seconds)
            self._shadow_fleet.skip(step - warm_up)
            for _ in range(warm_up):
                self._shadow.tick()
        return resumed

    def tick(self) -> Tick:
        """Turn both loops once and return the policy's tick.

        Raises:
            InputError: the trace has no further step.

        """
        tick = self._loop.tick() if self._service is None else self._service.tick()
        self.totals.add(tick)
        self.shadow_totals.add(self._shadow.tick())
        self.movers.extendleft(reversed(biggest_movers(tick)))
        self.last = tick
        self.ticks += 1
        return tick


def identity_of(world: World, *, policy_name: str, seed: int) -> dict[str, str]:
    """Return what a journal of a simulated fleet is of: another fleet's can't be gone on from."""
    return {
        "loop": "simulated",
        "fleet": world.identity(),
        "policy": policy_name,
        "seed": str(seed),
        "league": ",".join((policy_name, *SHADOWS)),
    }


def biggest_movers(tick: Tick) -> Sequence[Mover]:
    """Return the changes of one tick's actions that are largest for their workload, largest first."""
    actions, snapshot = tick.actions, tick.snapshot
    if len(actions) == 0:
        return []
    before, after = snapshot.held, _wanted_in_all(tick)
    with np.errstate(invalid="ignore", divide="ignore"):
        change = np.nan_to_num(np.abs(after - before) / snapshot.capacity, posinf=0.0)
    largest = change.argmax(axis=0)
    size = change[largest, np.arange(largest.size)]
    order = np.argsort(-size, kind="stable")[:MOVERS_PER_TICK]
    return [
        Mover(
            time_seconds=snapshot.time_seconds,
            workload=snapshot.roster.names[row],
            resource=snapshot.resources[largest[row]],
            amount_from=float(before[largest[row], row]),
            amount_to=float(after[largest[row], row]),
            reason=Reason(int(tick.plan.reason[largest[row], row])),
        )
        for row in order
        if size[row] >= MOVER_RATIO_MIN
    ]


def _wanted_in_all(tick: Tick) -> NDArray[np.float32]:
    """What each workload holds in all once every action is through: (resources, workloads), server units."""
    wanted = np.where(np.isnan(tick.plan.wanted), tick.snapshot.grant, tick.plan.wanted)
    return in_server_units(wanted, tick.snapshot)


__all__ = ["Mover", "SideBySide", "Totals", "biggest_movers", "identity_of"]
