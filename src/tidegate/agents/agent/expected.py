"""What an agent's device expects its workloads to need, as it was told last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.roster import realigned, source_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tidegate.model.roster import Roster
    from tidegate.wire.foretelling import Foretold
    from tidegate.wire.frames import ServerRoster

FORETOLD_SECONDS: Final = 30.0
"""What a device expected longer ago says nothing of now."""


class Expected:
    """Demand to come, by workload."""

    def __init__(self, forwards_seconds: Callable[[], float]) -> None:
        """Know nothing yet."""
        self._forwards = forwards_seconds
        self._last: tuple[NDArray[np.int64], NDArray[np.float32], float] | None = None
        """Of whom, what is expected of them, and when it was said."""

    def told(self, foretold: Foretold, who: ServerRoster) -> None:
        """Take it in; of a roster that is no more it is left out."""
        if foretold.roster_version == who.version:
            self._last = who.roster.ids, foretold.demand, self._forwards()

    def of(self, roster: Roster) -> NDArray[np.float32] | None:
        """Return demand (resources, workloads) of who is there now, NaN where unknown; None where all is."""
        if self._last is None or self._forwards() - self._last[2] > FORETOLD_SECONDS:
            return None
        ids, demand, _ = self._last
        return realigned(demand, source_rows(ids, roster.ids), np.nan)


__all__ = ["FORETOLD_SECONDS", "Expected"]
