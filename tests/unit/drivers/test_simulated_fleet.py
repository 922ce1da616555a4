"""The simulated fleet: demand apart from use, actions that take time and fail, worlds from scenarios."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.drivers.simulated.build import build_world, read_scenario
from tidegate.drivers.simulated.fleet import Fleet, MoveCosts, SimulatedFleet
from tidegate.model.errors import InputError
from tidegate.model.outcome import Phase
from tidegate.model.plan import Plan, Reason
from tidegate.model.resources import Resource
from tidegate.model.roster import CARD, HOST, NO_CARD, Places, Roster
from tidegate.model.trace import Trace
from tidegate.plan.difference import difference
from tidegate.sim.scenario import parse_scenario

STEP = 10
GIB = 2.0**30
RESOURCES = (Resource.CPU, Resource.MEMORY, Resource.NETWORK)
SOLD = np.array([4.0, 8 * GIB, 1e9])
LINK = 0.1 * GIB
COSTS = MoveCosts(
    rehome_pause_seconds=0.0,
    migrate_pause_seconds=0.0,
    state_ratio=0.0,
    rehome_failure_ratio=0.0,
    migrate_failure_ratio=0.0,
    timeout_seconds=60.0,
    seed=1,
)


def trace(workloads=2, ticks=20, use=0.5, capacity=None):
    shape = (len(RESOURCES), ticks, workloads)
    sold = np.broadcast_to(SOLD[:, None, None], shape).astype(np.float32) if capacity is None else capacity
    return Trace(
        name="t",
        start_seconds=0,
        step_seconds=STEP,
        resources=RESOURCES,
        vms=tuple(f"vm-{row}" for row in range(workloads)),
        servers=(),
        used=sold * np.float32(use),
        capacity=sold,
    )


def fleet(workloads=2, cores=16.0):
    """One server, two cards that serve it; everybody is on the first card and may offload everything."""
    places = Places(
        names=("server", "card-a", "card-b"),
        is_card=np.array([False, True, True]),
        allocatable=np.array([[cores, 8.0, 8.0], [64 * GIB] * 3, [4e9, 1e9, 1e9]]),
        worth=np.array([[1, 0.5, 0.5], [1, 1, 1], [1, 1, 1]], dtype=np.float32),
        link_server=np.array([0, 0]),
        link_card=np.array([1, 2]),
        link_bytes_per_second=np.array([LINK, LINK]),
    )
    roster = Roster(
        ids=np.arange(workloads),
        names=[f"vm-{row}" for row in range(workloads)],
        violation_rate=np.full(workloads, 0.01, dtype=np.float32),
        priority=np.ones(workloads, dtype=np.uint8),
        floor=np.zeros((3, workloads), dtype=np.float32),
        offloadable_ratio=np.ones((3, workloads), dtype=np.float32),
    )
    return Fleet(
        roster=roster,
        places=places,
        host=np.zeros(workloads, dtype=np.int32),
        card=np.ones(workloads, dtype=np.int32),
    )


def started(costs=COSTS, workloads=2, **options):
    return SimulatedFleet(trace(workloads, **options), fleet(workloads), censored=True, costs=costs)


def want(simulated, snapshot, changes, card=None):
    """Submit what sets {(share, resource, workload): amount}, as the loop would."""
    wanted = (snapshot.grant + snapshot.in_flight).copy()
    for at, amount in changes.items():
        wanted[at] = amount
    plan = Plan(
        time_seconds=snapshot.time_seconds,
        expires_seconds=snapshot.time_seconds + STEP,
        wanted=wanted,
        card=snapshot.card if card is None else np.asarray(card, dtype=np.int32),
        reason=np.full(wanted.shape[1:], Reason.HOLD, dtype=np.uint8),
    )
    actions = difference(plan, snapshot)
    simulated.submit(actions)
    return actions


TO_CARD = {(HOST, 1, 0): 6 * GIB, (CARD, 1, 0): 2 * GIB}
"""Move 2 GiB of vm-0's memory to its card: 20 seconds, two steps, over a link of 0.1 GiB/s."""


def test_a_resize_is_immediate_and_caps_what_is_used():
    simulated = started()
    want(simulated, simulated.read(), {(HOST, 0, 0): 1.0})
    snapshot = simulated.read()
    assert snapshot.grant[HOST, 0, 0] == 1
    assert snapshot.used[0].tolist() == [1, 2]
    assert snapshot.pressed[0].tolist() == [True, False]
    assert simulated.demand[0].tolist() == [2, 2]
    assert simulated.collect().phase.tolist() == [Phase.APPLIED]


def test_a_rehome_takes_bytes_over_rate_is_in_flight_meanwhile_and_frees_nothing_before_its_end():
    simulated = started()
    actions = want(simulated, simulated.read(), TO_CARD)
    assert len(actions) == 2
    first = simulated.read()
    assert first.grant[HOST, 1, 0] == 8 * GIB
    assert first.in_flight[:, 1, 0].tolist() == [-2 * GIB, 2 * GIB]
    assert simulated.link_bytes_per_second.tolist() == pytest.approx([LINK, 0])
    assert len(simulated.collect()) == 0
    second = simulated.read()
    assert second.grant[:, 1, 0].tolist() == [6 * GIB, 2 * GIB]
    assert not second.in_flight.any()
    outcome = simulated.collect()
    assert outcome.phase.tolist() == [Phase.APPLIED] * 2
    assert sorted(outcome.amount_read_back.tolist()) == [2 * GIB, 6 * GIB]


def test_moves_that_share_a_link_take_longer():
    simulated = started()
    both = TO_CARD | {(share, row, 1): amount for (share, row, _), amount in TO_CARD.items()}
    want(simulated, simulated.read(), both)
    assert [bool(simulated.read().in_flight.any()) for _ in range(4)] == [True, True, True, False]


def test_a_move_takes_network_from_the_card_it_loads():
    simulated = started(use=0.9)
    everything = {(CARD, 2, row): 1e9 for row in range(2)} | {(HOST, 2, row): 0.0 for row in range(2)}
    want(simulated, simulated.read(), everything)
    before = simulated.read()
    want(simulated, before, TO_CARD)
    during = simulated.read()
    lost = before.used[2].sum() - during.used[2].sum()
    assert lost == pytest.approx(LINK, rel=1e-3)


def test_the_moved_share_stands_still_for_its_pause_when_the_move_ends():
    simulated = started(replace(COSTS, rehome_pause_seconds=STEP / 2), use=1.0)
    want(simulated, simulated.read(), {(HOST, 0, 0): 3.0, (CARD, 0, 0): 2.0})
    assert simulated.read().used[0, 0] == pytest.approx(3.5)
    assert simulated.read().used[0, 0] == pytest.approx(4.0)


def test_no_second_move_of_what_is_moving_and_a_resize_beside_it_adds_up():
    simulated = started()
    want(simulated, simulated.read(), TO_CARD)
    snapshot = simulated.read()
    want(simulated, snapshot, {(HOST, 1, 0): 5 * GIB, (CARD, 1, 0): 3 * GIB})
    assert simulated.collect().phase.tolist() == [Phase.REFUSED] * 2
    want(simulated, snapshot, {(HOST, 1, 0): 7 * GIB})
    assert simulated.read().grant[:, 1, 0].tolist() == [7 * GIB, 2 * GIB]


def test_a_migration_moves_every_share_to_the_new_card_together():
    simulated = started()
    want(simulated, simulated.read(), {(CARD, 0, 0): 2.0, (CARD, 1, 0): 1.0 * GIB})
    snapshot = simulated.read()
    want(simulated, snapshot, {}, card=[2, 1])
    assert simulated.read().card.tolist() == [2, 1]
    assert simulated.read().grant[CARD, :2, 0].tolist() == [2.0, GIB]


def test_a_failing_move_leaves_everything_as_it_was_and_says_so():
    simulated = started(replace(COSTS, rehome_failure_ratio=1.0))
    phases = []
    for _ in range(12):
        snapshot = simulated.read()
        outcome = simulated.collect()
        phases += outcome.phase.tolist()
        assert outcome.amount_read_back.tolist() in ([], [8 * GIB, 0], [0, 8 * GIB])
        assert snapshot.grant[:, 1, 0].tolist() == [8 * GIB, 0]
        if not snapshot.in_flight.any():
            want(simulated, snapshot, TO_CARD)
    assert set(phases) <= {Phase.REFUSED, Phase.TIMED_OUT}
    assert phases


def test_a_link_too_slow_for_the_deadline_times_out():
    simulated = started(replace(COSTS, timeout_seconds=STEP))
    want(simulated, simulated.read(), TO_CARD)
    simulated.read()
    assert simulated.collect().phase.tolist() == [Phase.TIMED_OUT] * 2
    assert not simulated.read().in_flight.any()


def _phases(seed):
    simulated = started(replace(COSTS, rehome_failure_ratio=0.5, seed=seed), workloads=16)
    shares = {HOST: 7.99 * GIB, CARD: 0.01 * GIB}
    changes = {(share, 1, row): amount for share, amount in shares.items() for row in range(16)}
    want(simulated, simulated.read(), changes)
    rows = []
    for _ in range(19):
        simulated.read()
        outcome = simulated.collect()
        rows += zip(outcome.workload_id.tolist(), outcome.phase.tolist(), strict=True)
    return rows


def test_which_moves_fail_depends_on_the_seed_alone():
    assert _phases(1) == _phases(1)
    assert _phases(1) != _phases(3)
    assert {phase for _, phase in _phases(1)} == {Phase.APPLIED, Phase.REFUSED, Phase.TIMED_OUT}


def test_who_is_not_there_yet_holds_nothing_and_gets_what_was_sold_on_arrival():
    capacity = np.broadcast_to(SOLD[:, None, None], (3, 4, 2)).astype(np.float32).copy()
    capacity[:, :2, 1] = np.nan
    simulated = SimulatedFleet(trace(ticks=4, capacity=capacity), fleet(), costs=COSTS)
    assert [simulated.read().grant[HOST, 0].tolist() for _ in range(3)] == [[4, 0], [4, 0], [4, 4]]


def test_a_short_server_serves_all_alike_and_counts_them_pressed():
    simulated = SimulatedFleet(trace(use=1.0), fleet(cores=4.0), censored=True, costs=COSTS)
    snapshot = simulated.read()
    assert snapshot.used[0].tolist() == [2, 2]
    assert snapshot.pressed[0].all()
    assert simulated.used_by_place[0].tolist() == pytest.approx([4, 0, 0])


SCENARIO = """
[[servers]]
name = "s-{n}"
count = 2
cores = 8
memory_bytes = "64GiB"
[[cards]]
name = "c-{n}"
count = 2
serves = ["s-{n}"]
cores = 4
memory_bytes = "8GiB"
link_bytes_per_second = "1GB"
[[workloads]]
name = "w-{n}"
count = 3
cores = 4
memory_bytes = "8GiB"
floor = { cpu = 0.25 }
offloadable_cpu_ratio = 0.5
"""


def test_a_world_puts_workloads_where_they_fit_and_on_a_card_that_serves_them():
    world = build_world(parse_scenario(SCENARIO, "x"))
    assert world.fleet.places.names == ("s-1", "s-2", "c-1", "c-2")
    assert np.bincount(world.fleet.host).tolist() == [2, 1]
    assert (world.fleet.card == world.fleet.host + 2).all()
    assert world.fleet.roster.floor[0].tolist() == [1, 1, 1]
    assert world.fleet.places.worth[:, 2].tolist() == [0.5, 1.0]
    assert world.start().read().used.shape == (2, 3)


def test_a_world_depends_on_its_seed_alone():
    scenario = read_scenario()
    first, again, other = (build_world(scenario, seed=seed) for seed in (1, 1, 2))
    assert first.trace.used.tobytes() == again.trace.used.tobytes()
    assert first.fleet.host.tolist() == again.fleet.host.tolist() != other.fleet.host.tolist()


def test_workloads_that_fit_nowhere_are_named_with_a_remedy():
    full = parse_scenario(SCENARIO.replace("count = 3", "count = 5"), "x")
    with pytest.raises(InputError, match=r"1 of 5 workloads fit on no server.*add servers"):
        build_world(full)


def test_a_card_that_serves_nobody_is_an_error():
    with pytest.raises(InputError, match=r"card 'c-\{n\}' serves 't-1', but no server has such a name"):
        build_world(parse_scenario(SCENARIO.replace('"s-{n}"]', '"t-{n}"]'), "x"))


def test_an_sla_for_everyone_and_one_out_of_range():
    scenario = parse_scenario(SCENARIO, "x")
    assert build_world(scenario, sla=0.05).fleet.roster.violation_rate.tolist() == pytest.approx([0.05] * 3)
    with pytest.raises(InputError, match="outside"):
        build_world(scenario, sla=0.6)


def test_a_larger_trace_gets_as_many_copies_of_the_servers_as_it_needs():
    scenario = parse_scenario(SCENARIO, "x")
    world = build_world(scenario, trace(workloads=9), grow=True)
    assert len(world.fleet.places.names) == 16
    assert world.fleet.places.names[4] == "rack-2/s-1"
    on_card = world.fleet.card != NO_CARD
    pairs = set(zip(world.fleet.places.link_server, world.fleet.places.link_card, strict=True))
    assert set(zip(world.fleet.host[on_card], world.fleet.card[on_card], strict=True)) <= pairs
    with pytest.raises(InputError, match="9 workloads fit on no server"):
        build_world(scenario, trace(workloads=9))
