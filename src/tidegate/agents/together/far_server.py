"""This very machine through an agent in another process, as clock, telemetry source and actuator here.

A loop asks on its thread, the stream tells on the event loop's; everything between them happens there.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from tidegate.agents.servers.sent import refused
from tidegate.agents.servers.servers import Servers
from tidegate.drivers.local.clock import SystemClock
from tidegate.model.errors import TidegateError
from tidegate.model.outcome import all_confirmed
from tidegate.model.refusals import Because, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from numpy.typing import NDArray

    from tidegate.agents.servers.servers import Told
    from tidegate.agents.together.background import Background
    from tidegate.model.behaviour import Behaviour
    from tidegate.model.outcome import Outcome
    from tidegate.model.plan import Actions
    from tidegate.model.resources import Resource
    from tidegate.model.snapshot import Snapshot
    from tidegate.wire.frames import Greeting, Sample, ServerRoster
    from tidegate.wire.orders import ServerOrders, ServerOutcomes

SAMPLE_SECONDS_MAX: Final = 60.0
"""How long a loop that asks for a sample waits for it."""
LOOK_SECONDS: Final = 0.05
EPOCH: Final = 1
"""Of orders: what an agent remembers of them ends with the `up` that started it."""


class OneServer:
    """What a stream tells of the one server there is; on the event loop only."""

    def __init__(
        self,
        *,
        card: str,
        server: str,
        step_seconds: int,
        now_nanoseconds: Callable[[], int],
        arrived: Callable[[], None],
    ) -> None:
        """Know nothing yet; ``arrived`` is called with each sample, ``called`` is set by who serves."""
        self._card, self._server, self._step_seconds = card, server, step_seconds
        self._now, self._arrived = now_nanoseconds, arrived
        self.called: Callable[[str], None] = lambda _server: None
        self.servers: Servers | None = None
        self.greeting: Greeting | None = None
        """The first one's."""
        self.latest: Sample | None = None
        self.is_fresh = False
        """Whether a sample came that was not read."""
        self.changes = 0
        """How often somebody connected, or workloads came or went: rows of before say nothing then."""
        self.given_back: int | None = None
        """Settings that the agent gave back at its end; None while one is there."""

    def greet(self, greeting: Greeting) -> int:
        """Let the server in, or in again, and return the epoch of orders to it.

        Raises:
            Refusal: it is another server, or measures other things than before.

        """
        if greeting.server != self._server:
            raise Refusal(
                Because.NOT_ALLOWED, f"only server '{self._server}' is expected here", field="hello.server"
            )
        if self.servers is None or self.greeting is None:
            self.greeting = greeting
            self.servers = Servers(
                card=self._card,
                epoch=EPOCH,
                now_nanoseconds=self._now,
                step_seconds=self._step_seconds,
                resources=greeting.resources,
                called=self._wake,
                ids=lambda _server, ids: ids,  # as in one process: a journal goes on in either
            )
        elif greeting.resources != self.greeting.resources:
            raise Refusal(
                Because.INVALID,
                f"server '{self._server}' measures other resources than before; start 'up' again",
                field="hello.resources",
            )
        self.changes += 1
        self.is_fresh, self.given_back = False, None
        return self.servers.greet(greeting)

    def roster(self, server: str, who: ServerRoster) -> None:
        """Take in who there is."""
        self.changes += 1
        self.is_fresh = False
        self._known.roster(server, who)

    def sample(self, server: str, sample: Sample) -> None:
        """Take in a sample."""
        self._known.sample(server, sample)
        self.latest, self.is_fresh = sample, True
        self._arrived()

    def outcomes(self, server: str, outcomes: ServerOutcomes) -> None:
        """Take in what became of orders."""
        self._known.outcomes(server, outcomes)

    def heard(self, server: str) -> None:
        """Note a sign of life."""
        self._known.heard(server)

    def next_orders(self, server: str) -> ServerOrders | None:
        """Return the next orders that wait."""
        return self._known.next_orders(server)

    def parted(self, _server: str, settings: int) -> None:
        """Note that the agent ends."""
        self.given_back = settings

    @property
    def is_lost(self) -> bool:
        """Whether it was not heard for long."""
        return self.servers is None or self.servers.is_lost(self._server)

    def told(self) -> tuple[Told, ...]:
        """Return what is known of the connection."""
        return () if self.servers is None else self.servers.told()

    def _wake(self, server: str) -> None:
        self.called(server)

    @property
    def _known(self) -> Servers:
        if self.servers is None:
            raise RuntimeError("a stream told something before its greeting was taken in")
        return self.servers


class FarServer:
    """A `LiveServer` whose agent is another process."""

    def __init__(
        self,
        one: OneServer,
        background: Background,
        *,
        end: Callable[[], int],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Be what ``one`` hears of on the event loop of ``background``; it was greeted, and sent a sample.

        ``end`` ends the agent, which then gives everything back; it returns how many settings the agent
        could not. ``check`` raises where nobody need wait for a sample any more.
        """
        self._one, self._background, self._end, self._check = one, background, end, check
        greeting = one.greeting
        assert greeting is not None, "it was greeted"
        self.resources: tuple[Resource, ...] = greeting.resources
        self.given_back = greeting.settings_given_back
        self.behaviour: Behaviour | None = None
        self.settable: NDArray[np.bool_] = np.zeros((len(self.resources), 0), dtype=np.bool_)
        self._changes = 0
        self._refused: list[Outcome] = []
        self._ended = False
        self._looks = threading.Event()

    @property
    def is_ready(self) -> bool:
        """Whether there is a sample that was not read."""
        return self._one.is_fresh

    def now_seconds(self) -> int:
        """Return seconds since 1970 UTC."""
        return self._servers.now_seconds()

    def read(self) -> Snapshot:
        """Return the machine as it was sampled last, but not the same sample twice.

        Raises:
            TidegateError: no further sample came.
            KeyboardInterrupt: somebody asked to end meanwhile.

        """
        clock = SystemClock()
        deadline = clock.forwards_seconds() + SAMPLE_SECONDS_MAX
        while (snapshot := self._background.call(self._read)) is None:
            self._check()
            if clock.forwards_seconds() > deadline:
                raise TidegateError(f"this machine's agent sent no sample for {SAMPLE_SECONDS_MAX:g} s")
            self._looks.wait(LOOK_SECONDS)
        return snapshot

    def submit(self, actions: Actions) -> None:
        """Order it; what was decided on workloads that have come or gone since is refused."""
        if len(actions):
            self._background.call(partial(self._submit, actions))

    def collect(self) -> Outcome:
        """Return what became of orders since the last call."""
        return self._background.call(self._collect)

    def end(self) -> int:
        """End the agent, which gives the owner's settings back; return how many it says those were.

        Raises:
            TidegateError: it could not; the sentence is its own.

        """
        if self._ended:
            return 0
        self._ended = True
        restored = self._end()
        return restored + (self._one.given_back or 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    @property
    def _servers(self) -> Servers:
        assert self._one.servers is not None, "it was greeted"
        return self._one.servers

    def _read(self) -> Snapshot | None:
        if not self._one.is_fresh:
            return None
        snapshot = self._servers.read()
        self.settable = self._servers.settable
        self.behaviour = None if self._one.latest is None else self._one.latest.behaviour
        self._changes, self._one.is_fresh = self._one.changes, False
        return snapshot

    def _submit(self, actions: Actions) -> None:
        if self._changes == self._one.changes:
            self._servers.submit(actions)
            return
        self._refused.append(refused(actions, np.arange(len(actions))))

    def _collect(self) -> Outcome:
        before, self._refused = self._refused, []
        return all_confirmed([self._servers.collect(), *before])
