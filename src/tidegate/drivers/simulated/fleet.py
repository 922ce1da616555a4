"""A fleet whose demand is a recorded series: clock, telemetry source and actuator in one.

Demand is kept apart from use: demand is what the series says, use is what the grants let through. Resizes
are immediate; rehomes and migrations take what `tidegate.drivers.simulated.moves` says they take.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import array_api_compat.numpy as xp
import numpy as np

from tidegate.drivers.simulated.moves import NO_LINK, MoveCosts, Moves, Rows, moved_bytes, moves_of
from tidegate.model.errors import InputError
from tidegate.model.outcome import Outcome, Phase, all_confirmed
from tidegate.model.resources import Resource
from tidegate.model.roster import CARD, HOST, NO_CARD, SHARES, Places, Roster
from tidegate.model.snapshot import VIOLATION_TOLERANCE_RATIO, Snapshot
from tidegate.sim.physics import Membership, Served, membership, serve, summed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tidegate.model.plan import Actions
    from tidegate.model.trace import Trace
    from tidegate.ports import Actuator, Clock, TelemetrySource

ROUNDING_RATIO = 1e-6
"""What is left in flight below this share of what was there is float32 rounding."""

_At: TypeAlias = "tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]"
"""Rows of a frame (2, resources, workloads)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fleet:
    """Who lives where at the start."""

    roster: Roster
    places: Places
    host: NDArray[np.int32]
    card: NDArray[np.int32]


class SimulatedFleet:
    """Replays a trace against grants that the loop decides.

    Each `read` moves the world one step: actions due take effect, demand arrives, the world serves
    what the grants allow. ``censored`` hides demand above the grant, as production does; otherwise
    ``used`` shows demand itself. Actions take ``lead_steps`` - 1 steps; with ``costs``, rehomes and
    migrations take what their bytes and links ask for as well, load the link, and may fail.
    """

    def __init__(
        self,
        trace: Trace,
        fleet: Fleet,
        *,
        censored: bool = False,
        lead_steps: int = 1,
        costs: MoveCosts | None = None,
    ) -> None:
        """Stand before the first step, everyone holding what they were sold."""
        self._trace = trace
        self._fleet = fleet
        self._censored = censored
        self._delay_steps = lead_steps - 1
        self._tick = -1
        self._card = fleet.card
        shape = trace.used.shape[0], trace.used.shape[2]
        # Who is not there yet holds nothing: at a place with a limit that is 0, which adds up.
        absent = 0 if fleet.places.bounded else np.nan
        self._grant = np.full((SHARES, *shape), absent, dtype=np.float32)
        self._grant[CARD] = 0
        self._capacity = np.full(shape, np.nan, dtype=np.float32)
        self._demand = np.full(shape, np.nan, dtype=np.float32)
        self._pressed = np.zeros(shape, dtype=np.bool_)
        self._due: deque[tuple[int, Actions]] = deque()
        self._in_flight = np.zeros((SHARES, *shape), dtype=np.float32)
        self._confirmed: list[Outcome] = []
        self._hosts = self._membership(fleet.host)
        self._cards = self._membership(fleet.card)
        worth = fleet.places.worth
        self._allocatable = fleet.places.allocatable * worth
        self._costs = costs
        self._moves: Moves | None = None
        if costs is not None:
            self._moves = Moves(
                costs,
                step_seconds=trace.step_seconds,
                link_bytes_per_second=fleet.places.link_bytes_per_second,
            )
        self._pauses: Rows | None = None
        self._served: Served | None = None

    @property
    def ticks_left(self) -> int:
        """Steps of the trace not yet read."""
        return self._trace.ticks - self._tick - 1

    @property
    def demand(self) -> NDArray[np.float32]:
        """What was wanted in the step last read, capped by capacity: (resources, workloads)."""
        return self._demand

    @property
    def link_bytes_per_second(self) -> NDArray[np.float64]:
        """What moves carried over each link in the step last read: (links,)."""
        if self._moves is None:
            return np.zeros(self._fleet.places.link_server.shape)
        return self._moves.link_bytes_per_second

    @property
    def used_by_place(self) -> NDArray[np.float64]:
        """What was served at each place in the step last read, in the place's units: (resources, places)."""
        if self._served is None:
            got = np.nan_to_num(np.fmin(self._demand, self._grant[HOST]))
            return summed(xp, got, self._hosts)
        at_host = summed(xp, self._served.at_host, self._hosts)
        at_card = summed(xp, self._served.at_card, self._cards)
        return at_host + at_card / self._fleet.places.worth

    @property
    def pressed(self) -> NDArray[np.bool_]:
        """Where demand was above what was served in the step last read: (resources, workloads)."""
        return self._pressed

    def go_on(self, last: Snapshot) -> None:
        """Stand after a step that was read before, everyone holding what ``last`` says.

        What was in flight is lost, as it would be with the machine that carried it.

        Raises:
            InputError: the step is not one of the trace.

        """
        step, rest = divmod(last.time_seconds - self._trace.start_seconds, self._trace.step_seconds)
        if rest or not 1 <= step <= self._trace.ticks or last.used.shape != self._capacity.shape:
            raise InputError(f"trace '{self._trace.name}' has no step that ends at {last.time_seconds}")
        self._tick = step - 1
        self._capacity, self._grant, self._card = last.capacity, last.grant, last.card
        self._cards = self._membership(last.card)

    def skip(self, ticks: int) -> None:
        """Leave out the next steps; nobody is there during them."""
        self._tick += ticks

    def now_seconds(self) -> int:
        """Return the end of the step last read."""
        return self._trace.start_seconds + (self._tick + 1) * self._trace.step_seconds

    def read(self) -> Snapshot:
        """Move the world one step and return what telemetry would see of it.

        Raises:
            InputError: the trace has no further step.

        """
        if self.ticks_left <= 0:
            raise InputError(f"trace '{self._trace.name}' is over after {self._trace.ticks} steps")
        self._tick += 1
        while self._due and self._due[0][0] <= self._tick:
            self._apply(self._due.popleft()[1])
        self._end_moves()
        self._arrive()
        used, self._pressed = self._serve()
        return Snapshot(
            time_seconds=self.now_seconds(),
            step_seconds=self._trace.step_seconds,
            resources=self._trace.resources,
            roster=self._fleet.roster,
            places=self._fleet.places,
            host=self._fleet.host,
            card=self._card,
            used=used if self._censored else self._demand,
            capacity=self._capacity,
            pressed=self._pressed,
            grant=self._grant,
            in_flight=self._in_flight,
        )

    def submit(self, actions: Actions) -> None:
        """Put the actions in flight; with no delay they take effect before the next step."""
        if self._delay_steps == 0:
            self._apply(actions)
            return
        self._due.append((self._tick + 1 + self._delay_steps, actions))
        at = actions.share, actions.resource_row, actions.workload
        in_flight = self._in_flight.copy()
        in_flight[at] += actions.amount_to - actions.amount_from
        self._in_flight = in_flight

    def collect(self) -> Outcome:
        """Return what took effect since the last call."""
        confirmed, self._confirmed = self._confirmed, []
        return all_confirmed(confirmed)

    def _membership(self, place: NDArray[np.int32]) -> Membership:
        return membership(xp, np.maximum(place, 0).astype(np.int64), len(self._fleet.places.names))

    def _arrive(self) -> None:
        """Bring the step's demand and capacity; a newcomer holds what it was sold."""
        capacity = self._trace.capacity[:, self._tick]
        unknown = np.isnan(self._capacity)
        self._capacity = np.where(np.isnan(capacity), self._capacity, capacity)
        self._demand = np.minimum(self._trace.used[:, self._tick], self._capacity)
        held = self._grant[HOST]
        newcomer = np.isnan(held) if not self._fleet.places.bounded else unknown & ~np.isnan(capacity)
        above = held > self._capacity
        if newcomer.any() or above.any():
            grant = self._grant.copy()
            grant[HOST] = np.where(newcomer | above, self._capacity, held)
            self._grant = grant

    def _serve(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        tolerance = np.float32(VIOLATION_TOLERANCE_RATIO) * self._capacity
        if not self._fleet.places.bounded:
            got = np.minimum(self._demand, self._grant[HOST])
            return got, self._demand > got + tolerance
        grant = self._grant_between_moves()
        self._served = served = serve(
            xp,
            demand=self._demand,
            grant_host=grant[HOST],
            grant_card=grant[CARD] * self._card_worth(),
            offloadable_ratio=self._fleet.roster.offloadable_ratio,
            host=self._hosts,
            card=self._cards,
            allocatable=self._allocatable_beside_moves(),
            tolerance=tolerance,
        )
        return served.used, served.pressed

    def _grant_between_moves(self) -> NDArray[np.float32]:
        """What may be served from in this step: a share that was just moved stood still for its pause."""
        if self._pauses is None:
            return self._grant
        grant = self._grant.copy()
        pause = np.minimum(self._pauses.pause_seconds / self._trace.step_seconds, 1)
        grant[self._pauses.at] *= (1 - pause).astype(np.float32)
        return grant

    def _allocatable_beside_moves(self) -> NDArray[np.float64]:
        """What each place can serve: a card's network carries its moves first."""
        load = self.link_bytes_per_second
        if Resource.NETWORK not in self._trace.resources or not load.any():
            return self._allocatable
        row = self._trace.resources.index(Resource.NETWORK)
        allocatable = self._allocatable.copy()
        np.subtract.at(allocatable[row], self._fleet.places.link_card, load)
        return np.maximum(allocatable, 0)

    def _card_worth(self) -> NDArray[np.float32]:
        return np.take(self._fleet.places.worth, np.maximum(self._card, 0), axis=1)

    def _apply(self, actions: Actions) -> None:
        """Let the actions take effect: resizes at once, moves when they have ended."""
        if self._moves is None or self._costs is None:
            self._set(actions)
            return
        part, move = moves_of(actions, self._card)
        busy = self._moves.busy(actions)
        refused = part & np.isin(move, move[part & busy])
        started = part & ~refused
        if not part.any() and not busy.any():
            self._set(actions)
            return
        at = actions.share, actions.resource_row, actions.workload
        delta = actions.amount_to - actions.amount_from
        grant = self._grant.copy()
        # A resize beside a move of the same share changes it by as much as it asked for.
        resized = np.where(busy, np.maximum(grant[at] + delta, 0), actions.amount_to)
        grant[at] = np.where(part, grant[at], resized)
        self._grant = grant
        # What was delayed is in flight already: it ends here, and moves go on.
        self._charge(at, np.where(started, 0, -delta) if self._delay_steps else np.where(started, delta, 0))
        self._confirmed.append(_confirmed(actions, ~started, refused, grant[at]))
        if started.any():
            self._moves.start(
                actions,
                started,
                move,
                moved_bytes=self._bytes_of(actions, self._costs),
                link=self._links_of(actions),
                now_seconds=self.now_seconds(),
            )

    def _set(self, actions: Actions) -> None:
        """Set every share to its new amount; the world agrees to everything."""
        at = actions.share, actions.resource_row, actions.workload
        grant = self._grant.copy()
        grant[at] = actions.amount_to
        self._grant = grant
        if self._delay_steps:
            in_flight = self._in_flight.copy()
            in_flight[at] -= actions.amount_to - actions.amount_from
            self._in_flight = in_flight
        self._to_card(actions.workload, actions.share, actions.place_to)
        everything = np.ones(len(actions), dtype=np.bool_)
        self._confirmed.append(_confirmed(actions, everything, ~everything, actions.amount_to))

    def _end_moves(self) -> None:
        """Let the moves that ended in this step take effect, and those that failed leave no trace."""
        self._pauses = None
        ended = None if self._moves is None else self._moves.step(self.now_seconds())
        if ended is None:
            return
        applied, failed = ended.applied, ended.failed
        for rows in (applied, failed):
            self._charge(rows.at, rows.amount_from - rows.amount_to)
        if len(applied):
            grant = self._grant.copy()
            now = grant[applied.at]
            beside = np.maximum(now + (applied.amount_to - applied.amount_from), 0)
            grant[applied.at] = np.where(now == applied.amount_from, applied.amount_to, beside)
            self._grant = grant
            self._to_card(applied.workload, applied.share, applied.place_to)
            self._pauses = applied
            phase = np.full(len(applied), Phase.APPLIED, dtype=np.uint8)
            self._confirmed.append(applied.outcome(phase, self._grant))
        if len(failed):
            self._confirmed.append(failed.outcome(ended.phase, self._grant))

    def _charge(self, at: _At, delta: NDArray[np.float32]) -> None:
        """Put ``delta`` more in flight; what is left of a whole by rounding is nothing."""
        in_flight = self._in_flight.copy()
        charged = in_flight[at] + delta
        in_flight[at] = np.where(np.abs(charged) <= ROUNDING_RATIO * np.abs(delta), 0, charged)
        self._in_flight = in_flight

    def _bytes_of(self, actions: Actions, costs: MoveCosts) -> NDArray[np.float64]:
        resources = self._trace.resources
        return moved_bytes(
            actions,
            memory_row=resources.index(Resource.MEMORY) if Resource.MEMORY in resources else -1,
            used=self._demand,
            capacity=self._capacity,
            state_ratio=costs.state_ratio,
            takes_state=np.array([of in {Resource.CPU, Resource.GPU} for of in resources]),
        )

    def _links_of(self, actions: Actions) -> NDArray[np.int64]:
        """Return the link each action's bytes cross, between its host and the card it has or gets."""
        places, count = self._fleet.places, len(self._fleet.places.names)
        card = np.where(actions.share == CARD, actions.place_to, self._card[actions.workload])
        links = places.link_server * count + places.link_card
        if links.size == 0:
            return np.full(len(actions), NO_LINK, dtype=np.int64)
        order = np.argsort(links, kind="stable")
        wanted = self._fleet.host[actions.workload].astype(np.int64) * count + card
        at = order[np.minimum(np.searchsorted(links, wanted, sorter=order), links.size - 1)]
        return np.where(links[at] == wanted, at, NO_LINK)

    def _to_card(
        self, workload: NDArray[np.int64], share: NDArray[np.uint8], place_to: NDArray[np.int32]
    ) -> None:
        """Note the card of every workload whose card share went to another one."""
        moved = (share == CARD) & (place_to != self._card[workload]) & (place_to != NO_CARD)
        if moved.any():
            card = self._card.copy()
            card[workload[moved]] = place_to[moved]
            self._card = card
            self._cards = self._membership(card)


def _confirmed(
    actions: Actions, chosen: NDArray[np.bool_], refused: NDArray[np.bool_], read_back: NDArray[np.float32]
) -> Outcome:
    """Return the outcome of the chosen actions; all frames (actions,)."""
    return Outcome(
        workload_id=actions.workload_id[chosen],
        resource_row=actions.resource_row[chosen],
        share=actions.share[chosen],
        phase=np.where(refused, np.uint8(Phase.REFUSED), np.uint8(Phase.APPLIED))[chosen],
        amount_read_back=read_back[chosen],
    )


def _conforms(fleet: SimulatedFleet) -> tuple[Clock, TelemetrySource, Actuator]:
    return fleet, fleet, fleet


__all__ = ["NO_CARD", "Fleet", "MoveCosts", "SimulatedFleet"]
