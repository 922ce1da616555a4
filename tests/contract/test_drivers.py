"""The simulated fleet keeps the public contract of drivers, at every lead and with and without places."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.drivers.simulated.fleet import Fleet, SimulatedFleet
from tidegate.model.resources import Resource
from tidegate.model.roster import NO_CARD, one_unbounded_server
from tidegate.model.trace import Trace
from tidegate.testing import driver_checks, places_of, roster_of

TICKS, VMS = 40, 5


def recorded(*, seed=7):
    rng = np.random.default_rng(seed)
    capacity = np.ones((2, TICKS, VMS), dtype=np.float32) * np.float32([[[4.0]], [[16e9]]])
    capacity[:, :3, 2] = np.nan  # comes late
    used = rng.random((2, TICKS, VMS), dtype=np.float32) * capacity
    used[:, 10:14, 1] = np.nan  # goes silent
    return Trace(
        name="recorded",
        start_seconds=1_704_067_200,
        step_seconds=300,
        resources=(Resource.CPU, Resource.MEMORY),
        vms=tuple("abcde"),
        servers=(),
        used=used,
        capacity=capacity,
    )


def simulated(*, lead_steps, censored, bounded):
    places = one_unbounded_server(2)
    if bounded:
        places = places_of(servers=[[8.0, 16.0], [4e10, 8e10]], cards=[[8.0], [1e10]])
    fleet = Fleet(
        roster=roster_of(VMS, resources=2, offloadable_ratio=0.5),
        places=places,
        host=np.arange(VMS, dtype=np.int32) % 2 if bounded else np.zeros(VMS, dtype=np.int32),
        card=np.full(VMS, 2 if bounded else NO_CARD, dtype=np.int32),
    )
    return SimulatedFleet(recorded(), fleet, censored=censored, lead_steps=lead_steps)


def cases():
    for lead_steps in (1, 2, 4):
        for bounded in (False, True):
            kind = {"lead_steps": lead_steps, "censored": bounded, "bounded": bounded}
            for check in driver_checks(lambda kind=kind: simulated(**kind)):
                where = "places" if bounded else "bare"
                yield pytest.param(check, id=f"lead_{lead_steps}-{where}-{check.name}")


@pytest.mark.parametrize("check", list(cases()))
def test_the_simulated_fleet_keeps(check):
    check()
