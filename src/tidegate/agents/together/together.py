"""Plugs an `up` of several processes together: what it serves, and whom it starts beside it."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from tidegate.agents.servers.service import TelemetryService
from tidegate.agents.servers.service import served as telemetry_served
from tidegate.agents.together.background import Background
from tidegate.agents.together.card import NAME as CARD
from tidegate.agents.together.card import card
from tidegate.agents.together.children import Child
from tidegate.agents.together.far_fleet import FarFleet
from tidegate.agents.together.far_server import FarServer, OneServer
from tidegate.agents.together.folder import runtime_folder
from tidegate.agents.together.world_service import WorldService
from tidegate.agents.together.world_service import served as world_served
from tidegate.app.machine import EVERYONE
from tidegate.drivers.local.clock import SystemClock
from tidegate.drivers.local.ledger import boot_identifier, release
from tidegate.drivers.local.outside import Outside
from tidegate.model.application import NAME as POSSIBLE_NAME
from tidegate.model.errors import TidegateError
from tidegate.wire.serving import serving
from tidegate.wire.worlds import MESSAGE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tidegate.app.machine import MachineOptions
    from tidegate.drivers.simulated.build import World

KIND: Final = "process"
"""Of events in journals that say what became of one of these processes."""
START_SECONDS_MAX: Final = 60.0
"""How long an agent may take to say how its workloads are, the first time."""
CLOCK: Final = SystemClock()
LOOK_SECONDS: Final = 0.05
NOTICES_MAX: Final = 64
"""Sentences for people that wait to be told; beyond, the oldest goes."""
GRACE_SECONDS: Final = 0.2
"""How long calls may go on at the end: nobody else waits for them."""
FLEET_MANAGER: Final = "fleet manager"
OF_MACHINE: Final = "agent of this machine"
OF_SIMULATED: Final = "agent of the simulated fleet"


@dataclass(slots=True, kw_only=True)
class Together:
    """The processes beside this one; `together` starts and ends them."""

    folder: Path
    """Where their sockets are; only its owner may enter."""
    background: Background
    new_id: Callable[[], str]
    stopped: Callable[[], bool]
    """Whether somebody asked to end: who waits gives up then."""
    children: list[Child] = field(default_factory=list)
    notices: deque[str] = field(default_factory=lambda: deque(maxlen=NOTICES_MAX))
    """What became of processes, and was not told yet."""
    one: OneServer | None = None
    fleet: FarFleet | None = None
    _bell: threading.Event = field(default_factory=threading.Event)
    _machine: Child | None = None
    _simulated: Child | None = None

    def nap(self, seconds: float) -> None:
        """Wait so long, or until something came."""
        self._bell.wait(seconds)
        self._bell.clear()

    def serve_world(self, world: World) -> FarFleet:
        """Serve the stream of a simulated fleet, and start its agent with `start_world`."""
        fleet = FarFleet(world, world.identity(), arrived=self._bell.set)
        self.fleet = fleet
        services = [world_served(WorldService(fleet))]
        self.background.enter(
            serving(
                self.address("world"),
                services,
                clock=CLOCK,
                grace_seconds=GRACE_SECONDS,
                message_bytes_max=MESSAGE_BYTES_MAX,
            )
        )
        return fleet

    def start_world(self, arguments: Sequence[str]) -> None:
        """Start the agent of the simulated fleet."""
        self._simulated = self._start(
            OF_SIMULATED,
            *("agent", "--simulated", "--device", self.address("world")),
            *("--listen", self.address("simulated"), *arguments),
        )

    def begin_world(self) -> None:
        """Have the simulated fleet's first step made, once its agent is there.

        Raises:
            TidegateError: the agent ended, or did not come in time.
            KeyboardInterrupt: somebody asked to end meanwhile.

        """
        assert self.fleet is not None, "its stream is served"
        assert self._simulated is not None, "its agent was started"
        self._wait(self._simulated, self.fleet.connected.is_set)
        self.fleet.begin()

    def serve_servers(self, options: MachineOptions | None) -> None:
        """Serve the card, and the stream of this machine where that is watched.

        Raises:
            InputError: a socket can't be made.

        """
        offered = self.background.enter(
            card(self.folder / "card", self.new_id, lambda: () if self.one is None else self.one.told())
        )
        if options is not None:
            self.one = OneServer(
                card=CARD,
                server=server_name(),
                step_seconds=options.step_seconds,
                now_nanoseconds=CLOCK.now_nanoseconds,
                arrived=self._bell.set,
            )
            service = TelemetryService(
                self.one, card=CARD, now_nanoseconds=CLOCK.now_nanoseconds, parted=self.one.parted
            )
            self.one.called = service.call
            offered.append(telemetry_served(service))
        address = self.address("device")
        self.background.enter(serving(address, offered, clock=CLOCK, grace_seconds=GRACE_SECONDS))

    def start_manager(self) -> None:
        """Start a fleet manager of the card; nobody waits for it."""
        manager = self._start(
            FLEET_MANAGER,
            *("fleet", "--card", f"{CARD}={self.address('device')}", "--listen", self.address("fleet")),
            *("--state", str(self.folder / "fleet")),
        )
        manager.well()

    def start_machine(self, options: MachineOptions) -> None:
        """Start the agent of this machine."""
        self._machine = self._start(
            OF_MACHINE,
            *("agent", "--device", self.address("device"), "--name", server_name()),
            *("--listen", self.address("agent"), "--state", str(self.folder / "agent")),
            *("--ledger", str(options.ledger), "--step", f"{options.step_seconds}s"),
            *("--sla", repr(options.violation_rate), "--no-baseline"),
            *(f"--workload={pattern}" for pattern in options.chosen),
            *(f"--act={pattern}" for pattern in EVERYONE if options.acts),
        )

    def machine(self, options: MachineOptions) -> FarServer:
        """Return this machine once its agent has sent a sample.

        Raises:
            InputError: acting is not possible here, or what is to be watched can't be.
            TidegateError: the agent ended, or did not come in time.
            KeyboardInterrupt: somebody asked to end meanwhile.

        """
        one, child = self.one, self._machine
        assert one is not None, "its stream is served"
        assert child is not None, "its agent was started"
        self._wait(child, lambda: one.is_fresh)
        return FarServer(
            one, self.background, end=partial(_end_machine, child, options), check=partial(self._check, child)
        )

    def told(self) -> list[dict[str, object]]:
        """Return what there is to know of each process, in the form that machines read."""
        return [
            {"name": child.name, "pid": child.pid, "restarts": child.restarts, "down": child.why_down}
            for child in self.children
        ]

    def down(self) -> list[str]:
        """Return a sentence for each process that does not do its work just now."""
        said = [f"the {child.name} is down: {child.why_down}" for child in self.children if child.why_down]
        machine, one = self._machine, self.one
        runs = machine is not None and not machine.why_down
        if runs and one is not None and self.background.call(lambda: one.is_lost):
            said.append(f"the {OF_MACHINE} runs and says nothing")
        return said

    def check(self) -> None:
        """Do nothing unless an agent stays down, whose loop would stand still; a fleet manager is not needed.

        Raises:
            TidegateError: one does; the sentence says why.

        """
        for agent in (self._machine, self._simulated):
            if agent is not None:
                agent.check()

    def address(self, name: str) -> str:
        """Return the address of a socket."""
        return f"unix:{self.folder / name}.sock"

    def end(self) -> None:
        """End every process.

        Raises:
            TidegateError: one ended with an error.

        """
        with ExitStack() as stack:
            for child in self.children:
                stack.callback(child.end)
                child.ask()

    def _start(self, name: str, *arguments: str) -> Child:
        child = Child(name, arguments, told=self._note)
        self.children.append(child)
        return child

    def _note(self, sentence: str) -> None:
        self.notices.append(sentence)
        self._bell.set()

    def _wait(self, child: Child, came: Callable[[], bool]) -> None:
        deadline = CLOCK.forwards_seconds() + START_SECONDS_MAX
        while not came():
            self._check(child)
            if CLOCK.forwards_seconds() > deadline:
                raise TidegateError(f"the {child.name} did not come in {START_SECONDS_MAX:g} s")
            self.nap(LOOK_SECONDS)
        child.well()

    def _check(self, child: Child) -> None:
        child.check()
        if self.stopped():
            raise KeyboardInterrupt


@contextmanager
def together(stopped: Callable[[], bool], new_id: Callable[[], str]) -> Iterator[Together]:
    """Lend the processes beside this one, none of them started; all have ended when the context is left.

    Raises:
        InputError: there is no place for sockets.
        TidegateError: one of them ended with an error.

    """
    with runtime_folder() as folder, Background() as background:
        made = Together(folder=folder, background=background, stopped=stopped, new_id=new_id)
        try:
            yield made
        finally:
            made.end()


def server_name() -> str:
    """Return what this machine is called as a server: its host name, where that is a name of one."""
    name = Outside().hostname()
    return name if POSSIBLE_NAME.fullmatch(name) and name != CARD else "this-machine"


def _end_machine(child: Child, options: MachineOptions) -> int:
    """End the agent, and give back here what it could not; return how many settings that were."""
    restored = 0
    try:
        child.end()
    finally:
        if options.acts:
            restored = len(release(options.ledger, boot=boot_identifier(Outside().root)).restored)
    return restored
