"""How the gate is trained: rows drawn at random from past origins, none of which sees what came after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tidegate.forecast.paths.gate import HIDDEN, Gate
from tidegate.forecast.windows import DAY_SECONDS, HOUR_SECONDS, steps_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tidegate.forecast.paths.outlook import Outlook


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how hard to train."""

    batches: int = 3000
    rows: int = 2048
    rate: float = 1.5e-3
    """First learning rate; falls to nothing along a cosine (Loshchilov & Hutter 2017)."""
    decay: float = 1e-3
    drop_ratio: float = 0.1
    within_hour_ratio: float = 0.4
    """Share of rows that look no further than an hour: decisions are made there."""
    own_scale_weight: float = 0.3
    """How much a share of its own day-to-day swing counts for each series, beside a share of capacity: large
    errors are what is reserved, and a small VM's own errors are what it feels."""
    averaged_batches: float = 300.0
    """The weights kept are a running mean over so many batches (Polyak & Juditsky 1992)."""


def trained(
    outlook: Outlook,
    came: NDArray[np.float32],
    *,
    horizon_steps: int,
    schedule: Schedule,
    random: np.random.Generator,
    progress: Callable[[int, int], None] = lambda _done, _whole: None,
) -> Gate:
    """Return a gate trained on an outlook over its own panel, of which ``came`` (steps, series) is what came."""
    draw = _drawing(outlook, came, horizon_steps, schedule, random)
    first = outlook.rows(*draw()[:3])
    gate = Gate(first.seen.shape[1], outlook.candidates, random)
    gate.standardise(first.seen)
    mean = [weight.copy() for weight in gate.weights]
    for batch in range(schedule.batches):
        origin, ahead, series, value, weight = draw()
        rows = outlook.rows(origin, ahead, series)
        kept = random.random((value.size, HIDDEN[0]), dtype=np.float32) >= schedule.drop_ratio
        gate.learn(
            *(rows.seen, rows.said, rows.known, rows.scale, value, weight),
            rate=schedule.rate * 0.5 * (1 + np.cos(np.pi * batch / schedule.batches)),
            keep=kept.astype(np.float32) / np.float32(1 - schedule.drop_ratio),
            decay=schedule.decay,
        )
        pace = np.float32(1 / min(batch + 1, schedule.averaged_batches))
        for kept_weight, weight_now in zip(mean, gate.weights, strict=True):
            kept_weight += pace * (weight_now - kept_weight)
        progress(batch + 1, schedule.batches)
    gate.weights = mean
    return gate


_Draw = tuple["NDArray[np.intp]", "NDArray[np.intp]", "NDArray[np.intp]", "NDArray[np.float32]", "NDArray[np.float32]"]


def _drawing(
    outlook: Outlook,
    came: NDArray[np.float32],
    horizon_steps: int,
    schedule: Schedule,
    random: np.random.Generator,
) -> Callable[[], _Draw]:
    """Return what draws origins, horizons, series, what came of each and how much it counts."""
    by_series = weights_of(came, steps_in(DAY_SECONDS, outlook.step_seconds), schedule.own_scale_weight)
    hour = min(steps_in(HOUR_SECONDS, outlook.step_seconds), horizon_steps)
    steps, count = came.shape

    def draw() -> _Draw:
        origin = random.integers(0, outlook.origins.size, schedule.rows)
        series = random.integers(0, count, schedule.rows)
        near = random.random(schedule.rows) < schedule.within_hour_ratio
        ahead = np.where(
            near,
            random.integers(1, hour + 1, schedule.rows),
            random.integers(1, horizon_steps + 1, schedule.rows),
        )
        at = outlook.origins[origin] - 1 + ahead
        value = came[np.minimum(at, steps - 1), series]
        known = (at < steps) & ~np.isnan(value)
        weight = np.where(known, by_series[series], np.float32(0))
        return origin, ahead, series, np.where(known, value, np.float32(0)), weight

    return draw


def weights_of(came: NDArray[np.float32], day: int, own_scale_weight: float) -> NDArray[np.float32]:
    """Return how much each series counts (series,): alike in shares of capacity, and by its own swing."""
    known = ~np.isnan(came)
    mean = np.where(known, came, 0).sum() / max(int(known.sum()), 1)
    swing = np.abs(came[day:] - came[:-day]) if came.shape[0] > day else np.zeros_like(came)
    seen = (~np.isnan(swing)).sum(axis=0)
    own = np.where(np.isnan(swing), 0, swing).sum(axis=0) / np.maximum(seen, 1)
    weight = 1 / max(mean, 1e-4) + own_scale_weight / np.maximum(own, 0.003)
    return (weight / weight.mean()).astype(np.float32)
