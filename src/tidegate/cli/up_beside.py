"""What runs beside `tidegate up` in processes of its own, and what that means to who watches."""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tidegate.agents.together.together import Together
    from tidegate.app.machine import Machine, MachineOptions
    from tidegate.app.side_by_side import SideBySide
    from tidegate.app.sources import LiveFleet, LiveServer
    from tidegate.cli.turning import Stop, Turning
    from tidegate.cli.watched import Board
    from tidegate.drivers.simulated.build import World


@dataclass(slots=True, kw_only=True)
class Beside:
    """Agents and a fleet manager beside this process."""

    _together: Together
    _board: Board
    _runs: list[tuple[Turning, Callable[[], bool], Callable[[str, str], None]]] = field(default_factory=list)

    @property
    def fleet(self) -> LiveFleet | None:
        """The simulated fleet, which stands still before `begin`."""
        return self._together.fleet

    def begin(self) -> None:
        """Have the simulated fleet's first step made, once its agent is there.

        Raises:
            TidegateError: the agent ended, or did not come in time.
            KeyboardInterrupt: somebody asked to end meanwhile.

        """
        self._together.begin_world()

    def complete(self) -> None:
        """Start the fleet manager, too, now that nobody waits for an agent any more."""
        self._together.start_manager()

    def machine(self, options: MachineOptions) -> AbstractContextManager[LiveServer]:
        """Return this machine, as soon as its agent has sent a sample.

        Raises:
            InputError: acting is not possible here.
            TidegateError: the agent ended, or did not come in time.
            KeyboardInterrupt: somebody asked to end meanwhile.

        """
        return self._together.machine(options)

    def watch_fleet(self, loop: Turning, run: SideBySide) -> None:
        """Turn a loop when its next step is there, and tell the journal what becomes of processes."""
        fleet = self._together.fleet
        self._runs.append((loop, lambda: fleet is None or fleet.is_ready, run.tell))

    def watch_machine(self, loop: Turning, machine: Machine) -> None:
        """Turn a loop when its next sample is there, and tell the journal what becomes of processes."""
        one = self._together.one
        self._runs.append((loop, lambda: one is None or one.is_fresh, machine.tell))

    def is_ready(self, loop: Turning) -> bool:
        """Return whether what a loop watches has come; tells what there is to tell meanwhile.

        Raises:
            TidegateError: an agent stays down.

        """
        self._tell()
        self._together.check()
        return all(ready() for one, ready, _ in self._runs if one is loop)

    def nap(self, seconds: float) -> None:
        """Wait so long, or until something came; what is down is shown also where no loop turns."""
        self._board.stand()
        self._together.nap(seconds)

    def told(self) -> list[dict[str, object]]:
        """Return what there is to know of each process, this one first, in the form that machines read."""
        return [{"name": "up", "pid": os.getpid(), "restarts": 0, "down": ""}, *self._together.told()]

    def _tell(self) -> None:
        from tidegate.agents.together.together import KIND

        notices = self._together.notices
        while notices:
            sentence = notices.popleft()
            self._board.notice(sentence)
            for _, _, tell in self._runs:
                tell(KIND, sentence)


@contextmanager
def beside(
    stop: Stop, board: Board, *, machine: MachineOptions | None, world: World | None, simulated: Sequence[str]
) -> Iterator[Beside]:
    """Have agents of what is given, and a fleet manager, started; all have ended when the context is left.

    ``simulated`` is what the agent of ``world`` is told.

    Raises:
        InputError: there is no place for sockets.
        TidegateError: one of them ended with an error.

    """
    from tidegate.agents.running import quiet_grpc
    from tidegate.agents.together.together import together

    quiet_grpc()
    with together(lambda: stop.name is not None, lambda: str(uuid.uuid4())) as made:
        made.serve_servers(machine)
        if machine is not None:
            made.start_machine(machine)
        if world is not None:
            made.serve_world(world)
            made.start_world(simulated)
        board.conditions = made.down
        yield Beside(_together=made, _board=board)


def simulated_arguments(
    scenario: Path | None, traces: Sequence[Path], *, sla: float | None, seed: int
) -> list[str]:
    """Return what tells an agent to simulate the same fleet."""
    given = [f"--seed={seed}", *(f"--trace={trace}" for trace in traces)]
    if scenario is not None:
        given.append(f"--scenario={scenario}")
    if sla is not None:
        given.append(f"--sla={sla!r}")
    return given


__all__ = ["Beside", "beside", "simulated_arguments"]
