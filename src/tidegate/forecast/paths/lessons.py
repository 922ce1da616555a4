"""How the gate is trained: rows drawn at random from past origins, none of which sees what came after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.paths.candidates import CANDIDATES
from tidegate.forecast.paths.draws import MIX, Draws, Mix
from tidegate.forecast.paths.gate import HIDDEN, Gate

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tidegate.forecast.paths.outlook import Outlook


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how hard to train."""

    batches: int = 2000
    rows: int = 1024
    rate: float = 1.5e-3
    """First learning rate; falls to nothing along a cosine (Loshchilov & Hutter 2017)."""
    decay: float = 1e-3
    drop_ratio: float = 0.4
    mix: Mix = MIX
    averaged_batches: float = 300.0
    """The weights kept are a running mean over so many batches (Polyak & Juditsky 1992)."""


SCHEDULE: Final = Schedule()
"""Longer trains a little better; more dropout with it, since a month has few independent days."""


def trained(
    outlook: Outlook,
    came: NDArray[np.float32],
    *,
    horizon_steps: int,
    schedule: Schedule,
    random: np.random.Generator,
    progress: Callable[[int, int], None] = lambda _done, _whole: None,
) -> Gate:
    """Return a gate trained on an outlook over its own panel.

    ``came`` (steps, series) is what came, NaN where missing; if it ends before the panel does, nothing later
    is learned from.
    """
    draws = Draws(outlook, came, horizon_steps=horizon_steps, random=random, mix=schedule.mix)
    drawn = draws.draw(schedule.rows)
    first = outlook.rows(drawn.origin, drawn.ahead, drawn.series)
    gate = Gate(first.seen.shape[1], len(CANDIDATES), random)
    gate.standardise(first.seen)
    mean = [weight.copy() for weight in gate.weights]
    for batch in range(schedule.batches):
        drawn = draws.draw(schedule.rows)
        rows = outlook.rows(drawn.origin, drawn.ahead, drawn.series)
        kept = random.random((schedule.rows, HIDDEN[0]), dtype=np.float32) >= schedule.drop_ratio
        gate.learn(
            rows,
            drawn,
            rate=schedule.rate * 0.5 * (1 + np.cos(np.pi * batch / schedule.batches)),
            keep=kept.astype(np.float32) / np.float32(1 - schedule.drop_ratio),
            decay=schedule.decay,
        )
        pace = np.float32(1 / min(batch + 1, schedule.averaged_batches))
        for at, weight in enumerate(gate.weights):
            mean[at] += pace * (weight - mean[at])
        progress(batch + 1, schedule.batches)
    gate.weights = mean
    return gate
