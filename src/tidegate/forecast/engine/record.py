"""The record: what each candidate model would have said for each series, and what that cost.

Candidates are the network and plain models: a base amount plus a margin that the series' own misses
calibrate. All say the amount that demand should pass in an ``sla`` share of samples; the loss is the
pinball loss at that level, remembered for about a day. The best plain model is the safe one; the network
acts while its own loss is lower. Source of the margin rule: `CalibratedReactive` in the policies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.forecast.engine.past import Chunk, weight_per_step
from tidegate.model.columns import Column, Columns
from tidegate.model.snapshot import VIOLATION_TOLERANCE_RATIO

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.forecast.engine.features import Peaks
    from tidegate.forecast.engine.past import Sample

PLAIN_MODELS: Final = ("recent_peak", "half_day_peak", "day_peak", "seasonal_peak")
"""Peak of the last hour (the plain baseline), of 12 hours, of a day, and of the last hour together with
yesterday's coming hour."""
MODELS: Final = (*PLAIN_MODELS, "network")
NETWORK: Final = len(PLAIN_MODELS)
BASELINE: Final = 0
MARGIN_START: Final = 0.05
MARGIN_MIN: Final = np.float32(0.0001)
MARGIN_KICK: Final = np.float32(0.00001)
LOSS_WEIGHT_MAX: Final = 1 / 576
LOSS_WEIGHT_MOST: Final = np.float32(0.1)
MISSES_REMEMBERED: Final = 5
"""Losses remember two days, a day being one sample of a daily habit, and at least the time in which five
misses are allowed: at an SLA of 0.1 % one miss more or less says nothing."""
SWITCH_RATIO: Final = np.float32(0.9)
"""A plain model takes over when its loss is below this share of the current one's: no see-saw."""
DISTRUST_RATIO: Final = np.float32(1.5)
DISTRUST_RATIO_MAX: Final = np.float32(4)
DISTRUST_RATE: Final = np.float32(0.01)
"""The network loses the right to act when its loss is this much above the safe model's, and has it back
once it is no longer above: losses at rare levels are noisy, and each switch costs changes. At SLAs below
1 % the ratio grows by the root, to 4 at 0.1 %: there 4 instead of 1.5 left 0 to 3 points more of the VMs
within their SLA (August, two seeds, and July's other VMs) at the same reserve; at 1 % 4 gained nothing."""
TOLERANCE_RATIO: Final = np.float32(VIOLATION_TOLERANCE_RATIO)


def columns(lead_steps: int) -> Columns:
    """Return the empty record of a fleet; what was said is kept until its time has come."""
    return Columns(
        margin=Column(dtype=np.float32, fill=MARGIN_START, leading=(len(PLAIN_MODELS),)),
        said=Column(dtype=np.float32, fill=1.0, leading=(lead_steps, len(MODELS))),
        loss=Column(dtype=np.float32, fill=0.0, leading=(len(MODELS),)),
        coverage=Column(dtype=np.float32, fill=np.nan),
        plain=Column(dtype=np.uint8, fill=BASELINE),
        trusted=Column(dtype=np.bool_, fill=True),
    )


def judge(
    record: Chunk,
    said: NDArray[np.float32],
    sample: Sample,
    *,
    held: NDArray[np.float32],
    sla: NDArray[np.float32],
    step_seconds: int,
    lead_steps: int,
    pace: NDArray[np.float32],
) -> None:
    """Charge each candidate for what it ``said`` of this sample, move the margins, choose again.

    ``held`` is what the grant let through, in shares: a cut-off sample was a miss for everyone who said
    no more than that, and tells nothing about those who said more. ``pace`` (series,) is how much faster
    than usual margins move and losses are forgotten.
    """
    present = ~np.isnan(sample.share)
    over = said - sample.share
    missed = (over < -TOLERANCE_RATIO) | (sample.censored & (said <= held))
    miss_loss = np.maximum(-over, TOLERANCE_RATIO) * (1 - sla)
    loss = np.where(missed, miss_loss, np.maximum(over, 0) * sla)
    weight = np.minimum(weight_per_step(LOSS_WEIGHT_MAX, step_seconds), sla / MISSES_REMEMBERED)
    weight = np.minimum(weight * pace, LOSS_WEIGHT_MOST)
    record["loss"] += np.where(present, (loss - record["loss"]) * weight, 0)
    covered = np.where(missed[NETWORK], np.float32(0), np.float32(1))
    coverage = record["coverage"]
    known = np.where(np.isnan(coverage), covered, coverage + (covered - coverage) * weight)
    np.copyto(coverage, known, where=present)
    short = missed[:NETWORK].astype(np.float32)
    margin = record["margin"]
    # What is judged now was said ``lead_steps`` ago: until a wider margin shows, the same miss is seen
    # once a step, and must not be paid for each time.
    moved = np.clip(margin * np.exp((short - sla) * (pace / lead_steps)) + MARGIN_KICK * short, MARGIN_MIN, 1)
    np.copyto(margin, moved, where=present)
    _choose(record, sla)


def resize(record: Columns, changed: NDArray[np.bool_], factor: NDArray[np.float32]) -> None:
    """Express margins and what was said in shares of the new capacities: ``factor`` (changed series,)."""
    for name in ("margin", "said"):
        record[name][..., changed] = np.minimum(record[name][..., changed] * factor, 1)


def _choose(record: Chunk, sla: NDArray[np.float32]) -> None:
    loss = record["loss"]
    series = np.arange(loss.shape[1])
    best = loss[:NETWORK].argmin(axis=0)
    current = loss[record["plain"], series]
    better = loss[best, series] < current * SWITCH_RATIO
    np.copyto(record["plain"], best.astype(np.uint8), where=better)
    safe = loss[record["plain"], series]
    trusted = record["trusted"]
    gained = loss[NETWORK] <= safe
    ratio = np.clip(DISTRUST_RATIO * np.sqrt(DISTRUST_RATE / sla), DISTRUST_RATIO, DISTRUST_RATIO_MAX)
    lost = loss[NETWORK] > safe * ratio
    np.copyto(trusted, (trusted | gained) & ~lost)


def say(
    record: Chunk, said: NDArray[np.float32], peak: Peaks, network: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Write what each candidate says now into ``said`` and return the chosen plain model's amount (series,).

    ``network`` is the network's amount at the series' own level; all in shares of capacity.
    """
    seasonal = np.maximum(peak.hour, peak.next_hour_yesterday)
    np.stack((peak.hour, peak.half_day, peak.day, seasonal), out=said[:NETWORK])
    said[:NETWORK] += record["margin"]
    said[NETWORK] = network
    np.minimum(said, 1, out=said)
    return said[record["plain"], np.arange(said.shape[1])]


def skill(record: Columns, acts: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return 1 - loss of the acting model / loss of the plain baseline; NaN before any loss."""
    loss = record["loss"]
    acting = np.where(acts, loss[NETWORK], _at(loss, record["plain"]))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(loss[BASELINE] > 0, 1 - acting / loss[BASELINE], np.float32(np.nan))


def acting_model(record: Columns, acts: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return which of `MODELS` speaks for each series (resources, workloads); the network where it acts."""
    return np.where(acts, np.uint8(NETWORK), record["plain"])


def _at(values: NDArray[np.float32], index: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.take_along_axis(values, index[None].astype(np.intp), axis=0)[0]
