"""`offload_first`: what is missing comes from the card, then from the host; what is too much goes back.

The plain rule of the first offload managers, kept as a yardstick; every branch is named in the plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.plan import Plan, Reason
from tidegate.model.roster import CARD, HOST, NO_CARD
from tidegate.model.snapshot import card_worth, summed_by_place
from tidegate.plan.placement import Placement, rationed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.forecast import Forecast
    from tidegate.model.scores import Scores
    from tidegate.model.snapshot import Snapshot


class OffloadFirst:
    """Per workload and resource: card's pool, else host's, else FAILURE with the shortfall.

    | predicted demand       | card has room | host has room | result                        |
    |------------------------|---------------|---------------|-------------------------------|
    | above what it holds    | yes           | -             | shortfall taken from the card |
    | above what it holds    | no            | yes           | shortfall taken from the host |
    | above what it holds    | no            | no            | FAILURE, shortfall named      |
    | below what it holds    | -             | -             | surplus given back, card first|
    | unknown                | -             | -             | holds                         |
    """

    def __init__(self) -> None:
        """Know nobody yet."""
        self._placement = Placement()

    def plan(self, snapshot: Snapshot, forecast: Forecast, scores: Scores | None) -> Plan:
        """Return the wanted shares and, where nothing covers it, the shortfall."""
        worth = card_worth(snapshot)
        held = snapshot.held
        predicted = np.minimum(forecast.quantiles[-1], snapshot.capacity)
        need = np.where(np.isnan(predicted), held, np.maximum(predicted, snapshot.roster.floor))
        missing = np.maximum(need - held, 0)
        card_extra = self._from_card(missing, need, snapshot, worth)
        host_extra = self._from_host(missing - card_extra * worth, snapshot)
        shortfall = np.maximum(missing - card_extra * worth - host_extra, 0)
        surplus = np.maximum(held - need, 0)
        card_back = np.minimum(surplus / worth, snapshot.grant[CARD])
        host_back = surplus - card_back * worth
        host = snapshot.grant[HOST] + host_extra - host_back
        card = snapshot.grant[CARD] + card_extra - card_back
        return Plan(
            time_seconds=snapshot.time_seconds,
            expires_seconds=snapshot.time_seconds + snapshot.step_seconds,
            wanted=np.stack([host, card]).astype(np.float32),
            card=snapshot.card,
            reason=_reasons(snapshot, need, card_extra, host_extra, shortfall),
            shortfall=shortfall,
        )

    def _from_card(
        self,
        missing: NDArray[np.float32],
        need: NDArray[np.float32],
        snapshot: Snapshot,
        worth: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """What the cards give, in card units: offloadable work only."""
        may = np.where(snapshot.card == NO_CARD, 0, need * snapshot.roster.offloadable_ratio)
        asked = np.clip(may / worth - snapshot.grant[CARD], 0, missing / worth)
        room = snapshot.places.allocatable - self._held(snapshot, CARD)
        return rationed(asked.astype(np.float32), room, self._placement.card_turn(snapshot))

    def _from_host(self, missing: NDArray[np.float32], snapshot: Snapshot) -> NDArray[np.float32]:
        room = snapshot.places.allocatable - self._held(snapshot, HOST)
        asked = np.maximum(missing, 0).astype(np.float32)
        return rationed(asked, room, self._placement.host_turn(snapshot))

    @staticmethod
    def _held(snapshot: Snapshot, share: int) -> NDArray[np.float64]:
        place = snapshot.host if share == HOST else snapshot.card
        return summed_by_place(snapshot.grant[share], place, len(snapshot.places.names))


def _reasons(
    snapshot: Snapshot,
    need: NDArray[np.float32],
    card_extra: NDArray[np.float32],
    host_extra: NDArray[np.float32],
    shortfall: NDArray[np.float32],
) -> NDArray[np.uint8]:
    """Name the branch each series took; a shortfall within a thousandth of capacity is rounding."""
    held = snapshot.held
    tolerance = np.float32(1e-3) * snapshot.capacity
    conditions = [shortfall > tolerance, card_extra > 0, host_extra > 0, need < held]
    choices = [Reason.FAILURE, Reason.TAKE_FROM_CARD, Reason.TAKE_FROM_HOST, Reason.GIVE_BACK]
    return np.select(conditions, [np.uint8(choice) for choice in choices], np.uint8(Reason.HOLD))
