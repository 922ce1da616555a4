"""What the engine remembers of each series: bounded, in shares of capacity, one slot of time a row.

| what                       | slots x bytes | for                                             |
|----------------------------|---------------|-------------------------------------------------|
| last three samples         | 3 x 4         | level and trend                                 |
| the last hour, by 5 min    | 12 x 2        | recent peaks                                    |
| the last day, by hours     | 24 x 2        | peaks of 3, 12, 24 hours                        |
| the last week, by days     | 7 x 2         | the week's peak                                 |
| yesterday, by 5 min        | 288 x 1       | what came next at this time; square root scale  |
| usual day, by 5 min        | 288 x 1       | its slowly fading peak on past days; same scale |
| running means and rates    | 13 x 4        | level, noise, how often it jumps and how far    |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tidegate.forecast.windows import DAY_SECONDS, HOUR_SECONDS
from tidegate.model.columns import Column, Columns
from tidegate.model.snapshot import VIOLATION_TOLERANCE_RATIO

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.snapshot import Snapshot

REFERENCE_SECONDS: Final = 300
"""The step the running means' weights are given for; other steps get the equivalent weight."""
ROOT_STEPS: Final = np.float32(255)
"""Days are kept as the square root of the share in 255 steps: finer where most VMs live."""
USUAL_FADE: Final = np.float32(0.922)
"""What a day leaves of the usual day's root: a peak not seen again is half as high after four days."""
JUMPS: Final = ((0.01, 0.05, 0.2), (0.001, 0.01, 0.05, 0.2))
"""Rises above the last sample, and above the hour's peak, whose frequency is followed; the least one is
above what half precision rounds."""
RATE_WEIGHT: Final = 1 / 864
"""Frequencies remember three days."""
PEAK_DECAYS: Final = (0.9976, 0.99966)
"""Largest rise above the hour's peak, halved in a day and in a week."""
MEAN_WEIGHTS: Final = {
    "mean_short": 1 / 6,
    "mean_long": 1 / 288,
    "noise_short": 1 / 12,
    "noise_long": 1 / 288,
}
JUMP_RATIO: Final = np.float32(0.05)
"""A rise above the hour's peak by this share of capacity is an event; its age is followed."""
AGE_MAX: Final = 4000
PROBE_FACTOR: Final = np.float32(1.5)
PROBE_RATIO: Final = np.float32(0.05)
"""A sample cut off at x stands for 1.5 x + 0.05 of capacity: demand is somewhere above, and growing the
grant by half finds it in a few steps."""

Chunk = dict[str, "NDArray[Any]"]
"""Views of the columns for some series: last axis (series,)."""


class Sample(NamedTuple):
    """One sample of some series in shares of capacity; (series,) each."""

    share: NDArray[np.float32]
    """NaN where missing."""
    censored: NDArray[np.bool_]
    """Demand was above ``share``, which the grant cut off."""


class Slots:
    """Where a moment falls in each ring, for one step of samples.

    A step that does not divide a day makes "yesterday" drift by the remainder each day.
    """

    def __init__(self, step_seconds: int) -> None:
        """Choose rings no finer than five minutes; coarser samples get coarser rings."""
        self.seconds = max(step_seconds, REFERENCE_SECONDS)
        self.hour = max(1, HOUR_SECONDS // self.seconds)
        self.day = max(1, DAY_SECONDS // self.seconds)


def columns(slots: Slots) -> Columns:
    """Return the empty memory of a fleet."""
    number = Column(dtype=np.float32, fill=0.0)
    return Columns(
        last=Column(dtype=np.float32, fill=0.0, leading=(3,)),
        ring=Column(dtype=np.float16, fill=-1.0, leading=(slots.hour,)),
        hours=Column(dtype=np.float16, fill=0.0, leading=(24,)),
        days=Column(dtype=np.float16, fill=0.0, leading=(7,)),
        yesterday=Column(dtype=np.uint8, fill=0.0, leading=(slots.day,)),
        usual=Column(dtype=np.uint8, fill=0.0, leading=(slots.day,)),
        rates=Column(dtype=np.float32, fill=0.01, leading=(7,)),
        peaks=Column(dtype=np.float32, fill=0.0, leading=(2,)),
        **dict.fromkeys(MEAN_WEIGHTS, number),
        jump_age=Column(dtype=np.float32, fill=288.0),
        seen=number,
        capacity=Column(dtype=np.float32, fill=np.nan),
    )


def censored_samples(snapshot: Snapshot) -> NDArray[np.bool_]:
    """Return where use was cut off by the grant (resources, workloads).

    A pressed sample that shows more than was held (a replay that shows demand) is no lower bound.
    """
    tolerance = np.float32(VIOLATION_TOLERANCE_RATIO) * snapshot.capacity
    return snapshot.pressed & ~(snapshot.used > snapshot.held + tolerance)


def weight_per_step(weight: NDArray[np.floating] | float, step_seconds: int) -> NDArray[np.float32]:
    """Return the running-mean weight of one step that equals ``weight`` per five minutes."""
    return np.asarray(1 - (1 - weight) ** (step_seconds / REFERENCE_SECONDS), dtype=np.float32)


def remember(past: Chunk, sample: Sample, *, time_seconds: int, step_seconds: int, slots: Slots) -> None:
    """Take in one sample of each series of a chunk; what is missing changes nothing but its age."""
    present = ~np.isnan(sample.share)
    before = past["last"][0].copy()
    first = present & (past["seen"] == 0)
    probed = np.maximum(np.minimum(sample.share * PROBE_FACTOR + PROBE_RATIO, 1), before)
    share = np.where(present, np.where(sample.censored, probed, sample.share), before)
    previous = np.where(first, share, before)
    hour_peak = past["ring"].max(axis=0).astype(np.float32)
    hour_peak = np.where(hour_peak < 0, previous, hour_peak)
    _follow_jumps(past, share - previous, share - hour_peak, present, step_seconds)
    _follow_means(past, share, previous, first, present, step_seconds=step_seconds)
    last = past["last"]
    np.copyto(last[2], np.where(first, share, last[1]), where=present)
    np.copyto(last[1], previous, where=present)
    last[0] = share
    _file(past, share, present, time_seconds - step_seconds, slots)
    past["seen"] += present


def _follow_jumps(
    past: Chunk,
    rise: NDArray[np.float32],
    above_hour: NDArray[np.float32],
    present: NDArray[np.bool_],
    step_seconds: int,
) -> None:
    """Update how often and how far the series jumps."""
    weight = weight_per_step(RATE_WEIGHT, step_seconds)
    jumps = [rise > at for at in JUMPS[0]] + [above_hour > at for at in JUMPS[1]]
    rates = past["rates"]
    rates += np.where(present, (np.stack(jumps) - rates) * weight, 0)
    for peak, decay in zip(past["peaks"], PEAK_DECAYS, strict=True):
        kept = peak * np.float32(decay ** (step_seconds / REFERENCE_SECONDS))
        np.copyto(peak, np.maximum(kept, above_hour), where=present)
    age = np.minimum(past["jump_age"] + np.float32(step_seconds / REFERENCE_SECONDS), AGE_MAX)
    np.copyto(past["jump_age"], np.where(above_hour > JUMP_RATIO, 0, age), where=present)


def _follow_means(
    past: Chunk,
    share: NDArray[np.float32],
    previous: NDArray[np.float32],
    first: NDArray[np.bool_],
    present: NDArray[np.bool_],
    *,
    step_seconds: int,
) -> None:
    """Update the running means of level and noise; a first sample is its own mean."""
    noise = np.abs(share - previous)
    for name, weight in MEAN_WEIGHTS.items():
        value = share if name.startswith("mean") else noise
        past[name] += np.where(present, (value - past[name]) * weight_per_step(weight, step_seconds), 0)
    for name in ("mean_short", "mean_long"):
        np.copyto(past[name], share, where=first)


def _file(
    past: Chunk, share: NDArray[np.float32], present: NDArray[np.bool_], at_seconds: int, slots: Slots
) -> None:
    """Put the sample in its slot of each ring; several samples of one slot leave their peak."""
    ring = past["ring"][at_seconds // slots.seconds % slots.hour]
    np.copyto(ring, np.maximum(ring, share).astype(np.float16), where=present)
    for name, seconds, count in (("hours", HOUR_SECONDS, 24), ("days", DAY_SECONDS, 7)):
        row = past[name][at_seconds // seconds % count]
        np.copyto(row, np.maximum(row, share).astype(np.float16), where=present)
    slot = at_seconds // slots.seconds % slots.day
    root = np.ceil(np.sqrt(share) * ROOT_STEPS).astype(np.uint8)
    yesterday, usual = past["yesterday"][slot], past["usual"][slot]
    np.maximum(yesterday, root, out=yesterday)
    np.copyto(usual, np.maximum(usual, root), where=present)


SHARES: Final = ("last", "hours", "days", "peaks", *MEAN_WEIGHTS)
"""Columns that are shares of capacity on a plain scale."""


def resize(memory: Columns, capacity: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Express what is remembered in shares of the new capacity (resources, workloads).

    Returns where it changed, and the factor of each changed series (changed,). A first capacity and
    an unknown one change nothing.
    """
    before = memory["capacity"]
    changed = (capacity != before) & (capacity > 0) & (before > 0)
    factor = before[changed] / capacity[changed]
    np.copyto(before, capacity, where=capacity > 0)
    if not factor.size:
        return changed, factor
    for name in SHARES:
        column = memory[name]
        column[..., changed] = np.minimum(column[..., changed] * factor, 1)
    ring = memory["ring"][:, changed]
    memory["ring"][:, changed] = np.where(ring < 0, ring, np.minimum(ring * factor, 1))
    for name in ("yesterday", "usual"):
        root = np.ceil(memory[name][:, changed] * np.sqrt(factor))
        memory[name][:, changed] = np.minimum(root, ROOT_STEPS).astype(np.uint8)
    return changed, factor


def turn_rings(memory: Columns, *, from_seconds: int, to_seconds: int, slots: Slots) -> None:
    """Empty the slots that time has entered since the last tick, for the whole fleet at once.

    A gap longer than a ring empties it whole; the usual day's slots fade instead.
    """
    for name, seconds, count, empty in (
        ("ring", slots.seconds, slots.hour, -1.0),
        ("hours", HOUR_SECONDS, 24, 0.0),
        ("days", DAY_SECONDS, 7, 0.0),
        ("yesterday", slots.seconds, slots.day, 0.0),
    ):
        start, end = from_seconds // seconds, to_seconds // seconds
        for slot in range(max(start + 1, end - count + 1), end + 1):
            memory[name][slot % count] = empty
            if name == "yesterday":
                usual = memory["usual"][slot % count]
                usual[...] = usual * USUAL_FADE
