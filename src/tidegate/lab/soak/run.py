"""Runs a soak and looks at every tick: nothing unknown or infinite is granted, memory stays as it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import psutil

from tidegate.app.registry import ENGINE, Settings, policy
from tidegate.app.stopwatch import StageTimer
from tidegate.app.threads import one_blas_thread
from tidegate.journal.nothing import NothingJournal
from tidegate.lab.soak.happenings import drawn
from tidegate.lab.soak.world import World
from tidegate.learn.nothing import NothingLearner
from tidegate.loop import Loop
from tidegate.model.errors import InputError
from tidegate.model.snapshot import in_server_units
from tidegate.plan.difference import difference
from tidegate.score.nothing import NothingScorer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from tidegate.model.tick import Tick
    from tidegate.model.trace import Trace

MAY_BE_UNKNOWN: Final = ("capacity", "coverage", "held", "peak")
"""Last parts of the names of state that is NaN where something is not known yet."""
PROBLEMS_MAX: Final = 20
LOOK_EVERY_TICKS: Final = 500
ROUNDING: Final = np.float32(1e-5)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakSettings:
    """What a soak is asked for."""

    sla: float = 0.01
    seed: int = 0
    policy: str = "tidegate"
    model: str = ENGINE


@dataclass(slots=True, kw_only=True)
class SoakResult:
    """What came of a soak."""

    ticks: int = 0
    samples: int = 0
    violations: int = 0
    reserved_sum: float = 0.0
    """Shares of capacity held, summed over samples."""
    drifts: int = 0
    """Changes of level, variance or season that the forecaster noticed."""
    seconds: float = 0.0
    happened: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """What should not be, in sentences, `PROBLEMS_MAX` at most."""
    state_bytes_per_series: list[float] = field(default_factory=list)
    """At every look."""
    memory_bytes: list[int] = field(default_factory=list)
    """Resident, at every look."""

    def note(self, tick: int, sentence: str) -> None:
        """Write down a problem."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(f"tick {tick}: {sentence}")

    @property
    def memory_growth_bytes(self) -> int:
        """How much more is resident at the end than after a quarter, when pools have filled up."""
        return self.memory_bytes[-1] - self.memory_bytes[len(self.memory_bytes) // 4]


def joined(traces: Sequence[Trace]) -> Trace:
    """Return traces of the same step one after the other, as one, of the VMs that all of them have.

    Raises:
        InputError: there is none, their steps or resources differ, or no VM is in all of them.

    """
    if not traces:
        raise InputError("a soak needs at least one trace; name a file")
    first = traces[0]
    if any(
        (other.step_seconds, other.resources) != (first.step_seconds, first.resources) for other in traces
    ):
        raise InputError("the traces of a soak differ in step or resources; choose files that agree")
    vms = [vm for vm in first.vms if all(vm in set(other.vms) for other in traces[1:])]
    if not vms:
        raise InputError("the traces of a soak share no VM; choose months of the same VMs")
    rows = [[{vm: row for row, vm in enumerate(trace.vms)}[vm] for vm in vms] for trace in traces]
    parts = list(zip(traces, rows, strict=True))
    return replace(
        first,
        name="+".join(trace.name for trace in traces),
        vms=tuple(vms),
        servers=(),
        used=np.concatenate([trace.used[:, :, at] for trace, at in parts], axis=1),
        capacity=np.concatenate([trace.capacity[:, :, at] for trace, at in parts], axis=1),
    )


def coarser(trace: Trace, factor: int) -> Trace:
    """Return the trace at a step ``factor`` times as long: the highest sample of each, as far as known."""
    ticks = trace.ticks // factor

    def highest(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        cut = samples[:, : ticks * factor].reshape(samples.shape[0], ticks, factor, samples.shape[2])
        return np.fmax.reduce(cut, axis=2)

    return replace(
        trace,
        step_seconds=trace.step_seconds * factor,
        used=highest(trace.used),
        capacity=highest(trace.capacity),
    )


def soak(
    trace: Trace, settings: SoakSettings, progress: Callable[[int], None] = lambda _: None
) -> SoakResult:
    """Run the policy over the trace while things happen; problems are noted, not raised."""
    happenings = drawn(trace.ticks, len(trace.vms), trace.step_seconds, settings.seed)
    world = World(trace, happenings, settings.sla)
    loop = _loop(trace, settings, world)
    result = SoakResult(happened=happenings.counts())
    watch = StageTimer()
    with watch.stage("soak"), one_blas_thread():
        for number in range(trace.ticks):
            tick = loop.tick()
            _look_at(tick, result)
            if number % LOOK_EVERY_TICKS == LOOK_EVERY_TICKS - 1 or number == trace.ticks - 1:
                _look_inside(loop, tick, result)
                progress(number)
    result.seconds = watch.total_seconds["soak"]
    return result


def _loop(trace: Trace, settings: SoakSettings, world: World) -> Loop:
    forecaster, planner = policy(settings.policy)(
        Settings(
            resources=trace.resources,
            step_seconds=trace.step_seconds,
            seed=settings.seed,
            model=settings.model,
        )
    )
    return Loop(
        telemetry=world,
        forecaster=forecaster,
        scorer=NothingScorer(),
        planner=planner,
        guards=(),
        difference=difference,
        actuator=world,
        journal=NothingJournal(),
        learner=NothingLearner(),
        stopwatch=StageTimer(),
    )


def _look_at(tick: Tick, result: SoakResult) -> None:
    """Check what the tick says, and count."""
    snapshot, forecast = tick.snapshot, tick.forecast
    capacity = snapshot.capacity
    wanted = in_server_units(tick.plan.wanted, snapshot)
    known = capacity > 0
    least = np.minimum(snapshot.roster.floor, capacity)
    for wrong, sentence in (
        (np.isinf(wanted), "an infinite grant is wanted"),
        (known & np.isnan(wanted), "an unknown grant is wanted of a known capacity"),
        (known & (wanted > capacity * (1 + ROUNDING)), "more is wanted than was sold"),
        (known & (wanted < least * (1 - ROUNDING)), "less is wanted than the floor"),
        (np.isinf(forecast.quantiles).any(axis=0), "a quantile is infinite"),
        ((forecast.quantiles < 0).any(axis=0), "a quantile is negative"),
        (np.isnan(forecast.quantiles).any(axis=0) & ~forecast.profiling, "an acting quantile is unknown"),
    ):
        if wrong.any():
            result.note(tick.number, f"{sentence} ({int(wrong.sum())} series)")
    curve = forecast.exceedance
    if curve is not None and not ((curve.probability >= 0) & (curve.probability <= 1)).all():
        result.note(tick.number, "a probability is outside 0-1 or unknown")
    if forecast.drift is not None:
        result.drifts += int(forecast.drift.noticed.sum())
    sampled = known & ~np.isnan(snapshot.used)
    result.ticks += 1
    result.samples += int(sampled.sum())
    result.violations += int((snapshot.pressed & sampled).sum())
    result.reserved_sum += float((snapshot.held[sampled] / capacity[sampled]).sum())


def _look_inside(loop: Loop, tick: Tick, result: SoakResult) -> None:
    """Check what the parts remember, and how much it is."""
    series = tick.snapshot.used.shape
    held = 0
    for name, array in _memories(loop):
        if array.shape[-2:] == series:
            held += array.nbytes
        if array.dtype.kind == "f" and array.size:
            if np.isinf(array).any():
                result.note(tick.number, f"what is remembered as {name} is infinite")
            elif name.rpartition(".")[2] not in MAY_BE_UNKNOWN and np.isnan(array).any():
                result.note(tick.number, f"what is remembered as {name} is unknown")
    if series[1]:
        result.state_bytes_per_series.append(held / (series[0] * series[1]))
    result.memory_bytes.append(psutil.Process().memory_info().rss)


def _memories(loop: Loop) -> Iterator[tuple[str, NDArray[Any]]]:
    for part in (loop.forecaster, loop.planner):
        state = getattr(part, "state", None)
        if state is not None:
            yield from state().items()
