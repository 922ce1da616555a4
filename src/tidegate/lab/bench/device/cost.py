"""What an agent and a device cost: a real agent over 200 cgroups, and a device of 1 000 workloads."""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from tidegate.lab.bench.cards.programs import Program
from tidegate.lab.bench.device.agents import joined
from tidegate.lab.bench.device.memory_server import MemoryServer
from tidegate.lab.bench.load import LoadCgroup
from tidegate.lab.bench.result import Row, row
from tidegate.model.errors import TidegateError
from tidegate.wire.card.v1 import card_pb2, card_pb2_grpc
from tidegate.wire.names import card_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tidegate.lab.bench.cards.cell import Cell

WORKLOADS: Final = 200
IN_MEMORY: Final = 4
"""Servers of as many workloads beside the real one: 1 000 in all."""
WARM_SECONDS: Final = 70
"""A newcomer is watched for a minute; by then everybody is decided on."""
SECONDS: Final = 80
CORE_SHARE_LIMIT: Final = 0.03
RESIDENT_BYTES_LIMIT: Final = 250e6
SLEEP_SECONDS: Final = 600


async def cost_rows(cell: Cell, *, seed: int, progress: Callable[[str, int, int], None]) -> list[Row]:
    """Have 1 000 workloads on one device, 200 of them real cgroups with a real agent.

    Raises:
        TidegateError: not all of them are there.

    """
    card = next(iter(cell.cards.values()))
    servers = {f"memory-{at}": MemoryServer(f"m{at}", WORKLOADS, seed=seed + at) for at in range(IN_MEMORY)}
    with ExitStack() as stack:
        progress("making 200 cgroups", 0, WORKLOADS)
        pattern = stack.enter_context(_sleepers(WORKLOADS))
        arguments = [
            "agent", "--device", card.address, "--name", "real", "--state", str(cell.folder / "agent"),
            "--workload", pattern,
        ]  # fmt: skip
        agent = stack.enter_context(Program(arguments, log=cell.folder / "agent.log"))
        async with joined(servers, address=card.address, folder=cell.folder / "agents"):
            await _passed(WARM_SECONDS, "1 000 workloads, warming up", progress)
            used = agent.cpu_seconds(), card.device.cpu_seconds()
            began = perf_counter()
            await _passed(SECONDS, "1 000 workloads", progress)
            seconds = perf_counter() - began
            shares = [
                (now - before) / seconds
                for now, before in zip((agent.cpu_seconds(), card.device.cpu_seconds()), used, strict=True)
            ]
            line = await card.wire.line()
            stub: Any = card_pb2_grpc.CardServiceStub(line)
            with line.answers():
                seen = (await stub.GetCard(card_pb2.GetCardRequest(name=card_name(card.name)))).card
            counts = {one.server: one.workloads for one in seen.status.servers}
            if counts.get("real") != WORKLOADS or sum(counts.values()) != WORKLOADS * (IN_MEMORY + 1):
                raise TidegateError(f"not everybody is there: {counts}; {agent.said()}")
            return [
                row("agent_core_share", shares[0], "cores", CORE_SHARE_LIMIT),
                row("agent_resident_bytes", agent.resident_bytes(), "bytes"),
                row("device_resident_bytes", card.device.resident_bytes(), "bytes", RESIDENT_BYTES_LIMIT),
                row("device_core_share", shares[1], "cores"),
            ]


async def _passed(seconds: int, what: str, progress: Callable[[str, int, int], None]) -> None:
    for second in range(seconds):
        progress(what, second, seconds)
        await asyncio.sleep(1)


@contextmanager
def _sleepers(count: int) -> Iterator[str]:
    """Have so many cgroups with a sleeping process in each; yields the pattern of their names.

    Raises:
        InputError: this machine has no cgroups to make.

    """
    start = f"tidegate-bench-{os.getpid()}-"
    sleeping: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        try:
            for at in range(count):
                group = stack.enter_context(LoadCgroup(f"{start}{at:03}"))
                process = subprocess.Popen(["sleep", str(SLEEP_SECONDS)], start_new_session=True)  # noqa: S603, S607
                sleeping.append(process)
                for folder in group.folders:
                    (Path(folder) / "cgroup.procs").write_text(str(process.pid), "ascii")
            yield f"{start}*"
        finally:
            for process in sleeping:
                process.kill()
            for process in sleeping:
                process.wait()


__all__ = ["cost_rows"]
