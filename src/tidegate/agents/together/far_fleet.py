"""A simulated fleet in another process, as clock, telemetry source and actuator of the loop in this one.

The other makes a step, this one decides on it, and so on in turn; the next step is made while this one still
journals. Whoever comes anew, as after a kill, is told where the world stands; moves under way are lost then.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.model.errors import TidegateError
from tidegate.model.refusals import Because, InvalidField, Refusal
from tidegate.model.roster import CARD, NO_CARD
from tidegate.wire.simulated.v1 import world_pb2
from tidegate.wire.worlds import Position, Step, decisions_message, position_message, step_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tidegate.drivers.simulated.build import World
    from tidegate.model.outcome import Outcome
    from tidegate.model.plan import Actions
    from tidegate.model.snapshot import Snapshot

STEP_SECONDS_MAX: Final = 60.0
"""How long a loop that asks for a step waits for it."""

_Response = world_pb2.ConnectResponse


class FarFleet:
    """A `LiveFleet` whose steps come over a stream; the stream's methods may be called on another thread."""

    def __init__(self, world: World, name: str, *, arrived: Callable[[], None]) -> None:
        """Stand before the first step; ``arrived`` is called on the stream's thread with each."""
        self.name = name
        """Which fleet it is, with a digest."""
        self._world, self._trace, self._like = world, world.trace, world.template()
        self._told = arrived
        self.connected = threading.Event()
        """Set once somebody computes the world."""
        self._turn = threading.Condition()
        self._out: Callable[[_Response], None] | None = None
        """To whoever computes the world; None while nobody is there."""
        self._begun = self._told_position = False
        """Whether that one knows where the world stands."""
        self._position: Position | None = None
        self._arrived: Step | None = None
        """What was not read yet."""
        self._read: Step | None = None
        """What was read, and is not decided on if `_undecided`."""
        self._undecided = False

    # --- what the stream tells ------------------------------------------------------------------

    def connect(self, out: Callable[[_Response], None]) -> None:
        """Take in who computes the world from now on; ``out`` tells that one what to do."""
        with self._turn:
            self._out, self._told_position = out, False
            self.connected.set()
            if self._begun and self._arrived is None and not self._undecided:
                self._tell_position()

    def disconnect(self, out: Callable[[_Response], None]) -> None:
        """Note that somebody computes no more."""
        with self._turn:
            if self._out == out:
                self._out = None

    def step(self, message: world_pb2.Step, out: Callable[[_Response], None]) -> None:
        """Take in the next step.

        Raises:
            InvalidField: it is not the next, or columns are of another size.
            Refusal: somebody else computes the world by now.

        """
        step = step_record(message, self._like)
        with self._turn:
            if self._out != out:
                raise Refusal(Because.STALE, "another agent computes this fleet by now")
            due = self._end_seconds() + self._trace.step_seconds
            if step.snapshot.time_seconds != due or self._arrived is not None or self._undecided:
                raise InvalidField("step.time_seconds", f"{step.snapshot.time_seconds} is not due, {due} is")
            self._arrived = step
            self._turn.notify_all()
        self._told()

    # --- what the loop asks ---------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether the next step is there."""
        return self._arrived is not None

    @property
    def ticks_left(self) -> int:
        """Steps of the trace not yet read."""
        return (
            self._trace.ticks - (self._end_seconds() - self._trace.start_seconds) // self._trace.step_seconds
        )

    @property
    def used_by_place(self) -> NDArray[np.float64]:
        """What was served at each place in the step last read, in the place's units: (resources, places)."""
        read = self._read
        return np.zeros(self._like.places.allocatable.shape) if read is None else read.used_by_place

    @property
    def link_bytes_per_second(self) -> NDArray[np.float64]:
        """What moves carried over each link in the step last read: (links,)."""
        read = self._read
        links = self._like.places.link_server.shape
        return np.zeros(links) if read is None else read.link_bytes_per_second

    def now_seconds(self) -> int:
        """Return the end of the step last read."""
        return self._end_seconds()

    def go_on(self, last: Snapshot) -> None:
        """Stand after a step that was read before, everyone holding what ``last`` says; before `begin`.

        Raises:
            InputError: the step is not one of the trace.

        """
        self._world.start().go_on(last)
        self._position = _position(last)

    def begin(self) -> None:
        """Have the next step computed, here or by whoever connects first."""
        with self._turn:
            self._begun = True
            if self._out is not None:
                self._tell_position()

    def read(self) -> Snapshot:
        """Return the next step.

        Raises:
            TidegateError: it did not come.

        """
        with self._turn:
            step = self._next()
            self._arrived, self._read, self._undecided = None, step, True
            self._position = _position(step.snapshot)
        return step.snapshot

    def collect(self) -> Outcome:
        """Return what took effect until the next step.

        Raises:
            TidegateError: that did not come.

        """
        with self._turn:
            return self._next().outcome

    def submit(self, actions: Actions) -> None:
        """Have the actions done before the next step, which is computed from now on."""
        with self._turn:
            if self._position is None:
                return
            self._position = _after(self._position, actions)
            self._undecided = False
            if self._out is None:
                return
            if self._told_position:
                self._out(_Response(decisions=decisions_message(actions)))
            else:
                self._tell_position()

    # --- inside ---------------------------------------------------------------------------------

    def _end_seconds(self) -> int:
        return self._trace.start_seconds if self._position is None else self._position.time_seconds

    def _tell_position(self) -> None:
        if self._out is not None:
            self._out(_Response(position=position_message(self._position)))
            self._told_position = True

    def _next(self) -> Step:
        """Return the step that is to be read, once it is there."""
        if not self._turn.wait_for(lambda: self._arrived is not None, STEP_SECONDS_MAX):
            raise TidegateError(f"the simulated fleet's next step did not come in {STEP_SECONDS_MAX:g} s")
        assert self._arrived is not None, "it was waited for"
        return self._arrived


def _position(last: Snapshot) -> Position:
    return Position(time_seconds=last.time_seconds, capacity=last.capacity, grant=last.grant, card=last.card)


def _after(position: Position, actions: Actions) -> Position:
    """Return where a world stands once everything that was asked for is done."""
    grant, card = position.grant.copy(), position.card.copy()
    grant[actions.share, actions.resource_row, actions.workload] = actions.amount_to
    moved = (actions.share == CARD) & (actions.place_to != NO_CARD)
    card[actions.workload[moved]] = actions.place_to[moved]
    return Position(time_seconds=position.time_seconds, capacity=position.capacity, grant=grant, card=card)
