"""What a model's time in shadow came to, and whether that earns it the active one's place.

`tidegate models judge` writes it: both models forecast the same samples, and the same loss of each is
summed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose, isfinite
from typing import Final

import msgspec
import numpy as np

from tidegate.model.errors import InputError

SAMPLES_MIN: Final = 2_000
"""A week of one workload at five minutes, or a day of seven."""
MARGIN_RATIO: Final = 0.01
"""By how much the loss must be lower: less is not worth a change of who decides."""
BLOCKS_MIN: Final = 8
"""Fewer blocks tell no interval."""
BLOCKS_MAX: Final = 2_000
RESAMPLES: Final = 2_000
CONFIDENCE: Final = 0.95
SUM_TOLERANCE_RATIO: Final = 1e-6


class Block(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stretch of time long enough to be nearly independent of the next, such as a day."""

    samples: int
    loss_sum: float
    active_loss_sum: float


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`record.json`: losses of the model in shadow and of what was active, over the same samples."""

    weights_sha256: str
    """Of the model in shadow."""
    against: str | None
    """Name of the active model; None: what decides where no trained model is active."""
    against_sha256: str | None
    """Of its weights."""
    since: str
    """ISO 8601, UTC."""
    until: str
    samples: int
    loss_sum: float
    active_loss_sum: float
    blocks: tuple[Block, ...] = ()
    """None, or all of it in at least `BLOCKS_MIN` blocks: then the difference must stand out of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a record is better, and how that is said."""

    better: bool
    why: str


def checked_record(record: Record) -> Record:
    """Return the record, unless its numbers can't be.

    Raises:
        InputError: a number is negative, not finite, or the blocks do not add up.

    """
    sums = (record.samples, record.loss_sum, record.active_loss_sum)
    parts = [(block.samples, block.loss_sum, block.active_loss_sum) for block in record.blocks]
    if not all(isfinite(number) and number >= 0 for row in (sums, *parts) for number in row):
        raise InputError("a sum of the record is negative or no number; let it be written anew")
    if len(parts) > BLOCKS_MAX:
        raise InputError(f"the record has more than {BLOCKS_MAX:,} blocks; make them longer")
    totals = [sum(column) for column in zip(*parts, strict=True)] if parts else sums
    if not all(isclose(a, b, rel_tol=SUM_TOLERANCE_RATIO) for a, b in zip(totals, sums, strict=True)):
        raise InputError("the blocks of the record do not add up to its sums; let it be written anew")
    return record


def verdict(record: Record) -> Verdict:
    """Say whether the model in shadow was better, by `MARGIN_RATIO` and beyond chance.

    Chance is told by a bootstrap over paired blocks (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, percentile interval): the upper end of the ratio of losses must be below 1.
    """
    if record.samples < SAMPLES_MIN:
        return Verdict(
            better=False,
            why=f"{record.samples:,} samples in shadow are too few, {SAMPLES_MIN:,} are needed",
        )
    if 0 < len(record.blocks) < BLOCKS_MIN:
        return Verdict(
            better=False,
            why=f"{len(record.blocks)} blocks in shadow are too few, {BLOCKS_MIN} are needed",
        )
    if record.active_loss_sum <= 0:
        return Verdict(better=False, why="what is active made no error, which can't be bettered")
    ratio = record.loss_sum / record.active_loss_sum
    said = f"its loss is {ratio:.3f} times that of {_whom(record)} over {record.samples:,} samples"
    if ratio > 1 - MARGIN_RATIO:
        return Verdict(better=False, why=f"{said}, and must be {1 - MARGIN_RATIO:g} or less")
    if record.blocks:
        high = ratio_high(record.blocks)
        said = f"{said}, with {CONFIDENCE:.0%} confidence below {high:.3f}"
        if high >= 1:
            return Verdict(better=False, why=f"{said}: that may be chance")
    return Verdict(better=True, why=said)


def ratio_high(blocks: tuple[Block, ...], *, seed: int = 0) -> float:
    """Return the one-sided upper end, at `CONFIDENCE`, of the ratio of losses."""
    losses = np.array([(block.loss_sum, block.active_loss_sum) for block in blocks])
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), size=RESAMPLES)
    mine, theirs = (times @ losses).T
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(theirs > 0, mine / theirs, np.where(mine > 0, np.inf, 1.0))
    return float(np.quantile(ratios, CONFIDENCE, method="higher"))


def _whom(record: Record) -> str:
    return "what decides without it" if record.against is None else f"'{record.against}'"


__all__ = [
    "BLOCKS_MAX",
    "BLOCKS_MIN",
    "MARGIN_RATIO",
    "SAMPLES_MIN",
    "Block",
    "Record",
    "Verdict",
    "checked_record",
    "ratio_high",
    "verdict",
]
