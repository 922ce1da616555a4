"""What the words of a report mean: its measures, its policies, and what it can't show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

POLICIES: Final[Mapping[str, str]] = {
    "static": "Everyone holds what they were sold, always: the cost of doing nothing.",
    "reactive": "The highest use of the last 12 samples (an hour at five minutes) plus 20 %: a common rule.",
    "calibrated_reactive": (
        "The highest use of the last hour plus a margin of its own for each VM and resource, which grows "
        "after every sample that ran short and shrinks after every other, so that the SLA is kept. It is the "
        "rule to beat, and what tidegate falls back to."
    ),
    "vpa": (
        "The rule of the Kubernetes Vertical Pod Autoscaler: the 90th percentile of past use, in which a "
        "day-old sample counts half (memory: of daily peaks), plus 15 %. It does not know the SLA."
    ),
    "autopilot_window": (
        "The moving-window rule of Google Autopilot: a high percentile of past use (memory 98th, others "
        "95th) in which heavy use weighs more, the highest such value of the last hour, plus 10 %. It does "
        "not know the SLA."
    ),
    "n_sigma": (
        "The mean of the last ten hours plus five standard deviations, a peak predictor published for whole "
        "machines and here used for each VM. It does not know the SLA."
    ),
    "offload_first": (
        "Moves everything that may run on an offload card there while there is room, and forecasts nothing."
    ),
    "tidegate": (
        "Forecasts the next peak of each VM and resource and grants what, by its own record, keeps the SLA; "
        "where the forecast has not shown skill, the calibrated rule decides."
    ),
    "oracle": "Sees the next sample and grants exactly that: the bound nobody can beat.",
}
PLUG_IN: Final = "Not described here: see the documentation it came with."

MEASURES: Final[Sequence[tuple[str, str]]] = (
    ("reserved", "All that was granted over all that could have been: sum of grants / sum of capacity."),
    (
        "violations",
        (
            "Share of samples that ran short: demand was above the grant by more than 0.1 % of capacity. "
            "Less than that counts as noise."
        ),
    ),
    (
        "VMs within SLA",
        (
            "Share of VMs whose own violations are at most 1.2 times what the SLA allows. A good average can "
            "hide VMs that suffer; this can't."
        ),
    ),
    ("unmet", "How much was missing, not only how often: sum of demand above the grant / sum of demand."),
    ("slack", "Share of what was granted that nobody used."),
    (
        "changes a day",
        "How often a grant moved by more than 1 % of capacity: the median VM, and the one 99 % stay below.",
    ),
    (
        "gap closed",
        (
            "How far a policy gets from what the calibrated rule reserves (0 %) towards what the oracle "
            "reserves (100 %). Below 0 % it reserves more than the rule. Read it together with violations: "
            "whoever runs short more often also closes the gap."
        ),
    ),
)

LIMITS: Final[Sequence[str]] = (
    (
        "A trace shows what VMs used, not what they wanted. Where a VM was already at its capacity, its "
        "demand may have been higher."
    ),
    (
        "Nobody answers back. A real VM that runs short works longer or fails; here what was missing is "
        "counted and forgotten."
    ),
    "What is shorter than a step can't be seen: a peak inside a sample is averaged away, and not counted.",
    (
        "Grants take effect on time, exactly and for free, and no server is ever full. Real resizes come in "
        "whole units, take time and may fail."
    ),
    (
        "A sample of memory that runs short counts like one of CPU, though it hurts far more. Choose the SLA "
        "accordingly."
    ),
    "One trace is one fleet in one period. Differences of a few percent may turn out otherwise elsewhere.",
    "The VMs drawn are the best, the median and the worst under one policy, not a sample of the fleet.",
)

VIOLATIONS_CHART: Final = (
    "Lower left is better. A policy that follows the SLA is a line over several SLAs, the requested one "
    "with a larger marker; the others are what they are. The dashed line is the requested SLA. A point at 0 "
    "never ran short."
)
STATIC_OUTSIDE: Final = " Outside the view: static, at 100 %; double-click shows it."
VM_CHARTS: Final = (
    "By share of samples that ran short, then by what was reserved. The grant and the use hold until the "
    "next sample; a cross marks each sample that ran short after the warm-up (shaded). Drag to zoom, "
    "double-click to go back, click a name in the legend to hide it."
)
BOLD: Final = "Bold is the requested SLA. Policies that do not follow the SLA ran once."
METHOD: Final = (
    "The trace is replayed step by step through the same loop that runs in production. Each policy sees the "
    "samples up to now and decides; its grant is then held against the demand of later samples. Demand is "
    "what the trace recorded, capped by capacity. Samples of the warm-up and missing samples do not count. "
    "The same results give this page again, byte for byte."
)
CENSORED: Final = (
    "Policies saw what a hypervisor would have seen: no more than the grant, and a flag where use pressed "
    "against it."
)
NOT_CENSORED: Final = (
    "Policies saw demand in full, even where it was above the grant. In production nobody does: compare with "
    "--censored."
)
