"""What a link can carry, from how far it spreads packets that were sent back to back.

Dispersion of trains as in C. Dovrolis, P. Ramanathan and D. Moore, "Packet-dispersion techniques and a
capacity-estimation methodology", IEEE/ACM Transactions on Networking, 2004: on a quiet link a train's rate is
the capacity of its narrowest place; beside other traffic it is less, between what is free and that.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.links import Train

SPREAD_MIN: Final = 1.25
"""A train that arrives as it was sent says only that the link is not slower than the sender."""


def train_bytes_per_second(train: Train) -> float:
    """Return the rate a train got through.

    Infinite where the link did not hold it up, NaN where nothing arrived after the first.
    """
    if train.received_seconds.size < 2:
        return math.nan
    sent, received = _gap_seconds(train.sent_seconds), _gap_seconds(train.received_seconds)
    return math.inf if received <= SPREAD_MIN * sent else train.packet_bytes / received


def _gap_seconds(times: NDArray[np.float64]) -> float:
    """Return the gap between packets: the median over pairs that are half a train apart.

    What woke up late for the first packet, or took several at once, would make the train's ends a bad
    measure of it (the slope of H. Theil, "A rank-invariant method", 1950, with the longer pairs only).
    """
    half = max(times.size // 2, 1)
    return float(np.median(times[half:] - times[:-half])) / half


def capacity_bytes_per_second(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lower median (links,) of rates of trains (links, trains); NaN are none.

    Infinite where more than half of them were not held up. A train that met a burst of others, or an
    interrupt that came late, stands alone and does not count.
    """
    ordered = np.sort(rates, axis=1)
    trains = np.count_nonzero(~np.isnan(rates), axis=1)
    middle = np.maximum(trains - 1, 0) // 2
    found = np.take_along_axis(ordered, middle[:, None], axis=1)[:, 0]
    return np.where(trains > 0, found, np.nan)
