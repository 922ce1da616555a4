"""A made-up fleet of any size, for benchmarks.

50 workloads a server, a card per four servers, demand that wanders and spikes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.outcome import Outcome, Phase, nothing_confirmed
from tidegate.model.resources import Resource
from tidegate.model.roster import HOST, SHARES, Places, Roster
from tidegate.model.snapshot import Snapshot

if TYPE_CHECKING:
    from tidegate.model.plan import Actions

RESOURCES: Final = (Resource.CPU, Resource.MEMORY, Resource.NETWORK)
WORKLOADS_PER_SERVER: Final = 50
SERVERS_PER_CARD: Final = 4
STEP_SECONDS: Final = 300
START_SECONDS: Final = 1_700_000_100
FRAMES: Final = 4
"""Different sample frames made before the clock starts; they take turns."""


class MadeUpFleet:
    """Clock, telemetry and actuator of a fleet whose samples were made before; it agrees to everything."""

    def __init__(self, workloads: int, seed: int, *, step_seconds: int = STEP_SECONDS) -> None:
        """Make the samples and stand before the first step."""
        self._step_seconds = step_seconds
        self._confirmed = nothing_confirmed()
        random = np.random.default_rng(seed)
        self._tick = 0
        servers = max(1, workloads // WORKLOADS_PER_SERVER)
        self._host = (np.arange(workloads) % servers).astype(np.int32)
        self._places = _places(servers)
        self._card = (servers + self._host // SERVERS_PER_CARD).astype(np.int32)
        shape = (len(RESOURCES), workloads)
        scale = np.array([4.0, 16e9, 1e8], dtype=np.float32)[:, None]
        self._capacity = (scale * random.choice([0.5, 1, 2], workloads)).astype(np.float32)
        level = random.beta(1, 6, shape).astype(np.float32)
        self._frames = [
            np.minimum(level * random.gamma(4, 0.25, shape).astype(np.float32), 1) * self._capacity
            for _ in range(FRAMES)
        ]
        self._grant = np.zeros((SHARES, *shape), dtype=np.float32)
        self._grant[HOST] = self._capacity
        self._nothing = np.zeros_like(self._grant)
        self._pressed = np.zeros(shape, dtype=np.bool_)
        self._roster = Roster(
            ids=np.arange(workloads, dtype=np.int64),
            names=Numbered(workloads),
            violation_rate=np.full(workloads, 0.01, dtype=np.float32),
            priority=(random.integers(0, 3, workloads)).astype(np.uint8),
            floor=0.02 * self._capacity,
            offloadable_ratio=np.full(shape, 0.3, dtype=np.float32),
        )

    def now_seconds(self) -> int:
        """Return the end of the step last read."""
        return START_SECONDS + self._tick * self._step_seconds

    def read(self) -> Snapshot:
        """Return the next step's samples."""
        self._tick += 1
        return Snapshot(
            time_seconds=self.now_seconds(),
            step_seconds=self._step_seconds,
            resources=RESOURCES,
            roster=self._roster,
            places=self._places,
            host=self._host,
            card=self._card,
            used=self._frames[self._tick % FRAMES],
            capacity=self._capacity,
            pressed=self._pressed,
            grant=self._grant,
            in_flight=self._nothing,
        )

    def submit(self, actions: Actions) -> None:
        """Do the actions at once."""
        grant = self._grant.copy()
        grant[actions.share, actions.resource_row, actions.workload] = actions.amount_to
        self._grant = grant
        self._confirmed = Outcome(
            workload_id=actions.workload_id,
            resource_row=actions.resource_row,
            share=actions.share,
            phase=np.full(len(actions), Phase.APPLIED, dtype=np.uint8),
            amount_read_back=actions.amount_to,
        )

    def collect(self) -> Outcome:
        """Return what was done since the last call."""
        confirmed, self._confirmed = self._confirmed, nothing_confirmed()
        return confirmed


class Numbered(Sequence[str]):
    """A million names that take no memory."""

    def __init__(self, count: int) -> None:
        """Count from zero."""
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row_number: int) -> str:  # type: ignore[override]
        if row_number >= self._count:
            raise IndexError(row_number)
        return f"vm{row_number:07d}"


def _places(servers: int) -> Places:
    cards = -(-servers // SERVERS_PER_CARD)
    names = [f"server{n}" for n in range(servers)] + [f"card{n}" for n in range(cards)]
    is_card = np.arange(servers + cards) >= servers
    per_server = np.array([150.0, 600e9, 3e9])[:, None]
    per_card = np.array([16.0, 32e9, 12e9])[:, None]
    worth = np.ones((len(RESOURCES), servers + cards), dtype=np.float32)
    worth[0, is_card] = 0.5
    return Places(
        names=names,
        is_card=is_card,
        allocatable=np.where(is_card, per_card, per_server),
        worth=worth,
        link_server=np.arange(servers, dtype=np.int64),
        link_card=servers + np.arange(servers, dtype=np.int64) // SERVERS_PER_CARD,
        link_bytes_per_second=np.full(servers, 12e9),
    )
