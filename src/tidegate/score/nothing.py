"""The scorer of a fleet without cards: there is nothing to score."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidegate.model.forecast import Forecast
    from tidegate.model.scores import Scores
    from tidegate.model.snapshot import Snapshot


class NothingScorer:
    """Scores no server."""

    def score(self, snapshot: Snapshot, forecast: Forecast) -> Scores | None:
        """Return no scores."""
        return None
