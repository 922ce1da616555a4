"""Agents of servers in memory, joined to a real device over its socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from tidegate.agents.agent.agent import Agent
from tidegate.agents.agent.connection import Connection
from tidegate.agents.servers.loop import baseline_loop
from tidegate.drivers.local.clock import SystemClock
from tidegate.model.errors import TidegateError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tidegate.lab.bench.device.memory_server import MemoryServer

STEP_SECONDS = 1


@asynccontextmanager
async def joined(
    servers: dict[str, MemoryServer], *, address: str, folder: Path
) -> AsyncIterator[Sequence[asyncio.Task[None]]]:
    """Have an agent for each server, by name, sample each second inside the context.

    Raises:
        TidegateError: one of them fails.

    """
    clock = SystemClock()
    tasks = []
    for name, server in servers.items():
        agent = Agent(
            name=name,
            server=server,
            loop_over=lambda watched: baseline_loop(watched, step_seconds=STEP_SECONDS),
            folder=folder / name,
            step_seconds=STEP_SECONDS,
            incarnation=name,
            now_nanoseconds=clock.now_nanoseconds,
        )
        connection = Connection(agent, address=address, clock=clock)
        tasks.append(asyncio.create_task(connection.run(step_seconds=STEP_SECONDS)))
    try:
        yield tasks
        for task in tasks:
            if task.done():
                raise TidegateError("an agent ended before its time") from task.exception()
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError, Exception):
                await task


__all__ = ["joined"]
