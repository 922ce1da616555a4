"""The benchmarks of cards count what they say: each bar can fail, and nothing real is needed to see it."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest

from tidegate.agents.fleet.records import Ended
from tidegate.examples.keyvalue.load import Found
from tidegate.lab.bench.cards import namespaces
from tidegate.lab.bench.device.memory_server import MemoryServer
from tidegate.lab.bench.migration import handoffs, ill_link, three_cards
from tidegate.model.errors import InputError
from tidegate.model.plan import Reason, host_plan
from tidegate.plan.difference import difference


def found(**values):
    given = {
        "requests": 1000,
        "lost": 0,
        "redirects": 1,
        "reconnects": 0,
        "acknowledged_writes": 500,
        "acknowledged_writes_missing": 0,
        "wrong_reads": 0,
        "latency_p50_seconds": 0.01,
        "latency_p99_seconds": 0.05,
        "latency_max_seconds": 0.1,
        "seconds": 10.0,
    }
    return Found(**given | values)


def holds(rows):
    return {row.name: row.holds for row in rows if row.holds is not None}


def test_hand_offs_hold_where_nothing_is_lost_and_the_pause_is_short():
    asked = handoffs.Asked(migrations=2, requests=1500)
    ended = tuple(Ended(succeeded=True, pause_seconds=0.04) for _ in range(2))
    good = handoffs.HandedOff(ended=ended, loads=(found(), found()))
    assert set(holds(good.rows(asked)).values()) == {True}


@pytest.mark.parametrize("wrong", ["lost", "acknowledged_writes_missing", "wrong_reads"])
def test_whatever_is_lost_in_a_hand_off_counts(wrong):
    bad = handoffs.HandedOff(
        ended=(Ended(succeeded=True, pause_seconds=0.2), Ended(succeeded=False, reason="no")),
        loads=(found(**{wrong: 1}),),
    )
    said = holds(bad.rows(handoffs.Asked(migrations=2, requests=1500)))
    assert said == {
        "handoff_requests_lost": False,
        "handoff_requests": False,
        "handoff_migrations": False,
        "handoff_pause_ms_p99": False,
    }


def test_an_application_keeps_its_latency_by_its_clients_p99_of_the_last_part():
    loads = {
        "well": found(latency_p99_between=(0.1, 0.1, 0.9, 0.1)),
        "helped": found(latency_p99_between=(1.0, 1.2, 1.0, 0.2)),
        "late": found(latency_p99_between=(1.0, 1.2, 1.0, 0.3)),
        "silent": found(latency_p99_between=(1.0, 1.2, 1.0, 0.0)),
    }
    made = three_cards.ThreeCards(
        before=dict.fromkeys(loads, "a"),
        after=dict.fromkeys(loads, "a") | {"helped": "b"},
        loads=loads,
        own_p99_seconds=dict.fromkeys(loads, 0.1) | {"silent": None},
        fleet_said=(),
    )
    rows = {row.name: row for row in made.rows(three_cards.Asked())}
    assert rows["apps_within_latency_sla_ratio"].value == 0.5
    assert rows["apps_within_latency_sla_ratio"].holds is False
    assert rows["apps_within_latency_sla_ratio_without_fleet"].value == 0.25
    assert rows["apps_within_latency_sla_ratio_own"].value == 0.75
    assert rows["fleet_moved_applications"].value == 1


@pytest.mark.parametrize(
    ("left", "stayed", "ticks"),
    [
        (9.0, 30.0, (1, 0)),
        (30.0, 60.0, (3, 3)),
        (30.1, 60.1, (4, 4)),
        (math.inf, math.inf, (math.inf, math.inf)),
    ],
)
def test_ticks_of_a_link_that_gets_ill_are_those_begun(left, stayed, ticks):
    asked = ill_link.Asked(every_seconds=10.0, dwell_seconds=30.0)
    made = ill_link.Shifted(
        left_seconds=left, stayed_seconds=stayed, recovered_seconds=0.1, strayed=0, fleet_said=()
    )
    rows = {row.name: row for row in made.rows(asked)}
    assert (rows["link_shift_ticks"].value, rows["link_back_after_dwell"].value) == ticks
    assert rows["link_shift_ticks"].holds is (ticks[0] <= 3)


def test_without_root_it_says_so_and_makes_nothing(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(InputError, match="run this as root"), namespaces.namespaces("a"):
        pass


def test_a_server_in_memory_tells_how_long_a_change_took():
    server = MemoryServer("m", 20, seed=1)
    server.read()
    snapshot = server.read()
    assert np.isnan(server.path_seconds(0)).sum() == 0
    assert server.path_seconds(0).size == 0
    wanted = snapshot.grant[0] * 1.5
    server.submit(difference(host_plan(snapshot, wanted, Reason.GROW_ON_FORECAST), snapshot))
    assert server.path_seconds(0).size == 1
    assert 0 < server.path_seconds(1)[0] < 5
    assert server.read().grant[0] == pytest.approx(wanted)
