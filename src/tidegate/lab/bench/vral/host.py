"""A process of an agent with VRAL over VMs in memory, without a device, to be flooded."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tidegate.agents.agent.agent import Agent
from tidegate.agents.agent.connection import Connection
from tidegate.agents.running import run
from tidegate.agents.servers.loop import baseline_loop
from tidegate.agents.vral.serving import opened
from tidegate.drivers.local.clock import SystemClock
from tidegate.lab.bench.device.memory_server import CAPACITY, RESOURCES, MemoryServer

STEP_SECONDS = 1
NAME = "vm"


def main() -> int:
    """Run until told to end; arguments are a folder, how many VMs, and a seed."""
    folder, workloads, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    clock = SystemClock()
    driver = MemoryServer(NAME, workloads, seed=seed)
    machine = {one: float(workloads * CAPACITY[row, 0]) for row, one in enumerate(RESOURCES)}
    with opened(
        driver,
        folder / "vral",
        boot="bench",
        machine=machine,
        forwards_seconds=clock.forwards_seconds,
    ) as vral:
        agent = Agent(
            name="bench",
            server=vral.server,
            loop_over=lambda watched: baseline_loop(watched, step_seconds=STEP_SECONDS),
            folder=folder / "agent",
            step_seconds=STEP_SECONDS,
            incarnation="bench",
            now_nanoseconds=clock.now_nanoseconds,
            forwards_seconds=clock.forwards_seconds,
            thought=vral.look,
        )
        return run(lambda: _served(agent, folder, clock))


async def _served(agent: Agent, folder: Path, clock: SystemClock) -> int:
    connection = Connection(agent, address=f"unix:{folder / 'nobody.sock'}", clock=clock)
    await connection.run(step_seconds=STEP_SECONDS)
    await asyncio.sleep(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
