"""The card that an `up` is to a fleet manager: it takes in nobody, and tells of the servers it serves."""

from __future__ import annotations

import asyncio
import os
import platform
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NoReturn

import psutil

from tidegate.agents.device.outlook import Outlook, ServerOutlook
from tidegate.agents.device.program import Configuration, Outside, device, services
from tidegate.agents.device.room import Room
from tidegate.agents.device.store import opened
from tidegate.drivers.local.clock import SystemClock
from tidegate.model.application import Amounts
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from pathlib import Path

    from tidegate.agents.servers.servers import Told
    from tidegate.model.application import ApplicationSpec, Running, Usage
    from tidegate.wire.serving import Served

NAME: Final = "up"
LOOK_SECONDS: Final = 5.0
"""How often what is told of servers is brought up to date."""
REASON: Final = "'tidegate up' decides what its workloads hold"


class NoApplications:
    """A `CardRuntime` that runs nothing: what `up` starts ends with it, which no application should."""

    def start(self, name: str, spec: ApplicationSpec, *, epoch: int, standby: bool) -> Running:
        """Refuse."""
        _refuse(name)

    def stop(self, name: str, *, grace_seconds: float) -> None:
        """Do nothing: nobody is there."""

    def adjust(self, name: str, wanted: Amounts) -> Amounts:
        """Refuse."""
        _refuse(name)

    def found(self) -> Sequence[Running]:
        """Return nobody."""
        return ()

    def usage(self) -> Sequence[Usage]:
        """Return nothing."""
        return ()

    def export_state(self, name: str, moved_to: Sequence[str]) -> Iterable[bytes]:
        """Refuse."""
        _refuse(name)

    def import_state(self, name: str, state: Iterable[bytes], *, state_bytes: int) -> None:
        """Refuse."""
        _refuse(name)


@asynccontextmanager
async def card(
    folder: Path, new_id: Callable[[], str], told: Callable[[], Iterable[Told]]
) -> AsyncIterator[list[Served]]:
    """Have the card work inside the context; lends what it serves. ``told`` says how its servers are.

    Raises:
        TidegateError: the folder can't be written.

    """
    clock = SystemClock()
    capacity = Amounts(
        cpu_cores=float(
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        ),
        memory_bytes=psutil.virtual_memory().total,
    )
    configuration = Configuration(
        name=NAME,
        room=Room(capacity=capacity, reserved=Amounts()),
        listen="",
        state=folder,
        architecture=platform.machine(),
        sizes=None,
    )
    with opened(folder) as store:
        outside = Outside(
            store=store,
            runtime=NoApplications(),
            clock=clock,
            now=clock.now_nanoseconds,
            new_id=new_id,
        )
        async with device(configuration, outside) as working:
            looking = asyncio.create_task(_look(told, lambda outlook: setattr(working, "outlook", outlook)))
            try:
                yield list(services(working))
            finally:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)


async def _look(told: Callable[[], Iterable[Told]], show: Callable[[Outlook], None]) -> None:
    """Keep what is told of servers up to date."""
    while True:
        show(
            Outlook(
                servers=tuple(
                    ServerOutlook(
                        server=one.server,
                        score=0.0,
                        reason=REASON,
                        workloads=one.workloads,
                        heard_nanoseconds=one.heard_nanoseconds,
                        lost=one.lost,
                    )
                    for one in told()
                )
            )
        )
        await asyncio.sleep(LOOK_SECONDS)


def _refuse(name: str) -> NoReturn:
    raise InputError(f"'tidegate up' runs no applications, so not '{name}'; 'tidegate device' does")
