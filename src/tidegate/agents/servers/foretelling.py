"""Tells servers that ask for it what their workloads are expected to need: of the turn that decided last."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.wire.foretelling import Foretold

if TYPE_CHECKING:
    from tidegate.agents.servers.servers import Servers
    from tidegate.model.tick import Tick

FORETOLD_LEVEL: Final = 0.99
"""The quantile that is told."""


@dataclass(slots=True, kw_only=True)
class Foretelling:
    """What each server has not been told yet; an older one that nobody took is replaced."""

    servers: Servers
    _waiting: dict[str, Foretold] = field(default_factory=dict)

    def seen(self, tick: Tick) -> None:
        """Keep what a turn expects, by server."""
        joined = self.servers.joined
        if tick.snapshot.roster is not joined.roster:
            return
        demand = tick.forecast.at_level(FORETOLD_LEVEL)
        for part in joined.parts:
            own = np.full(part.who.shape, np.nan, dtype=np.float32)
            own[part.own] = demand[part.rows, part.columns]
            own[~np.isfinite(own) | (own < 0)] = np.nan
            self._waiting[part.server] = Foretold(
                roster_version=part.who.version, lead_seconds=float(tick.forecast.lead_seconds), demand=own
            )

    def take(self, server: str) -> Foretold | None:
        """Return what a server was not told yet; None where there is nothing new."""
        return self._waiting.pop(server, None)


__all__ = ["Foretelling"]
