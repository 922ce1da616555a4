"""The ways from servers to cards: what they cost a request, measured or not. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tidegate.agents.fleet.records import CardSeen, Link
    from tidegate.model.application import ApplicationSpec

LATENCY_USUAL_SECONDS: Final = 0.25
"""What the way to a card is held against where no latency was agreed: a request in a quarter of a second."""
RETRANSMIT_SECONDS: Final = 0.2
"""What a lost packet costs: Linux waits at least so long before it sends again (TCP_RTO_MIN)."""
FAR_SECONDS: Final = 0.05
"""About a round trip across a continent: what is slower is taken for an ill link, not for a far server."""


def way_seconds(link: Link) -> float:
    """Return what a request pays for a link: the round trip, and what lost packets make it wait."""
    answered = max(1 - link.loss_ratio, 0.01)  # loss is there and back together, as a request's is
    return link.latency_seconds + (1 - answered) * RETRANSMIT_SECONDS / answered


def lateness(specs: Sequence[ApplicationSpec], cards: Sequence[CardSeen]) -> NDArray[np.float32]:
    """Return the share of the latency agreed on that the way from its server to each card takes, 0-1.

    (applications, cards); 0 for an application that does no server's work.
    """
    servers = sorted({spec.server for spec in specs if spec.server})
    found = ways_seconds(servers, cards)
    row = {server: number for number, server in enumerate(servers)}
    nothing = np.zeros((1, len(cards)))
    at = np.array([row.get(spec.server, -1) for spec in specs], dtype=np.int64)
    agreed = [spec.sla.latency_p99_max_seconds or LATENCY_USUAL_SECONDS for spec in specs]
    taken = np.append(found, nothing, axis=0)[at] / np.array(agreed).reshape(-1, 1)
    return np.minimum(taken, 1.0).astype(np.float32)


def ways_seconds(servers: Sequence[str], cards: Sequence[CardSeen]) -> NDArray[np.float64]:
    """Return what a request pays on the way from each server to each card: (servers, cards) seconds.

    A way that nobody measured is neither perfect nor bad: were it perfect, everyone whose way is known would
    leave for it. It is taken for the shortest that is known of that server, since how far a way is lies
    mostly in where the server is, but for no more than `FAR_SECONDS`: who is worse off than that may leave
    where nobody knows better. And for no less than what is usual here, the median of all that was measured.
    """
    measured = np.array(
        [
            [way_seconds(card.links[server]) if server in card.links else np.nan for card in cards]
            for server in servers
        ]
    ).reshape(len(servers), len(cards))
    known = ~np.isnan(measured)
    usual = float(np.median(measured[known])) if known.any() else 0.0
    best = np.where(known, measured, np.inf).min(axis=1, initial=np.inf)
    guessed = np.minimum(np.where(np.isfinite(best), np.maximum(best, usual), usual), FAR_SECONDS)
    return np.where(known, measured, guessed[:, None])
