"""Keeps the roster to a bounded number of workloads: the largest by name, the rest as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.drivers.local.discover import identifier

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORKLOADS_MAX: Final = 512
"""Workloads with a row of their own."""
OTHER: Final = "other"
"""Name of the row in which all further ones are summed."""
OTHER_ID: Final = identifier("\0other")
"""No path holds a zero byte."""
STAYING_FACTOR: Final = 2.0
"""Who has a row keeps it until another is this much larger: a roster that flickers forgets everyone."""


class Largest:
    """Chooses who has a row of its own, and remembers it."""

    def __init__(self, count_max: int = WORKLOADS_MAX) -> None:
        """Let up to ``count_max`` have one."""
        self._count_max = count_max
        self._kept: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def choose(self, ids: NDArray[np.int64], share: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which workloads (workloads,) have a row of their own.

        ``share`` is what each takes of the machine, NaN where unknown.
        """
        large = np.ones(ids.size, dtype=np.bool_)
        if ids.size > self._count_max:
            size = np.nan_to_num(share) * np.where(np.isin(ids, self._kept), STAYING_FACTOR, 1.0)
            large[np.argsort(-size, kind="stable")[self._count_max :]] = False
        self._kept = ids[large]
        return large
