"""Replay speed: VM-samples a second of each policy on a made-up trace, beside a plain copy of the samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate.app.stopwatch import StageTimer
from tidegate.lab.archive import generated_trace
from tidegate.lab.bench.result import Benchmark, Row, machine, row
from tidegate.lab.replay import ReplaySettings, Run, replay, with_known_capacity

if TYPE_CHECKING:
    from collections.abc import Sequence

VMS: Final = 250
DAYS: Final = 3.0
STEP_SECONDS: Final = 300
POLICIES: Final = ("vpa", "autopilot_window", "calibrated_reactive", "tidegate", "oracle")
MONTH_DAYS: Final = 30
MINUTES_LIMIT: Final = 3.0
"""A month of 250 VMs through these policies should take no longer on two cores."""


def bench_replay(policies: Sequence[str], *, seed: int) -> Benchmark:
    """Measure each policy alone, in this process; a month's time is scaled up from three days."""
    trace = with_known_capacity(generated_trace(vms=VMS, days=DAYS, step_seconds=STEP_SECONDS, seed=seed))
    settings = ReplaySettings(
        sla=0.01,
        warmup_seconds=86_400,
        decide_every_seconds=STEP_SECONDS,
        lead_steps=1,
        censored=False,
        seed=seed,
    )
    samples = trace.used.size
    watch = StageTimer()
    with watch.stage("copy"):
        trace.used.copy()
    copy_seconds = max(watch.total_seconds["copy"], 1e-9)
    rows: list[Row] = []
    total_seconds = 0.0
    for name in policies:
        seconds = replay(trace, Run(policy=name, sla=settings.sla), settings).seconds
        total_seconds += seconds
        rows.append(row(f"{name}.samples_per_second", samples / seconds, "1/s", direction="min"))
        rows.append(row(f"{name}.over_copy_ratio", seconds / copy_seconds, "ratio"))
    month = total_seconds * MONTH_DAYS / DAYS / 60 / 2
    rows.append(row("month_of_250_vms_minutes", month, "min", MINUTES_LIMIT))
    return Benchmark(area="replay", machine=machine(), seed=seed, rows=tuple(rows))
