"""How long a live move of a VM will take, how long its guest will stand still, and what it puts on the link.

Pre-copy sends all memory while the guest runs, then what it wrote meanwhile, and so on, until what is left
can go over within the pause that is allowed (Clark et al., "Live Migration of Virtual Machines", NSDI 2005).
QEMU looks between rounds too: as soon as no more than that is left of a round it counts what was written
since, and begins the next round with both (migration/migration.c, migration_iteration_run). A guest that
writes more than half of what is sent is slowed down, step by step (QEMU, "auto-converge":
cpu-throttle-initial, cpu-throttle-increment, throttle-trigger-threshold; migration/ram.c,
migration_trigger_throttle).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

PAGE_BYTES: Final = 4096.0
PAGE_HEAD_BYTES: Final = 8.0
"""What goes before each page: where it belongs."""
SETUP_SECONDS: Final = 0.05
SWITCH_SECONDS: Final = 0.01
"""The devices' state, and the start at the target; the guest stands still meanwhile."""
THROTTLE_FIRST_RATIO: Final = 0.2
THROTTLE_STEP_RATIO: Final = 0.1
THROTTLE_MAX_RATIO: Final = 0.99
TRIGGER_RATIO: Final = 0.5
"""A round in which more than this part of what was sent is written anew counts as too fast ..."""
TRIGGER_ROUNDS: Final = 2
"""... and after so many of them the guest is slowed down by one step more."""
TRIGGER_SECONDS: Final = 1.0
"""Rounds are judged no more often than this."""
ROUNDS_MAX: Final = 2000
"""A move that takes more rounds is taken for one that does not end."""
GRAIN_BYTES: Final = 64 * 1024.0
"""What is too little to begin a round for: a few pages are sent at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predicted:
    """What moves will be like; each array has the shape that was asked about."""

    seconds: NDArray[np.float64]
    """Infinite where the move does not end."""
    downtime_seconds: NDArray[np.float64]
    bytes_sent: NDArray[np.float64]
    rounds: NDArray[np.int64]
    throttle_ratio: NDArray[np.float64]
    """How much the guest is slowed down in the end."""
    ends: NDArray[np.bool_]


def predicted_moves(
    *,
    used_bytes: ArrayLike,
    dirty_bytes_per_second: ArrayLike,
    link_bytes_per_second: ArrayLike,
    downtime_seconds_max: ArrayLike,
    limit_bytes_per_second: ArrayLike = np.inf,
    working_set_bytes: ArrayLike = np.inf,
    auto_converge: bool = True,
) -> Predicted:
    """Return what live moves by pre-copy will be like; all arguments are broadcast against each other.

    ``limit_bytes_per_second`` is what of the link a move may take while the guest runs; in the pause it takes
    all. ``working_set_bytes`` is the memory that is written over and over: no round finds more of it.

    Raises:
        ValueError: an amount is negative or no number, or a link has no speed or any.

    """
    given = (used_bytes, dirty_bytes_per_second, link_bytes_per_second, downtime_seconds_max)
    arrays = [
        np.asarray(one, dtype=np.float64) for one in (*given, limit_bytes_per_second, working_set_bytes)
    ]
    used, dirty, link, pause, limit, working = np.broadcast_arrays(*arrays)
    if any(np.isnan(one).any() or (one < 0).any() for one in (used, dirty, link, pause, limit, working)):
        raise ValueError("amounts of a move are numbers of at least 0")
    speed = np.minimum(link, limit)
    if (speed <= 0).any() or not np.isfinite(link).all():
        raise ValueError("a link has a speed, which is above 0 and not infinite")
    whole = 1 + PAGE_HEAD_BYTES / PAGE_BYTES
    state = _State(used * whole)
    working = np.minimum(working, used) * whole
    threshold = speed * pause
    for _ in range(ROUNDS_MAX):
        going = state.going & (state.left > threshold + GRAIN_BYTES)
        if not going.any():
            break
        _round(state, going, threshold, speed, dirty * whole, working, auto_converge=auto_converge)
    ends = state.left <= threshold + GRAIN_BYTES
    still = state.left / link + SWITCH_SECONDS
    return Predicted(
        seconds=np.where(ends, SETUP_SECONDS + state.seconds + still, np.inf),
        downtime_seconds=np.where(ends, still, np.inf),
        bytes_sent=np.where(ends, state.sent + state.left, np.inf),
        rounds=state.rounds + 1,
        throttle_ratio=state.throttle,
        ends=ends,
    )


class _State:
    """Where all moves are after some rounds."""

    def __init__(self, left: NDArray[np.float64]) -> None:
        self.left = left
        self.seconds, self.sent, self.throttle = (np.zeros_like(left) for _ in range(3))
        self.since_judged, self.sent_since, self.written_since = (np.zeros_like(left) for _ in range(3))
        self.rounds, self.fast = (np.zeros(left.shape, dtype=np.int64) for _ in range(2))
        self.going = np.ones(left.shape, dtype=np.bool_)


def _round(  # noqa: PLR0917 - what a round depends on
    state: _State,
    going: NDArray[np.bool_],
    threshold: NDArray[np.float64],
    speed: NDArray[np.float64],
    dirty: NDArray[np.float64],
    working: NDArray[np.float64],
    *,
    auto_converge: bool,
) -> None:
    """Send what is left but for what fits into the pause; count what was written meanwhile."""
    sent = np.where(going, state.left - threshold, 0.0)
    seconds = sent / speed
    # A page of the working set that still waits is sent once, however often it is written.
    written = np.minimum(dirty * (1 - state.throttle) * seconds, np.maximum(working - threshold, 0.0))
    written = np.where(going, written, 0.0)
    state.seconds = state.seconds + seconds
    state.sent = state.sent + sent
    state.left = np.where(going, threshold + written, state.left)
    state.rounds = state.rounds + going
    if auto_converge:
        _judge(state, going, sent, written, seconds)


def _judge(
    state: _State,
    going: NDArray[np.bool_],
    sent: NDArray[np.float64],
    written: NDArray[np.float64],
    seconds: NDArray[np.float64],
) -> None:
    """Slow those guests down further that wrote too fast."""
    state.since_judged = state.since_judged + seconds
    state.sent_since, state.written_since = state.sent_since + sent, state.written_since + written
    due = going & (state.since_judged >= TRIGGER_SECONDS)
    too_fast = due & (state.written_since > TRIGGER_RATIO * state.sent_since)
    state.fast = state.fast + too_fast
    slower = state.fast >= TRIGGER_ROUNDS
    step = np.where(state.throttle > 0, THROTTLE_STEP_RATIO, THROTTLE_FIRST_RATIO)
    state.throttle = np.where(slower, np.minimum(state.throttle + step, THROTTLE_MAX_RATIO), state.throttle)
    state.fast = np.where(slower, 0, state.fast)
    for name in ("since_judged", "sent_since", "written_since"):
        setattr(state, name, np.where(due, 0.0, getattr(state, name)))


__all__ = ["Predicted", "predicted_moves"]
