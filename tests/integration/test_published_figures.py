"""The pinned rules reproduce the figures published for Bitbrains, August 2013, VMs 1-250."""

from __future__ import annotations

import pytest

from tidegate.lab.archive import load_trace
from tidegate.lab.replay import ReplaySettings, Run, replay, with_known_capacity
from tidegate.model.resources import Resource

pytestmark = pytest.mark.shared

PUBLISHED = {
    # policy, SLA: CPU then memory; violations, unmet, reserved, changes a day p99
    ("oracle", 0.01): ((0.0, 0.0, 0.1839, 141), (0.0, 0.0, 0.0590, 227)),
    ("calibrated_reactive", 0.01): ((0.0092, 0.0060, 0.2549, 31), (0.0100, 0.0082, 0.1682, 36)),
    ("calibrated_reactive", 0.001): ((0.0011, 0.0007, 0.3940, 27), (0.0010, 0.0013, 0.3253, 33)),
    ("vpa", 0.01): ((0.0148, 0.0128, 0.3886, 11), None),
}
"""To the digits they were published with."""


@pytest.fixture(scope="module")
def august(shared_traces):
    path = shared_traces / "bitbrains" / "2013-08-vms-001-250.parquet"
    return with_known_capacity(load_trace([path], resources=(Resource.CPU, Resource.MEMORY)))


@pytest.mark.parametrize("run", PUBLISHED, ids=lambda run: f"{run[0]}-{run[1]}")
def test_a_pinned_rule_reproduces_its_figures(run, august):
    policy, sla = run
    settings = ReplaySettings(
        sla=sla,
        warmup_seconds=7 * 86_400,
        decide_every_seconds=300,
        lead_steps=1,
        censored=False,
        seed=0,
    )
    measures = replay(august, Run(policy=policy, sla=sla), settings).measures
    for found, published in zip(measures, PUBLISHED[run], strict=True):
        if published is None:
            continue
        violations, unmet, reserved, changes = published
        assert found.violation_ratio == pytest.approx(violations, rel=0.03, abs=6e-5)
        assert found.unmet_ratio == pytest.approx(unmet, rel=0.03, abs=6e-5)
        assert found.reserved_ratio == pytest.approx(reserved, rel=0.003)
        assert found.changes_per_vm_day_p99 == pytest.approx(changes, rel=0.03, abs=0.55)
