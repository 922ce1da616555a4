"""Train a path model on a trace, score it on the days after those it saw, and store it as a candidate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.app.artefacts import Card, Data, Score, new_model
from tidegate.app.artefacts.card import checked_notes
from tidegate.app.artefacts.origin import origin
from tidegate.app.artefacts.store import iso
from tidegate.app.stopwatch import StageTimer
from tidegate.lab.archive import load_trace
from tidegate.lab.panels import panel_of
from tidegate.model.errors import InputError
from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tidegate.app.artefacts import ModelStore
    from tidegate.model.panel import Panel
    from tidegate.model.resources import Resource
    from tidegate.ports import PathForecaster

DAY_SECONDS: Final = 86_400
HORIZONS_SECONDS: Final = (3_600, DAY_SECONDS)
LEARN_DAYS_MIN: Final = 2
"""Less shows no day twice."""
LONG_DAYS: Final = 5
"""From so many days on, the last two are held out instead of the last one."""
ORIGINS: Final = 4
"""From where each horizon is scored; a day ahead fits once into one day held out."""
LOSS_LEVELS: Final = 9
"""Of `PATH_LEVELS`, the first nine are 0.1 to 0.9."""
COVERED: Final = (0.9, 0.95, 0.99)
MEDIAN: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What to train, on what, and under which name to store it."""

    name: str
    kind: str
    traces: tuple[Path, ...]
    resource: Resource
    step_seconds: int | None
    """None: as the traces have it."""
    seed: int
    notes: str = ""


def train(
    lesson: Lesson, store: ModelStore, *, progress: Callable[[str, int, int], None] = lambda *_: None
) -> Card:
    """Train a model and store it as a candidate; until the very end nothing is written.

    ``progress`` is told what is done now, and how many parts of how many are (of 0: nobody knows).

    Raises:
        InputError: the name is taken, the kind can't be made or stored, or the traces can't be read, have
            no capacity of the resource, or are too short.
        TidegateError: the disk is full.

    """
    store.check_free(lesson.name)
    notes = checked_notes(lesson.notes)
    model = new_model(lesson.kind, seed=lesson.seed)
    trace = load_trace(
        lesson.traces,
        resources=(lesson.resource,),
        step_seconds=lesson.step_seconds,
        progress=lambda done, total: progress("reading", done, total),
    )
    panel = panel_of(trace, lesson.resource)
    seen = panel.until(panel.steps - held_out_steps(panel))
    progress("learning", 0, 0)
    model.fit(seen)
    scores, seconds = scored(model, panel, seen.steps, progress=progress)
    progress("storing", 0, 0)
    card = Card(
        name=lesson.name,
        kind=lesson.kind,
        resource=lesson.resource.label,
        step_seconds=panel.step_seconds,
        data=Data(
            traces=tuple(path.name for path in lesson.traces),
            series=len(panel.names),
            start=iso(seen.start_seconds),
            end=iso(seen.end_seconds),
            rows=int(np.isfinite(seen.shares).sum()),
        ),
        seed=lesson.seed,
        commit=origin(),
        scores=scores,
        inference_seconds_per_series=seconds,
        created=iso(store.clock.now_seconds()),
        notes=notes,
    )
    return store.add(card, model.state())


def held_out_steps(panel: Panel) -> int:
    """Return how many steps at the end are kept back to score on.

    Raises:
        InputError: the panel is too short to learn from what is left, or its step is over a day.

    """
    if panel.step_seconds > DAY_SECONDS:
        raise InputError("the trace's step is longer than a day; give one of at most a day with --step")
    day = _steps_in(DAY_SECONDS, panel)
    days = panel.steps / day
    if days < LEARN_DAYS_MIN + 1:
        raise InputError(
            f"the trace holds {days:.3g} days; training needs {LEARN_DAYS_MIN + 1} or more, the last one to "
            "score on"
        )
    return 2 * day if days >= LONG_DAYS else day


def _steps_in(seconds: int, panel: Panel) -> int:
    return max(1, round(seconds / panel.step_seconds))


def scored(
    model: PathForecaster,
    panel: Panel,
    seen_steps: int,
    *,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> tuple[tuple[Score, ...], float]:
    """Score a model on what comes after the steps it saw, an hour and a day ahead.

    Returns the scores and the seconds that the paths of the longest horizon took per series.
    """
    step = panel.step_seconds
    horizons = [_steps_in(seconds, panel) for seconds in HORIZONS_SECONDS if seconds >= step]
    last = [
        np.unique(np.linspace(seen_steps, panel.steps - steps, ORIGINS).astype(int)) for steps in horizons
    ]
    timer = StageTimer()
    scale = _day_change(panel.until(seen_steps))
    scores, done = [], 0
    for steps, origins in zip(horizons, last, strict=True):
        sums = _Sums(scale)
        for origin_steps in origins.tolist():
            progress("scoring", done, sum(map(len, last)))
            with timer.stage(str(steps)):
                paths = model.paths(panel.until(origin_steps), steps)
            sums.add(paths.quantiles, panel.shares[origin_steps : origin_steps + steps])
            done += 1
        scores.append(sums.score(horizon_seconds=steps * step, origins=len(origins)))
    series = max(1, len(panel.names) * len(last[-1]))
    return tuple(scores), timer.seconds()[str(horizons[-1])] / series


class _Sums:
    """What the scores of one horizon are made of, summed over origins."""

    def __init__(self, scale: NDArray[np.float64]) -> None:
        """Start with nothing; ``scale`` (series,) is what the errors of each series are measured in."""
        self._scale = scale
        self._pinball = self._demand = 0.0
        self._covered = np.zeros(len(COVERED))
        self._samples = 0
        self._error = np.zeros(scale.size)
        self._count = np.zeros(scale.size)

    def add(self, quantiles: NDArray[np.float32], demand: NDArray[np.float32]) -> None:
        """Count one path, (levels, steps, series), against what came (steps, series)."""
        present = np.isfinite(demand)
        came = np.where(present, demand, 0).astype(np.float64)
        levels = PATH_LEVELS[:LOSS_LEVELS, None, None].astype(np.float64)
        missed = came - quantiles[:LOSS_LEVELS]
        self._pinball += float((np.maximum(levels * missed, (levels - 1) * missed) * present).sum())
        self._demand += float(came.sum())
        rows = np.searchsorted(PATH_LEVELS, np.array(COVERED, dtype=np.float32))
        self._covered += ((came <= quantiles[rows]) & present).sum(axis=(1, 2))
        self._samples += int(present.sum())
        self._error += (np.abs(missed[MEDIAN]) * present).sum(axis=0)
        self._count += present.sum(axis=0)

    def score(self, *, horizon_seconds: int, origins: int) -> Score:
        """Return the scores as the card has them.

        WQL and MASE as the project defines them: 2 x pinball over nine levels / (9 x sum of demand), and
        the median over series of mean error / mean change from one day to the next while learning.
        """
        counted = (self._scale > 0) & (self._count > 0)
        mase = self._error[counted] / self._count[counted] / self._scale[counted]
        samples = max(1, self._samples)
        return Score(
            horizon_seconds=horizon_seconds,
            origins=origins,
            samples=self._samples,
            wql=2 * self._pinball / (LOSS_LEVELS * self._demand) if self._demand > 0 else None,
            mase_median=float(np.median(mase)) if mase.size else None,
            mase_left_out=int(counted.size - counted.sum()),
            coverage={
                f"{level:g}": float(share)
                for level, share in zip(COVERED, self._covered / samples, strict=True)
                if self._samples
            },
        )


def _day_change(panel: Panel) -> NDArray[np.float64]:
    """Return how much each series changes from one day to the next (series,), 0 where nobody knows."""
    day = _steps_in(DAY_SECONDS, panel)
    change = np.abs(panel.shares[day:].astype(np.float64) - panel.shares[:-day])
    count = np.isfinite(change).sum(axis=0)
    total: NDArray[Any] = np.nansum(change, axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), 0.0)


__all__ = ["Lesson", "held_out_steps", "scored", "train"]
