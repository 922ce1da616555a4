"""Builds simulated fleets: a scenario and a trace make places, a roster and who is where.

`tidegate.app.wiring` plugs a loop into what comes out of here; commands get scenarios and demand here too.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.drivers.simulated.fleet import Fleet, SimulatedFleet
from tidegate.drivers.simulated.moves import MoveCosts
from tidegate.model.byte_amounts import parse_bytes
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.model.roster import NO_CARD, SHARES, Places, Roster
from tidegate.model.snapshot import Snapshot
from tidegate.sim.scenario import NUMBER, Scenario, amounts_of, read_scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tidegate.model.trace import Trace
    from tidegate.sim.scenario import Cards, Workloads

PLACED_BY: Final = (Resource.CPU, Resource.MEMORY, Resource.GPU)
"""What a server must still have to sell to take a VM; network and storage are shared by everyone on it."""
RACKS_MAX: Final = 4096
"""Most copies of a scenario that a trace larger than it is spread over."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """What a simulated fleet is started from; the same world may be started more than once."""

    trace: Trace
    fleet: Fleet
    costs: MoveCosts

    def start(self, *, censored: bool = True) -> SimulatedFleet:
        """Return a fleet that stands before the first step; ``censored`` hides demand above the grant."""
        return SimulatedFleet(self.trace, self.fleet, censored=censored, costs=self.costs)

    def identity(self) -> str:
        """Return its name, with a digest of its demand and of what was agreed with whom."""
        roster = self.fleet.roster
        digest = hashlib.blake2b(digest_size=8)
        for values in (
            self.trace.used,
            self.trace.capacity,
            roster.violation_rate,
            roster.floor,
            roster.priority,
        ):
            digest.update(np.ascontiguousarray(values).view(np.uint8).data)
        return f"{self.trace.name} ({digest.hexdigest()})"

    def template(self) -> Snapshot:
        """Return a snapshot before the first step: who and what there is, with nothing known of them."""
        shape = self.trace.used.shape[0], self.trace.used.shape[2]
        unknown = np.full(shape, np.nan, dtype=np.float32)
        nothing = np.zeros((SHARES, *shape), dtype=np.float32)
        return Snapshot(
            time_seconds=self.trace.start_seconds,
            step_seconds=self.trace.step_seconds,
            resources=self.trace.resources,
            roster=self.fleet.roster,
            places=self.fleet.places,
            host=self.fleet.host,
            card=self.fleet.card,
            used=unknown,
            capacity=unknown,
            pressed=np.zeros(shape, dtype=np.bool_),
            grant=nothing,
            in_flight=nothing,
        )


def build_world(
    scenario: Scenario,
    trace: Trace | None = None,
    *,
    sla: float | None = None,
    seed: int | None = None,
    grow: bool = False,
) -> World:
    """Return the world of a scenario, with the installed demand or that of a trace.

    The VMs of a trace take the classes of the scenario in the proportion of their counts, seeded; what each
    was sold is its largest capacity. ``sla`` replaces the violation rate of every class. With ``grow`` a
    trace that does not fit gets as many copies of the scenario's servers and cards as it needs.

    Raises:
        InputError: the SLA is outside (0, 0.5], a card serves no server, workloads don't fit, or the
            installed series are not installed.

    """
    if sla is not None and not 0 < sla <= 0.5:
        raise InputError(f"--sla {sla:g} is outside (0, 0.5]; 0.01 allows 1 % of the samples to run short")
    used_seed = scenario.seed if seed is None else seed
    if trace is None:
        trace = _installed(scenario, used_seed)
        of_class = np.repeat(
            np.arange(len(scenario.workloads)), [table.count for table in scenario.workloads]
        )
    else:
        of_class = _drawn_classes(scenario, len(trace.vms), used_seed)
    with np.errstate(invalid="ignore"):
        sold = np.nan_to_num(np.fmax.reduce(trace.capacity, axis=1)).astype(np.float64)
    roster = _roster(scenario.workloads, of_class, trace, sold, sla)
    places, host = _placed(scenario, trace, sold, seed=used_seed, grow=grow)
    fleet = Fleet(roster=roster, places=places, host=host, card=_cards_of(host, places, sold[0]))
    return World(trace=trace, fleet=fleet, costs=_costs(scenario))


def _installed(scenario: Scenario, seed: int) -> Trace:
    from tidegate.sim.traces.installed import installed_trace

    sold = {
        resource: np.concatenate([np.full(table.count, table.sold[resource]) for table in scenario.workloads])
        for resource in Resource
    }
    return installed_trace(sold, [name for table in scenario.workloads for name in table.names], seed=seed)


def _drawn_classes(scenario: Scenario, vms: int, seed: int) -> NDArray[np.int64]:
    counts = np.array([table.count for table in scenario.workloads], dtype=np.float64)
    return np.random.default_rng(seed).choice(counts.size, size=vms, p=counts / counts.sum())


def _roster(
    classes: Sequence[Workloads],
    of_class: NDArray[np.int64],
    trace: Trace,
    sold: NDArray[np.float64],
    sla: float | None,
) -> Roster:
    rates = np.array(
        [table.sla_violation_rate if sla is None else sla for table in classes], dtype=np.float32
    )
    floors = np.array([[table.floors[resource] for table in classes] for resource in trace.resources])
    offloadable = np.array(
        [[table.offloadable[resource] for table in classes] for resource in trace.resources]
    )
    return Roster(
        ids=np.arange(len(trace.vms), dtype=np.int64),
        names=trace.vms,
        violation_rate=rates[of_class],
        priority=np.array([table.priority for table in classes], dtype=np.uint8)[of_class],
        floor=(floors[:, of_class] * sold).astype(np.float32),
        offloadable_ratio=offloadable[:, of_class].astype(np.float32),
    )


def _placed(
    scenario: Scenario, trace: Trace, sold: NDArray[np.float64], *, seed: int, grow: bool
) -> tuple[Places, NDArray[np.int32]]:
    """Return the places and where each VM is, on as few copies of the scenario as hold them all."""
    racks = 1
    while True:
        places = _places(scenario, trace.resources, racks)
        host = _first_fit(scenario, places, trace.resources, sold, seed)
        left_out = np.flatnonzero(host < 0)
        if left_out.size == 0:
            return places, host
        racks *= 2
        if not grow or racks > RACKS_MAX:
            remedy = "add servers, or raise placement.cpu_oversubscription_ratio"
            if grow:
                remedy = "name a scenario with larger servers with --scenario"
            raise InputError(
                f"{left_out.size} of {host.size} workloads fit on no server, the first is "
                f"'{trace.vms[left_out[0]]}'; {remedy}"
            )


def _first_fit(
    scenario: Scenario,
    places: Places,
    resources: tuple[Resource, ...],
    sold: NDArray[np.float64],
    seed: int,
) -> NDArray[np.int32]:
    """Put each VM, in a seeded order, on the first server that may still sell so much; -1 where none may."""
    rows = [row for row, resource in enumerate(resources) if resource in PLACED_BY]
    ratio = {
        Resource.CPU: scenario.placement.cpu_oversubscription_ratio,
        Resource.MEMORY: scenario.placement.memory_oversubscription_ratio,
    }
    servers = np.flatnonzero(~places.is_card)
    oversold = np.array([ratio.get(resources[row], 1.0) for row in rows])[:, None]
    left = places.allocatable[rows][:, servers] * oversold
    host = np.full(sold.shape[1], -1, dtype=np.int32)
    for vm in np.random.default_rng(seed).permutation(sold.shape[1]):
        need = sold[rows, vm]
        fits = (left >= need[:, None] * (1 - 1e-9)).all(axis=0)
        if fits.any():
            at = int(fits.argmax())
            left[:, at] -= need
            host[vm] = servers[at]
    return host


def _places(scenario: Scenario, resources: tuple[Resource, ...], racks: int) -> Places:
    """Return the scenario's servers and cards, ``racks`` times over."""
    names = [name for table in scenario.servers for name in table.names]
    servers = len(names)
    tables = [table for table in scenario.servers for _ in table.names]
    amounts = [amounts_of(table) for table in tables]
    worth = [1.0] * servers
    links: list[tuple[int, int, float]] = []
    for table in scenario.cards:
        for number, name in enumerate(table.names, start=1):
            rate = parse_bytes(table.link_bytes_per_second)
            links += [(server, len(names), rate) for server in _served(table, number, names[:servers])]
            names.append(name)
            amounts.append(amounts_of(table))
            worth.append(table.card_core_ratio)
    count = len(names)
    core_rows = np.array([[resource is Resource.CPU] for resource in resources])
    link = np.array(links, dtype=np.float64).reshape(-1, 3)
    offset = np.repeat(np.arange(racks) * count, link.shape[0])
    return Places(
        names=tuple(names)
        if racks == 1
        else tuple(f"rack-{r}/{n}" for r in range(1, racks + 1) for n in names),
        is_card=np.tile(np.arange(count) >= servers, racks),
        allocatable=np.tile(np.array([[of[resource] for of in amounts] for resource in resources]), racks),
        worth=np.tile(np.where(core_rows, np.array(worth), 1.0).astype(np.float32), racks),
        link_server=np.tile(link[:, 0].astype(np.int64), racks) + offset,
        link_card=np.tile(link[:, 1].astype(np.int64), racks) + offset,
        link_bytes_per_second=np.tile(link[:, 2], racks),
    )


def _served(card: Cards, number: int, servers: Sequence[str]) -> list[int]:
    """Return the servers that one card serves, in order, each once."""
    patterns = [pattern.replace(NUMBER, str(number)) for pattern in card.serves]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in servers):
            raise InputError(
                f"card '{card.name}' serves '{pattern}', but no server has such a name; mend its 'serves'"
            )
    return [at for at, name in enumerate(servers) if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _cards_of(host: NDArray[np.int32], places: Places, sold: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return each VM's card: of those that serve its server, the one least sold so far for its cores."""
    card = np.full(host.shape, NO_CARD, dtype=np.int32)
    per_unit = np.zeros(len(places.names))
    for server in np.unique(host):
        cards = places.cards_of(int(server))
        if cards.size == 0:
            continue
        for vm in np.flatnonzero(host == server):
            chosen = cards[per_unit[cards].argmin()]
            card[vm] = chosen
            per_unit[chosen] += sold[vm] / max(float(places.allocatable[0, chosen]), 1e-9)
    return card


def _costs(scenario: Scenario) -> MoveCosts:
    moves = scenario.moves
    return MoveCosts(
        rehome_pause_seconds=moves.rehome_pause_seconds,
        migrate_pause_seconds=moves.migrate_pause_seconds,
        state_ratio=moves.state_ratio,
        rehome_failure_ratio=moves.rehome_failure_ratio,
        migrate_failure_ratio=moves.migrate_failure_ratio,
        timeout_seconds=moves.timeout_seconds,
        seed=moves.seed,
    )


__all__ = ["Scenario", "World", "build_world", "read_scenario"]
