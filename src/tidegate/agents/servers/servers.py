"""A card's servers as clock, telemetry source and actuator of one loop.

Streams tell it what they hear, and ask it for orders; it waits for nobody. A card's own applications are one
more server here, which happens to be in the same process.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.agents.servers import joining
from tidegate.agents.servers.sent import NANOSECONDS, Sent, SentOrders
from tidegate.model.plan import Kind
from tidegate.model.refusals import Because, Refusal
from tidegate.model.roster import HOST
from tidegate.wire.orders import ServerOrders

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tidegate.agents.servers.joining import Joined, Part
    from tidegate.model.outcome import Outcome
    from tidegate.model.plan import Actions
    from tidegate.model.resources import Resource
    from tidegate.model.snapshot import Snapshot
    from tidegate.wire.frames import Greeting, Sample, ServerRoster
    from tidegate.wire.orders import ServerOutcomes

LOST_SECONDS: Final = 60.0
"""A server not heard for so long counts as lost: nothing is ordered there until it is heard again."""
STALE_STEPS: Final = 2.5
"""A sample older than this many steps says nothing of now."""
ORDERS_WAITING_MAX: Final = 8
"""Sets of orders that wait for a server to take them; beyond, new ones are refused."""
SERVERS_MAX: Final = 256
"""Servers one card serves at most."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Server:
    greeting: Greeting
    who: ServerRoster | None = None
    sample: Sample | None = None
    read: Sample | None = None
    """The one that the loop has read last."""
    heard_nanoseconds: int = 0
    arrived_nanoseconds: int = 0
    """When the latest sample came, by this machine's clock: a server's own may be wrong."""
    waiting: deque[ServerOrders] = field(default_factory=deque)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is known of a server's connection."""

    server: str
    workloads: int
    heard_nanoseconds: int
    lost: bool
    probe_address: str = ""
    """Where it answers probes of its link; empty where it doesn't."""
    pci_bytes_per_second: float = 0.0
    """What the PCI link to it carries; 0 where there is none, or nobody knows."""


class Servers:
    """Joins servers into one fleet, and takes its actions apart into orders."""

    def __init__(
        self,
        *,
        card: str,
        epoch: int,
        now_nanoseconds: Callable[[], int],
        step_seconds: int,
        resources: tuple[Resource, ...],
        called: Callable[[str], None] = lambda _server: None,
        ids: Callable[[str, NDArray[np.int64]], NDArray[np.int64]] = joining.fleet_ids,
    ) -> None:
        """Know nobody yet; ``called`` is told the server for which orders wait.

        ``ids`` makes identifiers among all servers of a server's own.
        """
        self._card = card
        self._epoch = epoch
        self._now = now_nanoseconds
        self._step_seconds = step_seconds
        self._resources = resources
        self._called, self._ids = called, ids
        self._servers: dict[str, _Server] = {}
        self._joined: tuple[tuple[object, ...], Joined] | None = None
        self._sent = SentOrders(now_nanoseconds)
        self._orders = 0

    # --- what streams tell ----------------------------------------------------------------------

    def greet(self, greeting: Greeting) -> int:
        """Let a server in, or in again, and return the epoch of orders to it.

        Raises:
            Refusal: there are too many servers, or the server has carried out orders of a later device.

        """
        known = self._servers.get(greeting.server)
        if known is None and len(self._servers) >= SERVERS_MAX:
            raise Refusal(
                Because.NO_ROOM,
                f"card '{self._card}' serves {SERVERS_MAX} servers already; connect to another",
                field="hello.server",
                limit=SERVERS_MAX,
            )
        if greeting.epoch > self._epoch:
            raise Refusal(
                Because.STALE,
                f"server '{greeting.server}' has followed epoch {greeting.epoch}, this device is of epoch "
                f"{self._epoch}: it is not the latest; end it, or restore its state",
                field="hello.epoch",
                limit=self._epoch,
            )
        if greeting.step_seconds > STALE_STEPS * self._step_seconds:
            raise Refusal(
                Because.INVALID,
                f"server '{greeting.server}' samples every {greeting.step_seconds:g} s, card '{self._card}' "
                f"decides every {self._step_seconds} s; start its agent with --step {self._step_seconds}s",
                field="hello.step_nanoseconds",
                limit=STALE_STEPS * self._step_seconds,
            )
        now = self._now()
        self._servers[greeting.server] = _Server(greeting=greeting, heard_nanoseconds=now)
        self._sent.forget(greeting.server)
        return self._epoch

    def roster(self, server: str, who: ServerRoster) -> None:
        """Take in who there is on a server."""
        known = self._servers[server]
        known.who, known.sample = who, None
        self.heard(server)

    def sample(self, server: str, sample: Sample) -> None:
        """Take in a sample of a server's roster; one that was taken in before is left out."""
        known = self._servers[server]
        self.heard(server)
        if known.sample is None or sample.number > known.sample.number:
            known.sample, known.arrived_nanoseconds = sample, self._now()

    def outcomes(self, server: str, outcomes: ServerOutcomes) -> None:
        """Take in what became of orders; what was never ordered, or is answered already, is left out."""
        self.heard(server)
        self._sent.answer(server, outcomes)

    def heard(self, server: str) -> None:
        """Note a sign of life."""
        self._servers[server].heard_nanoseconds = self._now()

    def next_orders(self, server: str) -> ServerOrders | None:
        """Return the next orders that wait for a server; None where there are none."""
        known = self._servers.get(server)
        return known.waiting.popleft() if known is not None and known.waiting else None

    def withdraw(self) -> None:
        """Take back the orders that no server has taken yet, as where they can't be written down."""
        for one in self._servers.values():
            for orders in one.waiting:
                self._sent.refuse(orders.number)
            one.waiting.clear()

    # --- what the loop asks ---------------------------------------------------------------------

    @property
    def settable(self) -> NDArray[np.bool_]:
        """Where orders can be given now: (resources, workloads) of the snapshot last read."""
        all_of = self._all()
        lost = np.zeros(len(all_of.roster), dtype=np.bool_)
        for part in all_of.parts:
            lost[part.columns] = self.is_lost(part.server)
        return all_of.settable & ~lost

    def is_lost(self, server: str) -> bool:
        """Return whether a server was not heard for `LOST_SECONDS`, or never."""
        known = self._servers.get(server)
        if known is None:
            return True
        now = self._now()
        known.heard_nanoseconds = min(known.heard_nanoseconds, now)  # where the clock was put back
        return now - known.heard_nanoseconds > LOST_SECONDS * NANOSECONDS

    def is_complete(self, *, besides: str = "") -> bool:
        """Return whether every server that is heard has sent a sample since the last read, but one."""
        due = self._due(besides)
        return bool(due) and not any(map(_is_missing, due.values()))

    def lacks_only(self, server: str, *, besides: str = "") -> bool:
        """Return whether only this server's sample is missing, but that of one, since the last read."""
        return {name for name, one in self._due(besides).items() if _is_missing(one)} == {server}

    @property
    def want_foretold(self) -> bool:
        """Whether any server asked to be told what its workloads are expected to need."""
        return any(one.greeting.wants_foretold for one in self._servers.values())

    @property
    def joined(self) -> Joined:
        """Who there is, as the last snapshot has it where nobody came or went since."""
        return self._all()

    @property
    def names(self) -> tuple[str, ...]:
        """The servers ever heard of, lost ones too."""
        return tuple(self._servers)

    def told(self) -> tuple[Told, ...]:
        """Return what is known of each server's connection."""
        return tuple(
            Told(
                server=name,
                workloads=0 if one.who is None else len(one.who.roster),
                heard_nanoseconds=one.heard_nanoseconds,
                lost=self.is_lost(name),
                probe_address=one.greeting.probe_address,
                pci_bytes_per_second=one.greeting.pci_bytes_per_second,
            )
            for name, one in self._servers.items()
        )

    def now_seconds(self) -> int:
        """Return seconds since 1970 UTC."""
        return self._now() // NANOSECONDS

    def read(self) -> Snapshot:
        """Return all servers as they are now."""
        all_of = self._all()
        now = self._now()
        limit = STALE_STEPS * self._step_seconds * NANOSECONDS
        samples = {name: one.sample for name, one in self._servers.items() if one.sample is not None}
        for one in self._servers.values():
            one.read = one.sample
        fresh = [name for name in samples if 0 <= now - self._servers[name].arrived_nanoseconds <= limit]
        return joining.snapshot(
            all_of,
            samples,
            fresh=frozenset(fresh),
            in_flight=self._sent.in_flight(all_of.roster.ids, len(all_of.resources)),
            time_seconds=now // NANOSECONDS,
            step_seconds=self._step_seconds,
        )

    def submit(self, actions: Actions) -> None:
        """Put orders out for each server; what is no resize at a server that is there is refused."""
        all_of = self._all()
        resize = (actions.kind == Kind.RESIZE) & (actions.share == HOST)
        host = all_of.host[actions.workload] if len(actions) else np.empty(0, dtype=np.int32)
        for at, part in enumerate(all_of.parts):
            rows = np.flatnonzero(resize & (host == at))
            if rows.size:
                self._order(part, actions, rows)
        refused = np.flatnonzero(~resize)
        if refused.size:
            self._sent.refuse_untaken(actions, refused)

    def collect(self) -> Outcome:
        """Return what became of orders since the last call; who did not answer in time has timed out."""
        return self._sent.collect()

    # --- inside ---------------------------------------------------------------------------------

    def _due(self, besides: str) -> dict[str, _Server]:
        """Return the servers that are heard, but one."""
        return {
            name: one for name, one in self._servers.items() if name != besides and not self.is_lost(name)
        }

    def _all(self) -> Joined:
        """Return who there is; the same object as long as every roster is."""
        present = [(one.greeting, one.who) for one in self._servers.values() if one.who is not None]
        key = tuple(part for pair in present for part in pair)
        if self._joined is None or not _same(self._joined[0], key):
            cards = frozenset({self._card})
            self._joined = key, joining.joined(present, resources=self._resources, cards=cards, ids=self._ids)
        return self._joined[1]

    def _order(self, part: Part, actions: Actions, rows: NDArray[np.intp]) -> None:
        server = self._servers[part.server]
        if len(server.waiting) >= ORDERS_WAITING_MAX or server.sample is None or self.is_lost(part.server):
            self._sent.refuse_untaken(actions, rows)
            return
        self._orders += 1
        local = np.zeros(len(self._resources), dtype=np.uint8)
        local[part.rows] = part.own
        expires = (actions.expires_seconds + 1) * NANOSECONDS
        orders = ServerOrders(
            number=self._orders,
            epoch=self._epoch,
            roster_version=part.who.version,
            batch_number=server.sample.number,
            # To the end of that second, as the guard against old plans has it.
            expires_nanoseconds=expires,
            ttl_nanoseconds=max(expires - server.arrived_nanoseconds, 0),
            workload_id=part.who.roster.ids[actions.workload[rows] - part.columns.start],
            resource_row=local[actions.resource_row[rows]],
            amount_from=actions.amount_from[rows],
            amount_to=actions.amount_to[rows],
        )
        self._sent.add(
            Sent(
                server=part.server,
                orders=orders,
                workload_id=actions.workload_id[rows],
                resource_row=actions.resource_row[rows],
            )
        )
        server.waiting.append(orders)
        self._called(part.server)


def _is_missing(one: _Server) -> bool:
    """Whether a server has sent no sample since the last read."""
    return one.sample is None or one.sample is one.read


def _same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return len(one) == len(other) and all(mine is its for mine, its in zip(one, other, strict=True))
