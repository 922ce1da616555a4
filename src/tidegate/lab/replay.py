"""Replays a trace through policies: the real loop over a simulated fleet, one run per policy and SLA.

Runs are independent, so they go over a process pool; what a run returns depends on its inputs and
seed alone, so the number of processes changes nothing but the time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tidegate.app.registry import ENGINE, SLA_POLICIES, Settings, forecaster, policy
from tidegate.app.stopwatch import StageTimer
from tidegate.app.threads import one_blas_thread
from tidegate.drivers.simulated.fleet import Fleet, SimulatedFleet
from tidegate.journal.nothing import NothingJournal
from tidegate.lab.history import History
from tidegate.lab.measures import Measures, Tally
from tidegate.lab.pool import run_all
from tidegate.lab.series_record import SeriesRecord, record_of
from tidegate.learn.nothing import NothingLearner
from tidegate.loop import Loop
from tidegate.model.errors import InputError
from tidegate.model.roster import NO_CARD, Roster, one_unbounded_server
from tidegate.plan.difference import difference
from tidegate.plan.every import Every
from tidegate.score.nothing import NothingScorer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tidegate.model.forecast import Forecast
    from tidegate.model.trace import Trace

FRONTIER_SLAS = (0.05, 0.01, 0.001)
"""SLAs a report runs beside the requested one."""
SLA_MAX = 0.5
PROGRESS_EVERY_TICKS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings:
    """What a replay was asked for."""

    sla: float
    warmup_seconds: int
    decide_every_seconds: int
    lead_steps: int
    censored: bool
    seed: int
    model: str = ENGINE
    """Name of the forecaster behind `tidegate`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One policy at one SLA over the whole trace."""

    policy: str
    sla: float
    with_history: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunResult:
    """What came of a run: figures per resource, each VM's own violations, and the history of a few."""

    run: Run
    measures: tuple[Measures, ...]
    """One per resource of the trace that has a capacity."""
    seconds: float
    history: History | None
    series: SeriesRecord


def check(settings: ReplaySettings, trace: Trace) -> None:
    """Refuse settings a replay can't be run with.

    Raises:
        InputError: the SLA is outside (0, 0.5], the warm-up leaves nothing, or a span is no multiple
            of the step.

    """
    if not 0 < settings.sla <= SLA_MAX:
        raise InputError(
            f"--sla {settings.sla:g} is outside (0, 0.5]; 0.01 allows 1 % of the samples to run short"
        )
    forecaster(settings.model)
    if settings.lead_steps < 1:
        raise InputError(f"--lead {settings.lead_steps} must be at least 1 step")
    if (
        settings.decide_every_seconds < trace.step_seconds
        or settings.decide_every_seconds % trace.step_seconds
    ):
        raise InputError(
            f"--decide-every {settings.decide_every_seconds}s must be a multiple of the trace's step, "
            f"{trace.step_seconds}s"
        )
    span = trace.ticks * trace.step_seconds
    if settings.warmup_seconds >= span:
        raise InputError(
            f"trace '{trace.name}' spans {span / 86400:.3g} days, no longer than the warm-up of "
            f"{settings.warmup_seconds / 86400:.3g} days; give a shorter --warmup or a longer trace"
        )


def with_known_capacity(trace: Trace) -> Trace:
    """Return the trace with each capacity held until the next known one, and use capped by it.

    Resources that never have a capacity are left out: their measures are not defined.

    Raises:
        InputError: no resource is left.

    """
    known = [row for row in range(len(trace.resources)) if not np.isnan(trace.capacity[row]).all()]
    if not known:
        raise InputError(
            f"trace '{trace.name}' has no capacity for any requested resource; choose others with --resource"
        )
    capacity = np.stack([_held_until_known(trace.capacity[row]) for row in known])
    return replace(
        trace,
        resources=tuple(trace.resources[row] for row in known),
        used=np.minimum(trace.used[known], capacity),
        capacity=capacity,
    )


def _held_until_known(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill each gap (ticks, vms) with the last known value; NaN before the first."""
    ticks = np.arange(samples.shape[0])[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(samples), 0, ticks), axis=0)
    return np.take_along_axis(samples, last, axis=0)


def bare_fleet(trace: Trace, sla: float) -> Fleet:
    """Return the fleet of a trace without a scenario: one server without limit, everyone alike."""
    resources, workloads = len(trace.resources), len(trace.vms)
    roster = Roster(
        ids=np.arange(workloads, dtype=np.int64),
        names=trace.vms,
        violation_rate=np.full(workloads, sla, dtype=np.float32),
        priority=np.ones(workloads, dtype=np.uint8),
        floor=np.zeros((resources, workloads), dtype=np.float32),
        offloadable_ratio=np.zeros((resources, workloads), dtype=np.float32),
    )
    return Fleet(
        roster=roster,
        places=one_unbounded_server(resources),
        host=np.zeros(workloads, dtype=np.int32),
        card=np.full(workloads, NO_CARD, dtype=np.int32),
    )


def demand_by_time(trace: Trace) -> Callable[[int], NDArray[np.float32]]:
    """Return the look-up an oracle needs: demand (resources, workloads) at a time, NaN outside."""
    unknown = np.full((len(trace.resources), len(trace.vms)), np.nan, dtype=np.float32)

    def demand_at(time_seconds: int) -> NDArray[np.float32]:
        tick = (time_seconds - trace.start_seconds) // trace.step_seconds - 1
        return trace.used[:, tick] if 0 <= tick < trace.ticks else unknown

    return demand_at


def runs_of(policies: Sequence[str], settings: ReplaySettings, *, frontier: bool) -> list[Run]:
    """Return the runs to make: each policy at the SLA, and the frontier's further SLAs.

    Raises:
        InputError: a policy is unknown or named twice.

    """
    if len(set(policies)) != len(policies):
        raise InputError(f"--policy names a policy twice: {', '.join(policies)}")
    for name in policies:
        policy(name)
    asked = [Run(policy=name, sla=settings.sla, with_history=frontier) for name in policies]
    further = [sla for sla in FRONTIER_SLAS if sla != settings.sla] if frontier else []
    return asked + [Run(policy=name, sla=sla) for name in policies if name in SLA_POLICIES for sla in further]


def replay(
    trace: Trace, run: Run, settings: ReplaySettings, progress: Callable[[int], None] = lambda _: None
) -> RunResult:
    """Run one policy over the trace (with known capacity) and return its figures.

    ``progress`` is called now and then with the number of ticks done.
    """
    watch = StageTimer()
    with watch.stage("replay"), one_blas_thread():
        tally, history, forecast = _replayed(trace, run, settings, progress)
    return RunResult(
        run=run,
        measures=tuple(tally.measures(row, run.sla) for row in range(len(trace.resources))),
        seconds=watch.total_seconds["replay"],
        history=None if history is None else history.of_exemplars(tally),
        series=record_of(tally, forecast),
    )


def replay_all(
    trace: Trace,
    runs: Sequence[Run],
    settings: ReplaySettings,
    *,
    processes: int | None = None,
    progress: Callable[[Sequence[int]], None] = lambda _: None,
) -> list[RunResult]:
    """Make every run and return the results in their order; ``progress`` gets the ticks done of each."""
    return run_all(_one_of_many, (trace, settings), runs, processes=processes, progress=progress)


def _one_of_many(given: tuple[Trace, ReplaySettings], run: Run, progress: Callable[[int], None]) -> RunResult:
    trace, settings = given
    return replay(trace, run, settings, progress)


def _replayed(
    trace: Trace, run: Run, settings: ReplaySettings, progress: Callable[[int], None]
) -> tuple[Tally, History | None, Forecast]:
    fleet = SimulatedFleet(
        trace, bare_fleet(trace, run.sla), censored=settings.censored, lead_steps=settings.lead_steps
    )
    loop = _loop(trace, run, settings, fleet)
    tally = Tally(
        len(trace.resources),
        len(trace.vms),
        step_seconds=trace.step_seconds,
        warmup_ticks=settings.warmup_seconds // trace.step_seconds,
    )
    history = History(trace) if run.with_history else None
    tick = None
    for done in range(trace.ticks):
        tick = loop.tick()
        tally.add(tick.snapshot, fleet.demand)
        if history is not None:
            history.add(done, tick)
        if done % PROGRESS_EVERY_TICKS == 0:
            progress(done)
    progress(trace.ticks)
    assert tick is not None, "a trace has at least one step"
    return tally, history, tick.forecast


def _loop(trace: Trace, run: Run, settings: ReplaySettings, fleet: SimulatedFleet) -> Loop:
    """Wire the loop of a replay. Without a scenario no place has a limit, so no guard has work."""
    predicting, planner = policy(run.policy)(
        Settings(
            resources=trace.resources,
            step_seconds=trace.step_seconds,
            lead_steps=settings.lead_steps,
            hold_steps=settings.decide_every_seconds // trace.step_seconds,
            seed=settings.seed,
            model=settings.model,
            future=demand_by_time(trace),
        )
    )
    return Loop(
        telemetry=fleet,
        forecaster=predicting,
        scorer=NothingScorer(),
        planner=Every.wrap(planner, settings.decide_every_seconds, trace.step_seconds),
        guards=(),
        difference=difference,
        actuator=fleet,
        journal=NothingJournal(),
        learner=NothingLearner(),
        stopwatch=StageTimer(),
    )


def gap_closed(of: Measures, rule: Measures | None, oracle: Measures | None) -> float | None:
    """Return how much of the gap between the pinned rule and the oracle a policy closed; None unknown."""
    if rule is None or oracle is None or rule.reserved_ratio == oracle.reserved_ratio:
        return None
    return (rule.reserved_ratio - of.reserved_ratio) / (rule.reserved_ratio - oracle.reserved_ratio)
