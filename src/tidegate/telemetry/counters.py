"""What interfaces carry, from counters that wrap, start anew and are missing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.links import InterfaceCounters

WINDOW_SECONDS: Final = 5.0
"""Rates are means over so long, or over the last two readings where those are further apart."""
READINGS_MAX: Final = 64
"""Kept of a window, however often it is read."""
INTERFACES_MAX: Final = 4096
UNTOLD_BYTES_PER_SECOND: Final = {32: 125e6, 64: 125e9}
"""What an interface carries at most that does not tell its speed, by the bits of its counters: a gigabit (RFC
2863, 3.1.6 has 64-bit counters far below), and a terabit."""
OVER_RATIO: Final = 1.1
"""Frames' headers count for some and not for others, and readings are not taken at the very moment."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grown:
    """By how much counters have grown between two readings; NaN where nobody can tell."""

    names: tuple[str, ...]
    time_seconds: float
    """Of the later reading."""
    seconds: float
    received_bytes: NDArray[np.float64]
    """(interfaces,)"""
    sent_bytes: NDArray[np.float64]
    """(interfaces,)"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Carried:
    """What interfaces carry; NaN where unknown."""

    names: tuple[str, ...]
    received_bytes_per_second: NDArray[np.float64]
    """(interfaces,)"""
    sent_bytes_per_second: NDArray[np.float64]
    """(interfaces,)"""
    bytes_per_second_max: NDArray[np.float64]
    """(interfaces,)"""

    def of(self, name: str) -> tuple[float, float]:
        """Return what an interface carries in its busier direction, and its speed; NaN where unknown."""
        if name not in self.names:
            return np.nan, np.nan
        row = self.names.index(name)
        received, sent = self.received_bytes_per_second[row], self.sent_bytes_per_second[row]
        return float(np.fmax(received, sent)), float(self.bytes_per_second_max[row])


def grown(before: InterfaceCounters, after: InterfaceCounters) -> Grown:
    """Return how far each interface of the later reading has counted since the earlier one.

    A counter that is lower than before has wrapped if the interface could have carried so much meanwhile;
    otherwise it started anew, and nobody knows. Nor does anyone where it could have wrapped twice.

    Raises:
        InputError: time has not passed.

    """
    seconds = after.time_seconds - before.time_seconds
    if not seconds > 0:
        raise InputError(f"counters were read twice within {seconds} s; read them one after the other")
    rows = {name: row for row, name in enumerate(before.names)}
    at = np.array([rows.get(name, -1) for name in after.names], dtype=np.int64)
    if not before.names:
        unknown = np.full(len(after.names), np.nan)
        return Grown(
            names=after.names,
            time_seconds=after.time_seconds,
            seconds=seconds,
            received_bytes=unknown,
            sent_bytes=unknown,
        )
    comparable = (
        (at >= 0)
        & after.known
        & before.known[at]
        & (after.since == before.since[at])
        & (after.bits == before.bits[at])
    )
    limits = 2.0**after.bits
    untold = np.where(after.bits == 32, UNTOLD_BYTES_PER_SECOND[32], UNTOLD_BYTES_PER_SECOND[64])
    told = np.where(after.bytes_per_second_max > 0, after.bytes_per_second_max, untold)
    most = OVER_RATIO * told * seconds
    comparable &= most < limits
    forwards = np.minimum(OVER_RATIO * UNTOLD_BYTES_PER_SECOND[64] * seconds, limits)

    def difference(now: NDArray[np.uint64], then: NDArray[np.uint64]) -> NDArray[np.float64]:
        # An agent that looks at its ports now and then tells in one second what took ten: only where the
        # counter is lower than before must it be less than the speed allows.
        bound = np.where(now >= then[at], forwards, most)
        apart = now - then[at]  # numbers without a sign wrap at 64 bits by themselves
        apart = np.where(after.bits == 32, apart & np.uint64(0xFFFFFFFF), apart)
        return np.where(comparable & (apart <= bound), apart.astype(np.float64), np.nan)

    return Grown(
        names=after.names,
        time_seconds=after.time_seconds,
        seconds=seconds,
        received_bytes=difference(after.received_bytes, before.received_bytes),
        sent_bytes=difference(after.sent_bytes, before.sent_bytes),
    )


class CounterWindow:
    """The last readings of interfaces."""

    def __init__(self) -> None:
        """Start without any."""
        self._last: InterfaceCounters | None = None
        self._grown: deque[Grown] = deque(maxlen=READINGS_MAX)

    def add(self, counters: InterfaceCounters) -> None:
        """Take a reading in.

        Raises:
            InputError: it is not later than the last, or has too many interfaces; nothing was changed.

        """
        if len(counters.names) > INTERFACES_MAX:
            raise InputError(
                f"{len(counters.names)} interfaces are more than {INTERFACES_MAX}; name those of links"
            )
        if self._last is not None:
            self._grown.append(grown(self._last, counters))
        self._last = counters

    def carried(self) -> Carried:
        """Return what each interface of the last reading has carried over the window."""
        last = self._last
        if last is None:
            nothing = np.empty(0)
            return Carried(
                names=(),
                received_bytes_per_second=nothing,
                sent_bytes_per_second=nothing,
                bytes_per_second_max=nothing,
            )
        window = [one for one in self._grown if one.time_seconds > last.time_seconds - WINDOW_SECONDS]
        return Carried(
            names=last.names,
            received_bytes_per_second=_mean(last.names, [(one, one.received_bytes) for one in window]),
            sent_bytes_per_second=_mean(last.names, [(one, one.sent_bytes) for one in window]),
            bytes_per_second_max=np.where(last.bytes_per_second_max > 0, last.bytes_per_second_max, np.nan),
        )


def _mean(names: tuple[str, ...], window: list[tuple[Grown, NDArray[np.float64]]]) -> NDArray[np.float64]:
    """Return rates over those parts of a window of which anybody knows."""
    total, seconds = np.zeros(len(names)), np.zeros(len(names))
    for one, amounts in window:
        if one.names == names:
            ours = amounts
        else:
            by_name = dict(zip(one.names, amounts.tolist(), strict=True))
            ours = np.array([by_name.get(name, np.nan) for name in names], dtype=np.float64)
        known = ~np.isnan(ours)
        total += np.where(known, ours, 0.0)
        seconds += np.where(known, one.seconds, 0.0)
    return np.where(seconds > 0, total / np.where(seconds > 0, seconds, 1.0), np.nan)
