"""Orders on their way to servers: sent, not answered yet, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.outcome import Outcome, Phase, all_confirmed
from tidegate.model.resources import Resource
from tidegate.model.roster import HOST, source_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tidegate.model.plan import Actions
    from tidegate.wire.orders import ServerOrders, ServerOutcomes

NANOSECONDS: Final = 10**9
ANSWER_SECONDS: Final = 10.0
"""Orders not answered so long after they expired count as timed out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sent:
    """Orders that were not answered yet."""

    server: str
    orders: ServerOrders
    workload_id: NDArray[np.int64]
    """In the whole fleet."""
    resource_row: NDArray[np.uint8]
    """Among all resources."""


class SentOrders:
    """Remembers orders until they are answered, or count as timed out."""

    def __init__(self, now_nanoseconds: Callable[[], int]) -> None:
        """Remember none yet."""
        self._now = now_nanoseconds
        self._sent: dict[int, Sent] = {}
        self._confirmed: list[Outcome] = []

    def __len__(self) -> int:
        """Return how many are not answered."""
        return len(self._sent)

    def add(self, sent: Sent) -> None:
        """Remember orders."""
        self._sent[sent.orders.number] = sent

    def answer(self, server: str, outcomes: ServerOutcomes) -> None:
        """Take in what became of orders; what was never ordered, or is answered already, is left out."""
        sent = self._sent.get(outcomes.number)
        if sent is None or sent.server != server:
            return
        del self._sent[outcomes.number]
        if outcomes.refused:
            self._confirmed.append(_all(sent, Phase.REFUSED))
            return
        said = outcomes.outcome
        at = _matched(sent.orders, said)
        phase = np.full(len(sent.orders), Phase.TIMED_OUT, dtype=np.uint8)
        found = np.full(len(sent.orders), np.nan, dtype=np.float32)
        phase[at[at >= 0]], found[at[at >= 0]] = said.phase[at >= 0], said.amount_read_back[at >= 0]
        self._confirmed.append(_confirmed(sent, phase, found))

    def refuse(self, number: int) -> None:
        """Take orders back that no server has taken."""
        self._confirmed.append(_all(self._sent.pop(number), Phase.REFUSED))

    def refuse_untaken(self, actions: Actions, rows: NDArray[np.intp]) -> None:
        """Refuse actions that no order is made of."""
        self._confirmed.append(refused(actions, rows))

    def forget(self, server: str) -> None:
        """Count what was ordered before a server came anew as timed out: nobody will answer it."""
        for number, sent in list(self._sent.items()):
            if sent.server == server:
                del self._sent[number]
                self._confirmed.append(_all(sent, Phase.TIMED_OUT))

    def in_flight(self, workload_ids: NDArray[np.int64], resources: int) -> NDArray[np.float32]:
        """Return what is ordered and not answered, of these workloads: (resources, workloads)."""
        flying = np.zeros((resources, workload_ids.size), dtype=np.float32)
        for sent in self._sent.values():
            at = source_rows(workload_ids, sent.workload_id)
            there = at >= 0
            delta = sent.orders.amount_to - sent.orders.amount_from
            known = there & np.isfinite(delta)
            np.add.at(flying, (sent.resource_row[known], at[known]), delta[known])
        return flying

    def collect(self) -> Outcome:
        """Return what became of orders since the last call; who did not answer in time has timed out."""
        now = self._now()
        for number, sent in list(self._sent.items()):
            if now > sent.orders.expires_nanoseconds + ANSWER_SECONDS * NANOSECONDS:
                del self._sent[number]
                self._confirmed.append(_all(sent, Phase.TIMED_OUT))
        confirmed, self._confirmed = self._confirmed, []
        return all_confirmed(confirmed)


def _matched(orders: ServerOrders, said: Outcome) -> NDArray[np.int64]:
    """Return for each outcome the row of its order; -1 where it is of none."""
    return source_rows(
        _keys(orders.workload_id, orders.resource_row), _keys(said.workload_id, said.resource_row)
    )


def _keys(workload_id: NDArray[np.int64], resource_row: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return one number for each pair; two pairs share one as good as never, and then confuse outcomes."""
    return workload_id * np.int64(len(Resource)) + resource_row


def _confirmed(sent: Sent, phase: NDArray[np.uint8], found: NDArray[np.float32]) -> Outcome:
    return Outcome(
        workload_id=sent.workload_id,
        resource_row=sent.resource_row,
        share=np.full(phase.size, HOST, dtype=np.uint8),
        phase=phase,
        amount_read_back=found,
    )


def _all(sent: Sent, phase: Phase) -> Outcome:
    count = len(sent.orders)
    unknown = np.full(count, np.nan, dtype=np.float32)
    held = sent.orders.amount_from if phase is Phase.REFUSED else unknown
    return _confirmed(sent, np.full(count, phase, dtype=np.uint8), held)


def refused(actions: Actions, rows: NDArray[np.intp]) -> Outcome:
    """Return the outcome of actions in these rows that are refused: what was held is held."""
    return Outcome(
        workload_id=actions.workload_id[rows],
        resource_row=actions.resource_row[rows],
        share=actions.share[rows],
        phase=np.full(rows.size, Phase.REFUSED, dtype=np.uint8),
        amount_read_back=actions.amount_from[rows],
    )
