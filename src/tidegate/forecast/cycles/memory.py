"""What is remembered of each series: the last samples, the plain baseline, and what acts where.

| what                          | slots x bytes | for                                         |
|-------------------------------|---------------|---------------------------------------------|
| the last samples              | 4096 x 2      | finding the period, and the same phase in the last cycles |
| the last hour, by 5 min       | 12 x 4        | the plain baseline                          |
| what was said                 | lead x 5 x 4  | judging it when its time has come           |
| period, levels, losses, dates | about 90      | the record                                  |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tidegate.forecast.engine.past import PROBE_FACTOR, PROBE_RATIO, Slots, censored_samples
from tidegate.forecast.engine.record import MARGIN_START
from tidegate.model.columns import Column, Columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.snapshot import Snapshot

SAID: Final = ("cycles", "baseline", "wide", "narrow")
"""What is said of a sample: by the cycles (-1: nothing), by the baseline, and by the phase alone with a
wider and with its own tolerance."""
CYCLES, BASELINE, WIDE, NARROW = range(len(SAID))
NOTHING: Final = np.float32(-1)
NEVER: Final = -1
CUT_STEPS_MAX: Final = 16
"""Cut-off samples that are raised to what the burst turned out to want: growing by half, a grant passes
from a thousandth of capacity to all of it in 15 steps."""


class Sample(NamedTuple):
    """One sample of every series in shares of capacity, (resources, workloads) each."""

    share: NDArray[np.float32]
    """NaN where missing."""
    held: NDArray[np.float32]
    censored: NDArray[np.bool_]

    @property
    def at_least(self) -> NDArray[np.float32]:
        """The share, and where demand was cut off what it stands for."""
        probe = np.minimum(self.share * PROBE_FACTOR + PROBE_RATIO, 1)
        return np.where(self.censored, probe, self.share)


def sample_of(snapshot: Snapshot) -> Sample:
    """Return the snapshot's samples as shares of capacity; unknown capacity is a missing sample."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.clip(snapshot.used / snapshot.capacity, 0, 1).astype(np.float32)
        held = (snapshot.held / snapshot.capacity).astype(np.float32)
    return Sample(share, held, censored_samples(snapshot) & (held < 1) & ~np.isnan(share))


def columns(*, window_steps: int, lead_steps: int, slots: Slots) -> Columns:
    """Return the empty memory of a fleet."""
    number = Column(dtype=np.float32, fill=0.0)
    tick = Column(dtype=np.int64, fill=NEVER)
    return Columns(
        ring=Column(dtype=np.float16, fill=np.nan, leading=(window_steps,)),
        hour=Column(dtype=np.float32, fill=-1.0, leading=(slots.hour,)),
        said=Column(dtype=np.float32, fill=float(NOTHING), leading=(lead_steps, len(SAID))),
        loss=Column(dtype=np.float32, fill=0.0, leading=(2,)),
        last=Column(dtype=np.float32, fill=np.nan),
        peak=Column(dtype=np.float32, fill=np.nan),
        peak_margin=Column(dtype=np.float32, fill=MARGIN_START),
        capacity=Column(dtype=np.float32, fill=np.nan),
        cut_steps=Column(dtype=np.uint8, fill=0),
        period=number,
        tolerance=Column(dtype=np.uint8, fill=0),
        margin=number,
        low=number,
        high=number,
        coverage=Column(dtype=np.float32, fill=np.nan),
        burst_at=tick,
        proven=Column(dtype=np.bool_, fill=0),
        since=tick,
        look_at=tick,
        ripe_at=tick,
        quiet=Column(dtype=np.bool_, fill=1),
        looks=Column(dtype=np.uint8, fill=0),
        burns=Column(dtype=np.uint8, fill=0),
    )


IN_SHARES: Final = ("ring", "hour", "said", "last", "peak", "peak_margin", "margin", "low", "high")


def resize(memory: Columns, capacity: NDArray[np.float32]) -> None:
    """Express what is kept in shares of the new capacities; a first and an unknown one change nothing."""
    before = memory["capacity"]
    changed = (capacity != before) & (capacity > 0) & (before > 0)
    if changed.any():
        factor = before[changed] / capacity[changed]
        for name in IN_SHARES:
            kept = memory[name][..., changed]
            memory[name][..., changed] = np.where(kept < 0, kept, np.minimum(kept * factor, 1))
    np.copyto(before, capacity, where=capacity > 0)


def turn_hour(memory: Columns, *, from_seconds: int, to_seconds: int, slots: Slots) -> None:
    """Empty the slots of the hour that time has entered since the last sample."""
    start, end = from_seconds // slots.seconds, to_seconds // slots.seconds
    for slot in range(max(start + 1, end - slots.hour + 1), end + 1):
        memory["hour"][slot % slots.hour] = -1


def remember(memory: Columns, sample: Sample, *, tick: int, hour_slot: int) -> None:
    """File one sample of every series.

    Cut-off samples say "at least": once the burst shows what it wanted, those before it are raised to it.
    """
    present = ~np.isnan(sample.share)
    share = sample.at_least
    ring = memory["ring"]
    ring[tick % ring.shape[0]] = share
    cut = memory["cut_steps"]
    for back in range(1, int(cut.max(initial=0)) + 1):
        raised = (cut >= back) & present
        row = ring[(tick - back) % ring.shape[0]]
        np.copyto(row, np.fmax(row, share.astype(np.float16)), where=raised)
    after = np.where(sample.censored, np.minimum(cut + 1, CUT_STEPS_MAX), 0)
    np.copyto(cut, after.astype(np.uint8), where=present)
    hour = memory["hour"]
    np.copyto(hour[hour_slot], np.maximum(hour[hour_slot], share), where=present)
    peak = hour.max(axis=0)
    memory["peak"] = np.where(peak < 0, memory["peak"], peak)
    np.copyto(memory["last"], share, where=present)
    np.copyto(memory["since"], tick, where=present & (memory["since"] == NEVER))
