"""What each action did, with the value read back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Phase(IntEnum):
    """How an action ended."""

    APPLIED = 0
    PARTIAL = 1
    REFUSED = 2
    TIMED_OUT = 3
    ROLLED_BACK = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """The actions confirmed since the last collection, one row each."""

    workload_id: NDArray[np.int64]
    resource_row: NDArray[np.uint8]
    share: NDArray[np.uint8]
    phase: NDArray[np.uint8]
    """(actions,): a `Phase`."""
    amount_read_back: NDArray[np.float32]
    """(actions,) the share as read back after the action, in the place's units."""

    def __len__(self) -> int:
        """Return the number of confirmed actions."""
        return int(self.phase.shape[0])


def nothing_confirmed() -> Outcome:
    """Return the outcome of a tick in which no action came back."""
    return Outcome(
        workload_id=np.empty(0, dtype=np.int64),
        resource_row=np.empty(0, dtype=np.uint8),
        share=np.empty(0, dtype=np.uint8),
        phase=np.empty(0, dtype=np.uint8),
        amount_read_back=np.empty(0, dtype=np.float32),
    )


def all_confirmed(outcomes: Sequence[Outcome]) -> Outcome:
    """Return several outcomes as one, in their order."""
    if not outcomes:
        return nothing_confirmed()
    if len(outcomes) == 1:
        return outcomes[0]
    return Outcome(
        workload_id=np.concatenate([one.workload_id for one in outcomes]),
        resource_row=np.concatenate([one.resource_row for one in outcomes]),
        share=np.concatenate([one.share for one in outcomes]),
        phase=np.concatenate([one.phase for one in outcomes]),
        amount_read_back=np.concatenate([one.amount_read_back for one in outcomes]),
    )
