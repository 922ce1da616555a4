"""Turns loops when they are due, until they are done or somebody ends them."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

NAP_SECONDS_MAX = 0.1
"""Longest wait without looking whether to end."""
LATE_RATIO_MAX = 0.1
"""How much of its step a tick may be late and leave the next where it was."""


@dataclass(slots=True)
class Stop:
    """Whether to end, and on whose word."""

    name: str | None = None

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Remember which signal came."""
        self.name = signal.Signals(number).name


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Let SIGINT, SIGTERM and SIGHUP end the run after the tick under way, until the context is left.

    A terminal that is closed sends SIGHUP; where it is ignored, as under nohup, it stays so.
    """
    stop = Stop()
    ending = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ending.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop.note) for number in ending}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Turning(Protocol):
    """A loop that somebody watches."""

    seconds_per_tick: float
    ticks_left: int
    """0: it is done."""

    def turn(self) -> None:
        """Make one tick, and show it."""
        ...


class Waiting(Protocol):
    """What loops wait for beside their time, where what they watch is in another process."""

    def is_ready(self, loop: Turning) -> bool:
        """Return whether there is something to turn a loop over."""
        ...

    def nap(self, seconds: float) -> None:
        """Wait so long at most; something may have come earlier."""
        ...


class NothingBeside:
    """Loops wait for their time alone."""

    def is_ready(self, loop: Turning) -> bool:
        """Return True: what it watches is in this process."""
        return True

    def nap(self, seconds: float) -> None:
        """Wait so long."""
        time.sleep(seconds)


def turn_all(loops: Sequence[Turning], stop: Stop, waiting: Waiting | None = None) -> None:
    """Turn each loop when it is due, until the first is done or somebody ends them.

    A late tick is not caught up: the next comes nine tenths of a step after it at the soonest.
    """
    waiting = waiting or NothingBeside()
    now = time.monotonic()
    due = [now] * len(loops)
    while stop.name is None:
        ready = [number for number, loop in enumerate(loops) if waiting.is_ready(loop)]
        now = time.monotonic()
        at = min(ready, key=due.__getitem__, default=None)
        if at is None or due[at] > now:
            waiting.nap(NAP_SECONDS_MAX if at is None else min(due[at] - now, NAP_SECONDS_MAX))
            continue
        began = time.monotonic()
        loops[at].turn()
        if loops[at].ticks_left == 0:
            return
        due[at] = (
            max(due[at], began - LATE_RATIO_MAX * loops[at].seconds_per_tick) + loops[at].seconds_per_tick
        )


__all__ = ["NothingBeside", "Stop", "Turning", "Waiting", "stopped_by_signals", "turn_all"]
