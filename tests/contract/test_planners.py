"""Every policy keeps the public contract; the registry's new entries are covered as they come."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.app import registry
from tidegate.model.resources import Resource
from tidegate.plan.every import Every
from tidegate.plan.policies.offload_first import OffloadFirst
from tidegate.plan.policies.static import Static
from tidegate.testing import planner_checks

TWO = (Resource.CPU, Resource.MEMORY)
ORDERS = {"two": TWO, "turned": TWO[::-1], "one": (Resource.GPU,)}


def small_demand(time_seconds):
    """What the oracle foresees: as little for everyone, so that it suits every fleet of the checks."""
    return np.full((1, 1), 0.01, dtype=np.float32)


def makers(resources):
    settings = registry.Settings(resources=resources, step_seconds=300, future=small_demand)
    made = {
        "offload_first": OffloadFirst,
        "every_third": lambda: Every(OffloadFirst(), 3),
        "every_fourth_static": lambda: Every(Static(), 4),
    }
    for name, factory in registry.POLICIES.items():
        made[f"policy_{name}"] = lambda factory=factory: factory(settings)[1]
    return made


def cases():
    for order, resources in ORDERS.items():
        for name, make in makers(resources).items():
            for check in planner_checks(make, resources=resources):
                yield pytest.param(check, id=f"{name}-{order}-{check.name}")


@pytest.mark.parametrize("check", list(cases()))
def test_a_policy_keeps(check):
    check()
