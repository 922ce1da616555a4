"""A feed: a named series from outside the fleet, and when each of its values became known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class FeedKind(Enum):
    """What a feed tells about."""

    WEATHER = "weather"
    EVENT = "event"
    NETWORK = "network"
    APPLICATION = "application"
    MEMORY = "memory"
    SERIES = "series"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Feed:
    """One named series; points may lie at any times, in any order, and be revised later.

    A point says what holds from ``valid_seconds`` until the next point's, for at most ``holds_seconds``.
    A measured value is issued when it is measured; a weather forecast or a calendar entry long before.
    """

    name: str
    kind: FeedKind
    valid_seconds: NDArray[np.int64]
    """(points,) seconds since 1970 UTC from which each value holds."""
    issued_seconds: NDArray[np.int64]
    """(points,) when each value became known."""
    values: NDArray[np.float32]
    """(points,) in the feed's own unit."""
    holds_seconds: int
    """How long a value stands for what follows it; older is stale, and unknown."""
    vms: tuple[str, ...] | None = None
    """Whom it is about; None: everybody."""

    def as_known(self, now_seconds: int, at_seconds: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the values (times,) at ``at_seconds`` as they were known at ``now_seconds``; NaN if not.

        Of several points for one time, the one issued last counts; what was issued after now is unseen.
        """
        seen = self.issued_seconds <= now_seconds
        valid, issued, values = self.valid_seconds[seen], self.issued_seconds[seen], self.values[seen]
        order = np.lexsort((issued, valid))
        valid, values = valid[order], values[order]
        latest = np.append(valid[1:] != valid[:-1], True)[: valid.size]
        valid, values = valid[latest], values[latest]
        at = np.searchsorted(valid, at_seconds, side="right") - 1
        if valid.size == 0:
            return np.full(at_seconds.shape, np.nan, dtype=np.float32)
        fresh = (at >= 0) & (at_seconds - valid[np.maximum(at, 0)] < self.holds_seconds)
        return np.where(fresh, values[np.maximum(at, 0)], np.float32(np.nan)).astype(np.float32)
