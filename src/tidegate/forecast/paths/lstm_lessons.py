"""What the LSTM learns from: a panel read once, as serving would, and what came after.

What the network sees is made by the numpy code that serves it, so that training sees nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.paths import lstm_memory as memory_of
from tidegate.forecast.paths.lstm_memory import AHEAD, DAY_SECONDS, HOUR_SECONDS, INPUTS, LEVELS, STANDING
from tidegate.forecast.paths.lstm_network import CONSTANT_ANCHORS, KNOT_SECONDS, LADDER_ANCHORS, look

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.panel import Panel

STRIDE: Final = 8
"""Every how many steps a window is asked for quantiles: neighbours say nearly the same."""
NEAR, FAR = 4, 8
"""How many times ahead a window is asked for within an hour, and beyond it up to a day."""
CELLS_MAX: Final = 2_000_000
"""Most samples learned from; of more, the last steps of some series. What is seen of each takes 300 B."""
SERIES_MIN: Final = 64
"""Series that are kept however long the histories are."""
SCALED: Final = 1.5
"""Weight of the loss in scales of each series, beside the loss in shares of capacity."""
WEIGHT_MIN, WEIGHT_MAX = 0.5, 3.0
"""Bounds of a series' weight: the root of its capacity over the mean of the roots."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lessons:
    """A panel as the network sees it; blocks are `STRIDE` steps long, and a window is asked at their ends."""

    inputs: NDArray[np.float32]
    """(blocks, STRIDE, series, INPUTS)."""
    standing: NDArray[np.float32]
    """(blocks, series, STANDING)."""
    ahead: NDArray[np.float32]
    """(blocks, series, times, AHEAD)."""
    knots: NDArray[np.float32]
    """(blocks, times, knots)."""
    constants: NDArray[np.float32]
    """(blocks, series, times, CONSTANT_ANCHORS)."""
    ladders: NDArray[np.float32]
    """(blocks, series, LADDER_ANCHORS - 1, LEVELS)."""
    ladder: NDArray[np.float32]
    """(blocks, series, times, LEVELS)."""
    scale: NDArray[np.float32]
    """(blocks, series)."""
    targets: NDArray[np.float32]
    """(blocks, series, times) what came; NaN where missing."""
    steps: NDArray[np.intp]
    """(blocks, times) the times ahead, in steps."""
    weight: NDArray[np.float32]
    """(series, 2) of a miss in shares, and in scales of the series."""


def lessons_of(panel: Panel, random: np.random.Generator) -> Lessons:
    """Read a panel once, as serving would, and note what was seen and what came."""
    panel = _bounded(panel, random)
    blocks, series = panel.steps // STRIDE, len(panel.names)
    skipped = panel.steps - blocks * STRIDE
    times = NEAR + FAR
    shares = np.concatenate((panel.shares, np.full((_day(panel), series), np.nan, dtype=np.float32)))
    memory = memory_of.fresh(series, step_seconds=panel.step_seconds, end_seconds=panel.start_seconds)
    for step in range(skipped):
        memory_of.advance(memory, shares[step])
    found = Lessons(
        inputs=np.empty((blocks, STRIDE, series, INPUTS), dtype=np.float32),
        standing=np.empty((blocks, series, STANDING), dtype=np.float32),
        ahead=np.empty((blocks, series, times, AHEAD), dtype=np.float32),
        knots=np.empty((blocks, times, len(KNOT_SECONDS)), dtype=np.float32),
        constants=np.empty((blocks, series, times, CONSTANT_ANCHORS), dtype=np.float32),
        ladders=np.empty((blocks, series, LADDER_ANCHORS - 1, LEVELS), dtype=np.float32),
        ladder=np.empty((blocks, series, times, LEVELS), dtype=np.float32),
        scale=np.empty((blocks, series), dtype=np.float32),
        targets=np.empty((blocks, series, times), dtype=np.float32),
        steps=np.empty((blocks, times), dtype=np.intp),
        weight=_weights_of(panel),
    )
    for block in range(blocks):
        first = skipped + block * STRIDE
        for at in range(STRIDE):
            memory_of.advance(memory, shares[first + at])
            found.inputs[block, at] = memory_of.inputs(memory).T
        steps = _times_ahead(panel, random)
        seen = look(memory, steps)
        found.standing[block] = seen.standing.T
        found.ahead[block] = seen.ahead.transpose(2, 1, 0)
        found.knots[block] = seen.knots.T
        found.constants[block] = seen.constants.transpose(2, 1, 0)
        found.ladders[block] = seen.ladders.transpose(2, 0, 1)
        found.ladder[block] = seen.ladder.transpose(2, 1, 0)
        found.scale[block], found.steps[block] = seen.scale, steps
        found.targets[block] = np.where(memory_of.seen(memory), shares[first + STRIDE - 1 + steps], np.nan).T
    return found


def _bounded(panel: Panel, random: np.random.Generator) -> Panel:
    """Return the panel, or the last steps of some of its series, with at most `CELLS_MAX` samples."""
    series = len(panel.names)
    kept = max(min(series, CELLS_MAX // max(panel.steps, 1)), min(series, SERIES_MIN))
    if kept < series:
        panel = panel.of(np.sort(random.choice(series, kept, replace=False)))
    steps = min(panel.steps, CELLS_MAX // max(kept, 1))
    start = panel.start_seconds + (panel.steps - steps) * panel.step_seconds
    return replace(panel, shares=panel.shares[panel.steps - steps :], start_seconds=start)


def _day(panel: Panel) -> int:
    return max(1, round(DAY_SECONDS / panel.step_seconds))


def _times_ahead(panel: Panel, random: np.random.Generator) -> NDArray[np.intp]:
    """Draw times ahead, in steps: some within the hour, the others spread evenly over the day."""
    day, hour = _day(panel), max(1, HOUR_SECONDS // panel.step_seconds)
    near = 1 + (np.arange(NEAR) + random.random(NEAR)) / NEAR * hour
    far = 1 + (np.arange(FAR) + random.random(FAR)) / FAR * day
    return np.clip(np.concatenate((near, far)).astype(np.intp), 1, day)


def _weights_of(panel: Panel) -> NDArray[np.float32]:
    """Return what a miss of each series weighs, in shares and in its own scale."""
    roots = np.sqrt(np.maximum(np.nan_to_num(panel.capacity), 0))
    size = np.clip(roots / max(float(roots.mean()), 1e-9), WEIGHT_MIN, WEIGHT_MAX)
    day = _day(panel)
    shares = panel.shares
    with np.errstate(invalid="ignore"):
        apart = (
            np.abs(shares[day:] - shares[:-day]) if panel.steps > day else np.abs(shares[1:] - shares[:-1])
        )
    counts = np.maximum((~np.isnan(apart)).sum(axis=0), 1)
    naive = np.nansum(apart, axis=0) / counts
    mean = float(np.nanmean(naive)) if naive.size else 1.0
    own = 1 / np.maximum(naive, 0.002)
    pooled = np.full(naive.shape, 1 / max(mean, 0.002))
    return np.stack((size * pooled, SCALED * own), axis=1).astype(np.float32)
