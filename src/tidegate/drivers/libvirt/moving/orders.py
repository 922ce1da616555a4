"""What is asked of a move, how far it is, and what is remembered of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

DOWNTIME_SECONDS_MAX: Final = 0.3
"""How long a guest may stand still, as QEMU has it by default."""
MOVE_SECONDS_MAX: Final = 900.0
"""A move that is not over by then is given up, or ends by post-copy where that is allowed."""

STALL_SECONDS_MAX: Final = 30.0
"""A move of which nothing more goes over for so long is given up."""


class MovePhase(Enum):
    """How far a move is; the phases of a Migration of the Card API."""

    PENDING = "pending"
    """Not begun."""
    PREPARING = "preparing"
    """It runs where it was, and its memory goes over."""
    SWITCHING = "switching"
    """It runs no more where it was; what is left goes over."""
    SUCCEEDED = "succeeded"
    """It runs there."""
    FAILED = "failed"
    """It could not be moved, and runs where it was."""
    ABORTED = "aborted"
    """It was stopped on request, and runs where it was."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens."""
        return self in {MovePhase.SUCCEEDED, MovePhase.FAILED, MovePhase.ABORTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveOrder:
    """How one VM may be moved."""

    bytes_per_second_max: float = float("inf")
    """What of the link it may take while the guest runs."""
    downtime_seconds_max: float = DOWNTIME_SECONDS_MAX
    auto_converge: bool = True
    """Slow a guest down that writes its memory faster than the link takes it."""
    post_copy: bool = False
    """Let the guest run at the target before its memory is there; a link that breaks then takes it down."""
    post_copy_after_seconds: float = 0.0
    """How long pre-copy is tried first, where post-copy is allowed."""
    seconds_max: float = MOVE_SECONDS_MAX
    stall_seconds_max: float = STALL_SECONDS_MAX
    is_storage_shared: bool = False
    """The owner's word that both hosts see the same disks, where that can't be seen from here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a move is, as the hypervisor tells it."""

    phase: MovePhase
    seconds: float = 0.0
    bytes_sent: int = 0
    bytes_left: int = 0
    bytes_whole: int = 0
    """Memory of the VM: zero pages and rewritten ones count neither less nor more."""
    rounds: int = 0
    dirty_bytes_per_second: float = 0.0
    throttle_ratio: float = 0.0
    """How much of its time the guest is kept from running, to converge."""
    downtime_seconds: float = 0.0
    reason: str = ""
    """Why, of a move that failed."""
    can_switch: bool = True
    """Whether post-copy, where it was allowed, can begin now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a prediction needs to know of a VM."""

    used_bytes: float
    """Memory that was ever written: all else goes over as next to nothing."""
    dirty_bytes_per_second: float
    """Bytes of pages written within a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveRecord:
    """What became of a move."""

    name: str
    uuid: str
    source: str
    target: str
    phase: MovePhase
    seconds: float
    """From the order until all was put away."""
    memory_seconds: float
    """While memory went over, as the hypervisor counted it."""
    downtime_seconds: float
    bytes_sent: int
    rounds: int
    throttle_ratio: float
    was_post_copied: bool
    reason: str = ""
