"""A card's own applications as one more server of its fast loop: sampled, and sized as ordered."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.agents.agent.agent import MOVED_RATIO
from tidegate.agents.device.budgeting import budget_of
from tidegate.agents.servers.sent import NANOSECONDS
from tidegate.agents.servers.servers import STALE_STEPS
from tidegate.model.application import Amounts, ApplicationState
from tidegate.model.outcome import Outcome, Phase
from tidegate.model.refusals import Because, Refusal
from tidegate.model.resources import Resource
from tidegate.model.roster import HOST, Roster
from tidegate.wire.frames import Greeting, Sample, ServerRoster, server_snapshot
from tidegate.wire.orders import ServerOutcomes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tidegate.agents.device.records import Adjustment, Application
    from tidegate.agents.device.samples import Sample as Seen
    from tidegate.agents.device.services.device import Device
    from tidegate.agents.servers.servers import Servers
    from tidegate.model.snapshot import Snapshot
    from tidegate.wire.orders import ServerOrders

FIELDS: Final = {
    Resource.CPU: "cpu_cores",
    Resource.MEMORY: "memory_bytes",
    Resource.GPU: "gpu_fraction",
    Resource.NETWORK: "network_bytes_per_second",
    Resource.STORAGE: "storage_bytes_per_second",
}
PRESSED_RATIO: Final = 0.97
"""Use from this share of what is held on is pressed: demand was at least that."""
THROTTLED_RATIO: Final = 0.02
"""As is CPU, where it was throttled for more than this share of the time."""


@dataclass(slots=True, kw_only=True)
class OwnApplications:
    """Tells `Servers` of the applications of its own card, and carries its orders out."""

    device: Device
    servers: Servers
    resources: tuple[Resource, ...]
    step_seconds: int
    _applications: tuple[Application, ...] = ()
    _who: ServerRoster | None = None
    _told: Sample | None = None
    _number: int = 0
    _ids: dict[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The card's, which it goes by among servers."""
        return self.device.card.name

    @property
    def servers_of(self) -> tuple[str, ...]:
        """Whose work each application does, as of the last sample; empty for nobody's."""
        return tuple(one.spec.server for one in self._applications)

    def greet(self) -> None:
        """Join the fleet."""
        self.servers.greet(self._greeting)

    @property
    def ceilings(self) -> NDArray[np.float32]:
        """Most each could ever hold here (resources, applications), as of the last sample.

        Not the fleet's budgets: these follow from what is expected, and would hold it down for ever.
        """
        allocatable = self.device.card.room.allocatable
        return self._frame([one.spec.ceiling.over(allocatable) for one in self._applications], math.nan)

    @property
    def reserved(self) -> NDArray[np.float32]:
        """What is kept for each (resources, applications), as of the last sample; NaN where nothing is."""
        return self._frame([one.held.over(one.amounts) for one in self._applications], math.nan)

    @property
    def allocatable(self) -> NDArray[np.float64]:
        """What may be granted on the card (resources,), base units; infinite where unknown."""
        known = self.device.card.room.allocatable.known()
        return np.array([known.get(FIELDS[resource], math.inf) for resource in self.resources])

    def sample(self) -> None:
        """Tell how everyone is: of those that serve now, as last sampled."""
        card = self.device.card
        with card.lock:
            serving = [one for one in card.applications.values() if one.state is ApplicationState.RUNNING]
            allocatable = card.room.allocatable
        # Who was never sampled is no row yet: a policy that knows nothing of it would give it all there is.
        pairs = ((one, self.device.profiling.latest(one.name)) for one in serving)
        seen = [(one, latest) for one, latest in pairs if latest is not None]
        running = tuple(one for one, _ in seen)
        if self._who is None or not _same(running, self._applications):
            version = 1 if self._who is None else self._who.version + 1
            self._who = ServerRoster(
                version=version,
                roster=roster_of(running, self.resources),
                settable=np.ones((len(self.resources), len(running)), dtype=np.bool_)
                & _may_be_sized(running, self.resources),
            )
            self._ids = dict(zip(self._who.roster.ids.tolist(), (one.name for one in running), strict=True))
            self.servers.roster(self.name, self._who)
        self._applications = running
        self._number += 1
        samples = [sample for _, sample in seen]
        self._told = self._sample(running, samples, allocatable)
        self.servers.sample(self.name, self._told)

    @property
    def snapshot(self) -> Snapshot | None:
        """What was told last; None where nothing ever was."""
        if self._who is None or self._told is None:
            return None
        return server_snapshot(self._greeting, self._who, self._told)

    @property
    def _greeting(self) -> Greeting:
        return Greeting(
            server=self.name,
            incarnation="own",
            resources=self.resources,
            step_seconds=self.step_seconds,
            allocatable=self.allocatable,
        )

    async def carry_out(self) -> int:
        """Do what was ordered since the last call; returns how many sets of orders that were."""
        done = 0
        while (orders := self.servers.next_orders(self.name)) is not None:
            self.servers.outcomes(self.name, await self._carried_out(orders))
            done += 1
        return done

    def _sample(self, running: Sequence[Application], latest: Sequence[Seen], allocatable: Amounts) -> Sample:
        now = self.device.card.now()
        fresh = np.array([_is_fresh(one, now, self.step_seconds) for one in latest], dtype=np.bool_)
        used = self._frame([one.used for one in latest], math.nan)
        used[:, ~fresh] = np.nan
        most = [_smaller(budget_of(one, now), one.spec.ceiling).over(allocatable) for one in running]
        capacity = self._frame(most, math.nan)
        held = self._frame([one.held.over(one.amounts) for one in running], math.nan)
        grant = np.where(np.isnan(held), capacity, held)  # without a limit it may have all there is
        throttled = [one.throttled_seconds / one.seconds for one in latest]
        with np.errstate(invalid="ignore"):
            pressed = used >= PRESSED_RATIO * grant
        if Resource.CPU in self.resources:
            pressed[self.resources.index(Resource.CPU)] |= (np.array(throttled) > THROTTLED_RATIO) & fresh
        return Sample(
            number=self._number,
            roster_version=0 if self._who is None else self._who.version,
            time_nanoseconds=now,
            used=used,
            capacity=capacity,
            grant=grant,
            pressed=pressed,
        )

    def _frame(self, amounts: Sequence[Amounts], unknown: float) -> NDArray[np.float32]:
        rows = [[_or(getattr(one, FIELDS[each]), unknown) for one in amounts] for each in self.resources]
        return np.array(rows, dtype=np.float32).reshape(len(self.resources), len(amounts))

    async def _carried_out(self, orders: ServerOrders) -> ServerOutcomes:
        phases = np.full(len(orders), Phase.REFUSED, dtype=np.uint8)
        found = orders.amount_from.copy()
        for row, identifier in enumerate(orders.workload_id.tolist()):
            name = self._ids.get(identifier)
            if name is None or self.device.card.now() > orders.expires_nanoseconds:
                continue
            what = FIELDS[self.resources[int(orders.resource_row[row])]]
            amount = float(orders.amount_to[row])
            wanted = Amounts(**{what: amount if what in _RATIOS else round(amount)})  # type: ignore[arg-type]
            try:
                decided_on = float(orders.amount_from[row])
                said = await self.device.do(partial(self._adjusted, name, wanted, what, decided_on))
            except Refusal:
                continue
            phases[row] = said.phase
            found[row] = _or(getattr(said.applied, what), math.nan)
        outcome = Outcome(
            workload_id=orders.workload_id,
            resource_row=orders.resource_row,
            share=np.full(len(orders), HOST, dtype=np.uint8),
            phase=phases,
            amount_read_back=found,
        )
        return ServerOutcomes(number=orders.number, outcome=outcome)

    def _adjusted(self, name: str, wanted: Amounts, what: str, decided_on: float) -> Adjustment:
        """Size an application, unless somebody has since this was decided.

        Raises:
            Refusal: it holds something else now, for a time or for good; or the card refuses.

        """
        card = self.device.card
        with card.alone(name):
            now = card.application(name)
            held = _or(getattr(now.held.over(now.amounts), what), math.nan)
            moved = math.isfinite(decided_on) and abs(held - decided_on) > MOVED_RATIO * abs(decided_on)
            if moved or what in now.temporary:
                raise Refusal(Because.STALE, f"application {name} was sized since; decide again")
            return self.device.sizing.adjust(name, wanted)


_RATIOS: Final = frozenset({"cpu_cores", "gpu_fraction"})


def roster_of(running: Sequence[Application], resources: Sequence[Resource]) -> Roster:
    """Return applications as a roster; identifiers are those of their names, wherever they run."""
    floors = [[_or(getattr(one.spec.floor, FIELDS[each]), 0.0) for one in running] for each in resources]
    shape = len(resources), len(running)
    return Roster(
        ids=np.array([identifier_of(one.name) for one in running], dtype=np.int64),
        names=tuple(one.name for one in running),
        violation_rate=np.array([one.spec.sla.violation_rate for one in running], dtype=np.float32),
        priority=np.array([one.spec.sla.priority for one in running], dtype=np.uint8),
        floor=np.array(floors, dtype=np.float32).reshape(shape),
        offloadable_ratio=np.ones(shape, dtype=np.float32),
    )


def identifier_of(name: str) -> int:
    """Return a number for an application's name, the same on every card."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def _may_be_sized(running: Sequence[Application], resources: Sequence[Resource]) -> NDArray[np.bool_]:
    """Return what each was given an amount of, but for a time: that stands until it is over.

    Where no amount was agreed there is no limit to move.
    """
    rows = [
        [
            getattr(one.amounts, FIELDS[each]) is not None and FIELDS[each] not in one.temporary
            for one in running
        ]
        for each in resources
    ]
    return np.array(rows, dtype=np.bool_).reshape(len(resources), len(running))


def _smaller(one: Amounts, other: Amounts) -> Amounts:
    mine, its = one.known(), other.known()
    both = {name: min(mine.get(name, math.inf), its.get(name, math.inf)) for name in mine.keys() | its.keys()}
    return Amounts(**both)  # type: ignore[arg-type] # names and types are the fields'


def _same(one: Sequence[Application], other: Sequence[Application]) -> bool:
    """Return whether the same applications are there on the same terms; what they hold may differ."""
    return len(one) == len(other) and all(
        _terms(mine) == _terms(its) for mine, its in zip(one, other, strict=True)
    )


def _terms(one: Application) -> tuple[object, ...]:
    return one.name, one.epoch, one.spec, one.amounts.known().keys(), one.temporary.keys()


def _is_fresh(seen: Seen, now_nanoseconds: int, step_seconds: float) -> bool:
    """Return whether a sample says how an application is now: the next one of its rate is not overdue."""
    most = STALE_STEPS * max(step_seconds, seen.seconds)
    return now_nanoseconds - seen.time_nanoseconds <= most * NANOSECONDS


def _or(amount: float | None, unknown: float) -> float:
    return unknown if amount is None else float(amount)
