"""How a GPU that is not cut into slices is shared by time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tidegate.model.errors import InputError


class Sharing(Enum):
    """Who may compute on a GPU at a time; the value is the library's compute mode."""

    BY_TURNS = 0
    """Any number of programs, which take turns."""
    NOBODY = 2
    ONE_PROGRAM = 3


class Turns(Enum):
    """How virtual machines' vGPUs take turns on a GPU; the value is the library's scheduler policy."""

    BEST_EFFORT = 1
    """In rounds; who has nothing to do is passed over."""
    EQUAL_SHARE = 2
    """Each vGPU that is there gets as much as the others."""
    FIXED_SHARE = 3
    """Each gets what its type would get on a GPU full of such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VgpuSchedule:
    """The policy by which vGPUs take turns."""

    turns: Turns
    timeslice_nanoseconds: int | None = None
    """How long a turn is; None: as the driver sees fit."""

    def __post_init__(self) -> None:
        """Refuse turns that take no time.

        Raises:
            InputError: a turn is zero or negative, or best effort is given a length.

        """
        if self.timeslice_nanoseconds is None:
            return
        if self.timeslice_nanoseconds <= 0:
            raise InputError("a turn on a GPU takes no time; give nanoseconds above 0")
        if self.turns is Turns.BEST_EFFORT:
            raise InputError("best effort has no length of turns; choose equal or fixed share, or give none")
