"""The record of cycles that act: what each sample cost them, and when they lose the right.

| what happens                                | what it costs                                    |
|---------------------------------------------|--------------------------------------------------|
| a burst is a few steps early                | the tolerance grows                              |
| a burst is higher than the last three       | a miss; the margin covers it for eight cycles    |
| a burst comes at an unexpected time         | trust, at once; two more cycles to win it back   |
| a burst doesn't come                        | nothing; trust, before it has been renewed once   |
| two bursts in a row don't come              | trust                                            |
| the loss passes the plain baseline's        | trust, and two more cycles                       |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.cycles.backtest import (
    MARGIN_MIN,
    MARGIN_RATIO_MAX,
    SURPRISE_RATIO,
    TOLERANCE_RATIO_MAX,
    TOLERANCES_STEPS,
)
from tidegate.forecast.cycles.memory import BASELINE, CYCLES, NARROW, NEVER, WIDE, Sample
from tidegate.forecast.engine.record import MARGIN_KICK, TOLERANCE_RATIO
from tidegate.forecast.engine.record import MARGIN_MIN as PEAK_MARGIN_MIN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.columns import Columns

CYCLES_REMEMBERED: Final = np.float32(8)
"""Margins and losses fade over this many cycles."""
ABSENT_CYCLES_MAX: Final = np.float32(2)
BURNS_MAX: Final = 4
LOOK_AGAIN_STEPS: Final = 8
ONSET_STEPS: Final = 3
"""New evidence begins this many steps before the sample that ended trust: at the burst's first one."""
CUT_GROWTH: Final = np.float32(1.5)
CUT_STEP: Final = np.float32(0.02)
"""How the margin grows while demand is cut off and nobody knows how high it is."""


def judge(
    memory: Columns, said: NDArray[np.float32], sample: Sample, *, sla: NDArray[np.float32], lead_steps: int
) -> None:
    """Charge cycles and baseline for what they ``said`` (4, resources, workloads) of this sample.

    A sample cut off at what was held is a miss of whoever said no more, and tells nothing about those
    who said more.
    """
    present = ~np.isnan(sample.share)
    heard = said[:2] >= 0
    amount = np.where(heard, said[:2], 1)
    over = amount - sample.share
    cut = sample.censored & (amount <= sample.held + TOLERANCE_RATIO)
    missed = heard & ((over < -TOLERANCE_RATIO) | cut)
    loss = np.where(missed, np.maximum(-over, TOLERANCE_RATIO) * (1 - sla), np.maximum(over, 0) * sla)
    short = missed[BASELINE].astype(np.float32)
    margin = memory["peak_margin"]
    moved = np.clip(margin * np.exp((short - sla) / lead_steps) + MARGIN_KICK * short, PEAK_MARGIN_MIN, 1)
    np.copyto(margin, moved, where=present & heard[BASELINE])
    judged = present & heard[CYCLES] & (memory["period"] > 0)
    if judged.any():
        _charge(memory, loss, missed[CYCLES], judged)
        _widen(memory, said, sample, missed[CYCLES], judged)


def _charge(
    memory: Columns, loss: NDArray[np.float32], missed: NDArray[np.bool_], judged: NDArray[np.bool_]
) -> None:
    weight = np.where(judged, 1 / (CYCLES_REMEMBERED * np.maximum(memory["period"], 1)), 0)
    memory["loss"] += ((loss - memory["loss"]) * weight).astype(np.float32)
    covered = np.where(missed, np.float32(0), np.float32(1))
    np.copyto(
        memory["coverage"],
        (memory["coverage"] + (covered - memory["coverage"]) * weight).astype(np.float32),
        where=judged,
    )


def _widen(
    memory: Columns,
    said: NDArray[np.float32],
    sample: Sample,
    missed: NDArray[np.bool_],
    judged: NDArray[np.bool_],
) -> None:
    """Let margins follow misses of level, and tolerances bursts that were a little early or late."""
    period, margin = memory["period"], memory["margin"]
    middle = (memory["low"] + memory["high"]) / 2
    swing = memory["high"] - memory["low"]
    fade = np.exp(-1 / (CYCLES_REMEMBERED * np.maximum(period, 1)))
    excess = sample.share - said[CYCLES] + margin
    wanted = np.where(sample.censored, margin * CUT_GROWTH + CUT_STEP, excess)
    expected = said[CYCLES] >= middle
    level_miss = missed & (expected | ((sample.share < middle) & ~sample.censored))
    moved = np.where(level_miss, np.maximum(wanted, margin * fade), margin * fade)
    moved = np.clip(moved, MARGIN_MIN, np.maximum(MARGIN_RATIO_MAX * swing, MARGIN_MIN))
    np.copyto(margin, moved.astype(np.float32), where=judged)
    shifted = judged & (sample.share > middle) & (said[NARROW] < middle) & (said[WIDE] >= middle)
    wider = np.minimum(memory["tolerance"] + 1, len(TOLERANCES_STEPS) - 1)
    fits = np.array(TOLERANCES_STEPS)[wider] <= period * TOLERANCE_RATIO_MAX
    np.copyto(memory["tolerance"], wider.astype(np.uint8), where=shifted & fits)


def excuse(memory: Columns, *, steps: int | NDArray[np.bool_]) -> None:
    """Leave out unseen steps, of the whole fleet or of some series, where bursts are waited for."""
    waiting = memory["burst_at"] != NEVER
    memory["burst_at"] = memory["burst_at"] + waiting * steps


def forget(memory: Columns, unknown: NDArray[np.bool_], *, tick: int) -> None:
    """End trust, without blame, where the last cycles were not seen."""
    np.copyto(memory["period"], np.float32(0), where=unknown)
    np.copyto(memory["since"], tick, where=unknown)
    np.copyto(memory["burst_at"], NEVER, where=unknown)


def withdraw(
    memory: Columns, said: NDArray[np.float32], sample: Sample, *, tick: int, lead_steps: int
) -> None:
    """End trust where a burst came at an unexpected time, two didn't come, or the baseline is cheaper."""
    trusted = memory["period"] > 0
    if not trusted.any():
        return
    low, high, period = memory["low"], memory["high"], memory["period"]
    excuse(memory, steps=np.isnan(sample.share))
    in_burst = trusted & (sample.share > (low + high) / 2)
    np.copyto(memory["burst_at"], tick, where=in_burst)
    quiet_promised = (said[WIDE] >= 0) & (said[WIDE] < (low + high) / 2)
    surprise = in_burst & quiet_promised & (sample.share > said[WIDE] + SURPRISE_RATIO * (high - low))
    proven = memory["proven"]
    cycles = np.where(proven, ABSENT_CYCLES_MAX, np.float32(1))
    late = np.array(TOLERANCES_STEPS)[memory["tolerance"]] + lead_steps
    absent = trusted & (tick - memory["burst_at"] > cycles * period + late)
    dearer = trusted & (memory["loss"][CYCLES] > memory["loss"][BASELINE])
    lost = surprise | absent | dearer
    burnt = surprise | dearer | (absent & ~proven)
    burns = np.minimum(memory["burns"] + burnt, BURNS_MAX)
    memory["burns"] = burns.astype(np.uint8)
    np.copyto(period, np.float32(0), where=lost)
    np.copyto(memory["since"], tick - ONSET_STEPS, where=lost)
    np.copyto(memory["look_at"], tick + LOOK_AGAIN_STEPS, where=lost)
    np.copyto(memory["burst_at"], NEVER, where=lost)


def skill(memory: Columns) -> NDArray[np.float32]:
    """Return 1 - loss / the plain baseline's, where cycles act; NaN elsewhere (resources, workloads)."""
    loss = memory["loss"]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = 1 - loss[CYCLES] / loss[BASELINE]
    return np.where((memory["period"] > 0) & (loss[BASELINE] > 0), ratio, np.float32(np.nan))
