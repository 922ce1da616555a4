"""What forecasts save: the policy `tidegate` beside the rule that reacts, at two promises, on one trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate.lab.bench.forecast.asked import Answer
from tidegate.lab.bench.result import Row, row
from tidegate.lab.replay import ReplaySettings, Run, check, replay_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tidegate.lab.bench.forecast.asked import Asked
    from tidegate.lab.measures import Measures
    from tidegate.model.trace import Trace

OURS: Final = "tidegate"
RULE: Final = "calibrated_reactive"
SLAS: Final = {0.01: "sla_1pct", 0.001: "sla_01pct"}
"""By the share of samples that may run short, as figures name them."""
SAVED_LIMITS: Final = {0.01: 0.08, 0.001: 0.12}
CHANGES_LIMIT: Final = 24.0
UNMET_LIMIT: Final = 1.25
UNMET_MIN: Final = 1e-9
"""Less unmet demand than this share is as good as none; nothing is over it."""
WARMUP_SECONDS: Final = 7 * 86_400

Pairs = dict[tuple[float, str], tuple["Measures", "Measures"]]
"""Ours and the rule's measures by SLA and resource."""


def replay_answer(trace: Trace, asked: Asked, progress: Callable[[str, int, int], None]) -> Answer:
    """Replay the trace through both policies at each SLA.

    Raises:
        InputError: the trace is no longer than the warm-up.

    """
    settings = ReplaySettings(
        sla=min(SLAS),
        warmup_seconds=WARMUP_SECONDS,
        decide_every_seconds=trace.step_seconds,
        lead_steps=1,
        censored=False,
        seed=asked.seed,
    )
    check(settings, trace)
    runs = [Run(policy=name, sla=sla) for sla in SLAS for name in (OURS, RULE)]

    def told(done: Sequence[int]) -> None:
        progress("replays, steps", sum(done), trace.ticks * len(runs))

    results = replay_all(trace, runs, settings, processes=asked.processes, progress=told)
    found = {(result.run.sla, result.run.policy): result.measures for result in results}
    pairs = {
        (sla, resource.label): (found[sla, OURS][at], found[sla, RULE][at])
        for sla in SLAS
        for at, resource in enumerate(trace.resources)
    }
    return Answer(rows=(*_summary(pairs), *_details(pairs)))


def _summary(pairs: Pairs) -> Iterator[Row]:
    for sla, name in SLAS.items():
        saved = [_saved(*pair) for (at, _), pair in pairs.items() if at == sla]
        yield row(f"reserved_saved_{name}", min(saved), "ratio", SAVED_LIMITS[sla], "min")
    changes = max(ours.changes_per_vm_day_p99 for ours, _ in pairs.values())
    yield row("changes_per_vm_day_p99", changes, "1/day", CHANGES_LIMIT)
    unmet = max(_unmet_over(*pair) for pair in pairs.values())
    yield row("unmet_over_rule", unmet, "ratio", UNMET_LIMIT)
    for (sla, resource), (ours, _) in pairs.items():
        name = f"violation_ratio.{resource}.{SLAS[sla]}"
        yield row(name, ours.violation_ratio, "ratio", sla)


def _details(pairs: Mapping[tuple[float, str], tuple[Measures, Measures]]) -> Iterator[Row]:
    for (sla, resource), pair in pairs.items():
        where = f"{resource}.{SLAS[sla]}"
        yield row(f"reserved_saved.{where}", _saved(*pair), "ratio", direction="min")
        for policy, of in zip((OURS, RULE), pair, strict=True):
            yield row(f"reserved_ratio.{where}.{policy}", of.reserved_ratio, "ratio")
            yield row(f"violation_ratio.{where}.{policy}", of.violation_ratio, "ratio")
            yield row(f"unmet_ratio.{where}.{policy}", of.unmet_ratio, "ratio")
            yield row(f"changes_per_vm_day_p99.{where}.{policy}", of.changes_per_vm_day_p99, "1/day")


def _saved(ours: Measures, rule: Measures) -> float:
    """Return how much less is reserved than by the rule."""
    return 1 - ours.reserved_ratio / rule.reserved_ratio if rule.reserved_ratio else 0.0


def _unmet_over(ours: Measures, rule: Measures) -> float:
    return max(ours.unmet_ratio, UNMET_MIN) / max(rule.unmet_ratio, UNMET_MIN)
