"""The way of a decision, walked just before it is needed.

In the second between two samples a processor forgets code and data of a decision: the first tick after a
pause takes half as long again as one right after another. An agent says a few milliseconds ahead that a
sample follows; the device then decides about a small made-up server, with a loop of its own. That costs as
much processor time again as a small decision, once a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.agents.servers.loop import device_loop
from tidegate.agents.servers.servers import Servers
from tidegate.model.outcome import Outcome, Phase
from tidegate.model.roster import HOST, Roster
from tidegate.wire.frames import Greeting, Sample, ServerRoster
from tidegate.wire.orders import ServerOutcomes, orders_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.journal.sql.passing import PassingJournal
    from tidegate.model.resources import Resource

NAME: Final = "rehearsal"
WORKLOADS: Final = 4
CAPACITY: Final = np.float32(100)
FLOOR: Final = np.float32(2)
LEVELS: Final = np.array([10, 60], dtype=np.float32)
"""What the made-up workloads use by turns, so that there is always something to order."""


class Rehearsal:
    """A made-up server and a loop that decides about it; nothing of it leaves this object."""

    def __init__(
        self,
        *,
        resources: tuple[Resource, ...],
        step_seconds: int,
        policy_name: str,
        model: str,
        now_nanoseconds: Callable[[], int],
        journal: PassingJournal,
    ) -> None:
        """Let the server in.

        Raises:
            InputError: nobody goes by the policy's or model's name, or it runs in replay only.

        """
        shape = (len(resources), WORKLOADS)
        self._now, self._journal, self._number = now_nanoseconds, journal, 0
        self._capacity = np.full(shape, CAPACITY)
        self._grant = np.full(shape, CAPACITY)
        self._servers = Servers(
            card=NAME,
            epoch=1,
            now_nanoseconds=now_nanoseconds,
            step_seconds=step_seconds,
            resources=resources,
        )
        self._loop = device_loop(
            self._servers,
            resources=resources,
            step_seconds=step_seconds,
            policy_name=policy_name,
            model=model,
            journal=journal,
        )
        self._servers.greet(
            Greeting(
                server=NAME,
                incarnation=NAME,
                resources=resources,
                step_seconds=step_seconds,
                allocatable=np.full(len(resources), np.inf),
            )
        )
        settable = np.ones(shape, dtype=np.bool_)
        self._servers.roster(NAME, ServerRoster(version=1, roster=_roster(shape), settable=settable))

    def rehearse(self) -> None:
        """Decide once about the made-up server."""
        self._number += 1
        self._servers.sample(NAME, self._sample())
        self._loop.tick()
        while (orders := self._servers.next_orders(NAME)) is not None:
            orders_message(orders)
            self._grant = self._grant.copy()
            rows = orders.resource_row, orders.workload_id - 1
            self._grant[rows] = orders.amount_to
            self._servers.outcomes(
                NAME,
                ServerOutcomes(
                    number=orders.number,
                    outcome=Outcome(
                        workload_id=orders.workload_id,
                        resource_row=orders.resource_row,
                        share=np.full(len(orders), HOST, dtype=np.uint8),
                        phase=np.full(len(orders), Phase.APPLIED, dtype=np.uint8),
                        amount_read_back=orders.amount_to,
                    ),
                ),
            )

    def think(self) -> None:
        """Do what no rehearsal is to wait for."""
        self._loop.think()
        self._journal.forget()

    def _sample(self) -> Sample:
        wanted = np.full(self._capacity.shape, LEVELS[self._number // 8 % LEVELS.size])
        used = np.minimum(wanted, self._grant)
        return Sample(
            number=self._number,
            roster_version=1,
            time_nanoseconds=self._now(),
            used=used,
            capacity=self._capacity,
            grant=self._grant,
            pressed=wanted > used,
        )


def _roster(shape: tuple[int, int]) -> Roster:
    workloads = shape[1]
    return Roster(
        ids=np.arange(1, workloads + 1, dtype=np.int64),
        names=tuple(f"{NAME}-{at}" for at in range(workloads)),
        violation_rate=np.full(workloads, 0.01, dtype=np.float32),
        priority=np.zeros(workloads, dtype=np.uint8),
        floor=np.full(shape, FLOOR),
        offloadable_ratio=np.zeros(shape, dtype=np.float32),
    )


__all__ = ["Rehearsal"]
