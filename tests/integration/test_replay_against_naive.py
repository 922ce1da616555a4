"""The pinned baselines, written again as plain loops from the design, agree with what a replay finds.

Nothing here uses the product's arithmetic: one VM after the other, one sample after the other.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from tidegate.lab.archive import load_trace
from tidegate.lab.replay import ReplaySettings, Run, replay, with_known_capacity
from tidegate.model.resources import Resource
from tidegate.sim.traces import generate_trace, write_trace

STEP = 300
HOUR_STEPS = 12


def single(value):
    """What a 32-bit float keeps of it: grants and samples are kept so."""
    return float(np.float32(value))


def next_present(samples, after):
    return samples[after] if after < len(samples) else math.nan


def naive_oracle(samples, capacity, sla):
    """a(t + 1) = u(t + 1); what is held where that is missing."""
    grants, held = [], None
    for tick in range(len(samples)):
        if held is None and not math.isnan(capacity[tick]):
            held = capacity[tick]
        grants.append(held)
        ahead = next_present(samples, tick + 1)
        if held is not None and not math.isnan(ahead):
            held = ahead
    return grants


def naive_calibrated(samples, capacity, sla):
    """a = base + m x capacity; m <- clip(m e^(v - sla) + 0.00001 v, 0.0001, 1) after each present sample."""
    grants, held, base, margin = [], None, None, 0.05
    for tick, sample in enumerate(samples):
        sold = capacity[tick]
        if held is None and not math.isnan(sold):
            held = sold
        grants.append(held)
        if not math.isnan(sample):
            short = 1 if sample > held + 0.001 * sold else 0
            margin = min(max(margin * math.exp(short - sla) + 0.00001 * short, 0.0001), 1.0)
        present = [past for past in samples[max(0, tick - HOUR_STEPS + 1) : tick + 1] if not math.isnan(past)]
        base = max(present) if present else base
        if base is not None:
            held = single(min(base + margin * sold, sold))
    return grants


def naive_measures(trace, policy, sla, warmup_ticks):
    """The measures of DESIGN 6.2 over all VMs, summed sample by sample."""
    short = count = within = 0
    demand = unmet = reserved = sold = served = 0.0
    changes = []
    for vm in range(len(trace.vms)):
        samples, capacity = trace.used[0, :, vm].tolist(), trace.capacity[0, :, vm].tolist()
        grants = policy(samples, capacity, sla)
        own_short = own_count = own_changes = 0
        for tick in range(warmup_ticks, len(samples)):
            before, grant = grants[tick - 1], grants[tick]
            if tick > warmup_ticks and before is not None:
                own_changes += abs(grant - before) > 0.01 * capacity[tick]
            if math.isnan(samples[tick]):
                continue
            own_count += 1
            own_short += samples[tick] > grant + 0.001 * capacity[tick]
            demand += samples[tick]
            unmet += max(samples[tick] - grant, 0.0)
            reserved += grant
            served += min(samples[tick], grant)
            sold += capacity[tick]
        short, count = short + own_short, count + own_count
        within += own_short / own_count <= 1.2 * sla
        changes.append(own_changes / ((len(samples) - warmup_ticks) * STEP / 86_400))
    return {
        "violation_ratio": short / count,
        "vms_within_sla_ratio": within / len(trace.vms),
        "unmet_ratio": unmet / demand,
        "reserved_ratio": reserved / sold,
        "slack_ratio": 1 - served / reserved,
        "changes_per_vm_day_p50": float(np.percentile(changes, 50)),
        "changes_per_vm_day_p99": float(np.percentile(changes, 99)),
    }


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "tiny.parquet"
    write_trace(generate_trace(vms=6, days=2, step_seconds=STEP, seed=5), path)
    return with_known_capacity(load_trace([path], resources=[Resource.CPU]))


@pytest.mark.parametrize("sla", [0.25, 0.01])
@pytest.mark.parametrize(
    ("name", "policy"), [("oracle", naive_oracle), ("calibrated_reactive", naive_calibrated)]
)
def test_the_naive_loop_agrees(trace, name, policy, sla):
    warmup_ticks = 24
    settings = ReplaySettings(
        sla=sla, warmup_seconds=warmup_ticks * STEP, decide_every_seconds=STEP, lead_steps=1, censored=False,
        seed=0,
    )  # fmt: skip
    (found,) = replay(trace, Run(policy=name, sla=sla), settings).measures
    wanted = naive_measures(trace, policy, sla, warmup_ticks)
    counted = ("violation_ratio", "vms_within_sla_ratio", "changes_per_vm_day_p50", "changes_per_vm_day_p99")
    for measure in counted:
        assert getattr(found, measure) == pytest.approx(wanted[measure], rel=1e-12, abs=0), measure
    for measure in ("unmet_ratio", "reserved_ratio", "slack_ratio"):
        # 0.01 is kept as a 32-bit float, so margins differ in the eighth digit.
        assert getattr(found, measure) == pytest.approx(wanted[measure], rel=1e-6, abs=1e-7), measure


def test_the_naive_rule_is_no_bystander(trace):
    measures = naive_measures(trace, naive_calibrated, 0.25, 24)
    assert 0.05 < measures["violation_ratio"] < 0.3
    assert 0 < measures["reserved_ratio"] < 0.9
