"""VRAL of one server, put together: the desk beside the agent, its channels on a thread of their own.

A thread, since an agent's step may wait for its hypervisor, and a guest's claim may not.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog

from tidegate.agents.vral.channels import Channels
from tidegate.agents.vral.claimed import ClaimedServer
from tidegate.agents.vral.desk import Desk
from tidegate.agents.vral.journal import Journal
from tidegate.agents.vral.markets import market_of
from tidegate.agents.vral.suppliers import HostSupplier
from tidegate.app.servers import NO_DOORS
from tidegate.model.errors import TidegateError
from tidegate.vral.supplies import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from tidegate.agents.agent.agent import Server
    from tidegate.agents.vral.suppliers import Supplier
    from tidegate.app.servers import Doors
    from tidegate.model.resources import Resource
    from tidegate.model.roster import Roster
    from tidegate.model.tick import Tick
    from tidegate.vral.claims import Notice

_log = structlog.get_logger(__name__)
START_SECONDS_MAX: Final = 10.0
END_SECONDS_MAX: Final = 10.0
SWITCH_SECONDS: Final = 0.0005
"""How long a thread may keep Python to itself while another waits: a tenth of the usual, which would be most
of what a claim takes."""


class Serving:
    """What an agent's loop tells VRAL."""

    def __init__(
        self,
        server: Server,
        journal: Journal,
        folder: Path,
        *,
        machine: Mapping[Resource, float],
        forwards_seconds: Callable[[], float],
        further: Mapping[str, Supplier],
        doors: Callable[[], Doors],
    ) -> None:
        """Serve nobody yet; ``further`` suppliers are drawn from before the host, in their order."""
        self._host = HostSupplier(machine=machine, settable=server)
        self._suppliers: dict[str, Supplier] = {**further, HOST: self._host}
        self.server = ClaimedServer(server, self._host)
        """What the agent is to run over."""
        self.desk = Desk(journal, suppliers=self._suppliers, forwards_seconds=forwards_seconds)
        self._channels = Channels(self.desk, folder, forwards_seconds=forwards_seconds)
        self._doors = doors
        self._seen: tuple[Sequence[str], Doors] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._failed: BaseException | None = None

    def look(self, tick: Tick, expected: NDArray[np.float32] | None) -> None:
        """Take in a sample: with what the device expects of demand, else what the agent's own loop does."""
        snapshot = tick.snapshot
        market = market_of(snapshot, tick.forecast, tuple(self._suppliers.values()), expected=expected)
        self.desk.look(market)
        self._see(snapshot.roster)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have channels served meanwhile.

        Raises:
            TidegateError: they can't be.

        """
        started = threading.Event()
        thread = threading.Thread(target=self._run, args=(started,), name="vral channels", daemon=True)
        usual = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        thread.start()
        if not started.wait(START_SECONDS_MAX) or self._failed is not None:
            raise TidegateError(f"VRAL's channels can't be served: {self._failed or 'they did not start'}")
        try:
            yield
        finally:
            loop, task = self._loop, self._task
            if loop is not None and task is not None:
                loop.call_soon_threadsafe(task.cancel)
            thread.join(END_SECONDS_MAX)
            sys.setswitchinterval(usual)

    def _run(self, started: threading.Event) -> None:
        try:
            asyncio.run(self._serve(started))
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 - told by who waits for the start; else it is in the log
            self._failed = error
            _log.error("VRAL's channels ended", exc_info=error)
        finally:
            self._loop = None
            started.set()

    async def _serve(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self.desk.tell(self._tell)
        await self._channels.run(started.set)

    def _tell(self, notices: Sequence[Notice]) -> None:
        """Hand notices to the thread of channels."""
        loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(self._channels.tell, tuple(notices))

    def _see(self, roster: Roster) -> None:
        """Tell the channels who is there, where that has changed."""
        doors, names = self._doors(), roster.names
        loop = self._loop
        if loop is None or self._seen == (names, doors):
            return
        self._seen = names, doors
        asyncio.run_coroutine_threadsafe(self._channels.see(tuple(names), doors.ports, doors.contexts), loop)


@contextmanager
def opened(
    server: Server,
    folder: Path,
    *,
    boot: str,
    machine: Mapping[Resource, float],
    forwards_seconds: Callable[[], float],
    further: Mapping[str, Supplier] | None = None,
    doors: Callable[[], Doors] = lambda: NO_DOORS,
) -> Iterator[Serving]:
    """Serve a server's VMs from a folder meanwhile.

    Raises:
        InputError: another process does, or the folder can't be written.
        TidegateError: channels can't be served.

    """
    journal = Journal(folder, boot=boot)
    try:
        serving = Serving(
            server,
            journal,
            folder,
            machine=machine,
            forwards_seconds=forwards_seconds,
            further=further or {},
            doors=doors,
        )
        with serving.running():
            yield serving
    finally:
        journal.close()


__all__ = ["Serving", "opened"]
