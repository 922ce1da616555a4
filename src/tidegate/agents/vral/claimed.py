"""A server whose workloads hold leases: they are its floors, so that whoever decides sizes keeps them.

The least intrusive way there is: floors go to the device with the roster, its policy brings up who is below,
its guards keep it there; and where the device is gone, the agent's own loop does the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.agents.agent.agent import Server
    from tidegate.agents.vral.suppliers import HostSupplier
    from tidegate.model.outcome import Outcome
    from tidegate.model.plan import Actions
    from tidegate.model.resources import Resource
    from tidegate.model.roster import Roster
    from tidegate.model.snapshot import Snapshot


class ClaimedServer:
    """A server's driver, with what is leased from it among the floors."""

    def __init__(self, server: Server, host: HostSupplier) -> None:
        """Wrap a driver."""
        self._server, self._host = server, host
        self._raised: tuple[Roster, dict[tuple[str, Resource], float], Roster] | None = None

    @property
    def resources(self) -> tuple[Resource, ...]:
        """What it measures."""
        return self._server.resources

    @property
    def settable(self) -> NDArray[np.bool_]:
        """Where limits can be set."""
        return self._server.settable

    def now_seconds(self) -> int:
        """Return seconds since 1970 UTC."""
        return self._server.now_seconds()

    def read(self) -> Snapshot:
        """Return the server as it is now, its floors raised to what is leased."""
        snapshot = self._server.read()
        self._host.own_floor = snapshot.roster.floor
        promised = self._host.promised
        if not promised:
            return snapshot
        before = self._raised
        if before is None or before[0] is not snapshot.roster or before[1] != promised:
            # Else the very same roster, by which everyone sees that nothing moved.
            self._raised = before = snapshot.roster, promised, _raised(snapshot, promised)
        return replace(snapshot, roster=before[2])

    def submit(self, actions: Actions) -> None:
        """Do the actions."""
        self._server.submit(actions)

    def collect(self) -> Outcome:
        """Return what became of them."""
        return self._server.collect()


def _raised(snapshot: Snapshot, promised: dict[tuple[str, Resource], float]) -> Roster:
    """Return the roster with floors of at least what is promised, at most what was sold."""
    rows = {name: at for at, name in enumerate(snapshot.roster.names)}
    floor = snapshot.roster.floor.copy()
    for (vm, resource), amount in promised.items():
        if vm in rows and resource in snapshot.resources:
            at = snapshot.resources.index(resource), rows[vm]
            floor[at] = np.fmax(floor[at], np.fmin(np.float32(amount), snapshot.capacity[at]))
    return replace(snapshot.roster, floor=floor)
