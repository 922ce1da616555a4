"""What the network sees of a series: 40 numbers of order one, made from its `past` and the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tidegate.forecast.engine.past import ROOT_STEPS, Chunk, Slots
from tidegate.forecast.windows import DAY_SECONDS, HOUR_SECONDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

COUNT: Final = 40
LAST: Final = COUNT - 1
"""Row of the features that is the last sample itself, in shares of capacity."""


class Peaks(NamedTuple):
    """Peaks over growing windows, in shares of capacity; (series,) each."""

    quarter: NDArray[np.float32]
    hour: NDArray[np.float32]
    three_hours: NDArray[np.float32]
    half_day: NDArray[np.float32]
    day: NDArray[np.float32]
    week: NDArray[np.float32]
    hour_low: NDArray[np.float32]
    """The lowest sample of the hour."""
    next_yesterday: NDArray[np.float32]
    """What came in the next step at this time yesterday."""
    next_two_yesterday: NDArray[np.float32]
    next_hour_yesterday: NDArray[np.float32]
    next_two_usual: NDArray[np.float32]
    """The highest that usually comes in the next two steps at this time of day."""
    next_hour_usual: NDArray[np.float32]


def peaks(past: Chunk, *, time_seconds: int, slots: Slots) -> Peaks:
    """Return the peaks as they stand at ``time_seconds``, the end of the last sample."""
    last = past["last"][0]
    newest = (time_seconds - 1) // slots.seconds
    ring = past["ring"].astype(np.float32)
    recent = [(newest - back) % slots.hour for back in range(min(3, slots.hour))]
    hour = np.maximum(ring.max(axis=0), last)
    now = (time_seconds - 1) // HOUR_SECONDS
    hours = past["hours"]
    three_hours = np.maximum(hours[[(now - back) % 24 for back in range(3)]].max(axis=0), hour)
    half_day = np.maximum(hours[[(now - back) % 24 for back in range(12)]].max(axis=0), three_hours)
    day = np.maximum(hours.max(axis=0), half_day)
    yesterday = past["yesterday"]
    coming = [(newest + ahead) % slots.day for ahead in range(1, slots.hour + 1)]
    next_step = _share(yesterday[coming[0]])
    usual = past["usual"]
    return Peaks(
        quarter=np.maximum(ring[recent].max(axis=0), last),
        hour=hour,
        three_hours=three_hours,
        half_day=half_day,
        day=day,
        week=np.maximum(past["days"].max(axis=0), day),
        hour_low=np.minimum(np.where(ring < 0, np.float32(9), ring).min(axis=0), last),
        next_yesterday=next_step,
        next_two_yesterday=_share(yesterday[coming[:2]].max(axis=0)),
        next_hour_yesterday=_share(yesterday[coming].max(axis=0)),
        next_two_usual=_share(usual[coming[:2]].max(axis=0)),
        next_hour_usual=_share(usual[coming].max(axis=0)),
    )


def features(past: Chunk, peak: Peaks, *, time_seconds: int) -> NDArray[np.float32]:
    """Return (40, series): levels on a log scale, differences by their root, rates, ages, time of day."""
    last, before, earlier = past["last"]
    out = np.empty((COUNT, last.size), dtype=np.float32)
    levels = (last, *peak[:7], past["mean_short"], past["mean_long"], past["noise_short"], past["noise_long"])
    np.stack(levels, out=out[:12])
    out[:12] = np.log2(out[:12] + np.float32(0.004)) * np.float32(0.25) + 1
    differences = (
        *(last - before, before - earlier, peak.quarter - last, peak.hour - last),
        *(peak.day - last, peak.week - last, last - peak.hour_low, peak.next_yesterday - last),
        *(peak.next_two_yesterday - last, peak.next_hour_yesterday - last),
        *(past["mean_short"] - last, past["mean_long"] - last),
    )
    np.stack(differences, out=out[12:24])
    out[12:24] = _root(out[12:24])
    out[24:31] = np.log2(past["rates"] + np.float32(0.0005)) * np.float32(0.2) + np.float32(1.2)
    out[31:33] = np.sqrt(np.maximum(past["peaks"], 0))
    out[33] = np.log2(past["jump_age"] + 1) * np.float32(0.15) - np.float32(0.9)
    out[34] = np.log2(past["seen"] + 1) * np.float32(0.15) - np.float32(1)
    out[35] = _root(peak.next_two_usual - last)
    out[36] = _root(peak.next_hour_usual - last)
    turn = 2 * np.pi * (time_seconds % DAY_SECONDS) / DAY_SECONDS
    out[37], out[38] = np.sin(turn), np.cos(turn)
    out[LAST] = last
    return out


def _root(difference: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the square root with the sign kept: small differences count, large ones don't swamp."""
    return np.copysign(np.sqrt(np.abs(difference)), difference)


def _share(root: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the share of capacity that yesterday's bytes stand for."""
    return np.square(root.astype(np.float32) * (1 / ROOT_STEPS))
