"""From a sample to the change it leads to, over what no such way can do without.

The sample is an agent's, as soon as its driver has read it; the change is the moment at which the driver is
told. Between lie the agent's own safe baseline, both ways over a real socket, everything the device decides,
and its journal. The floor is one bare gRPC round trip to the same device plus one fsync on the same disk,
both measured between the same samples.
"""

from __future__ import annotations

import asyncio
import os
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tidegate.drivers.local.clock import SystemClock
from tidegate.lab.bench.device.agents import joined
from tidegate.lab.bench.device.memory_server import MemoryServer
from tidegate.lab.bench.result import Row, row
from tidegate.wire.dialing import dialled
from tidegate.wire.identities import Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tidegate.lab.bench.cards.cell import Cell

WORKLOADS: Final = 200
WARM_STEPS: Final = 75
"""A newcomer is watched for a minute before anything is taken from it."""
STEPS: Final = 120
STEP_SECONDS: Final = 1.0
BETWEEN_SECONDS: Final = 0.5
"""After a sample its change is long over."""
RATIO_LIMIT: Final = 3.0
PAGE_BYTES: Final = 4096


async def path_rows(cell: Cell, *, seed: int, progress: Callable[[str, int, int], None]) -> list[Row]:
    """Measure the way and its floor in turn on the first card of a cell."""
    card = next(iter(cell.cards.values()))
    server = MemoryServer("path", WORKLOADS, seed=seed)
    calls: list[float] = []
    syncs: list[float] = []
    dial = dialled(card.address, expects=Role.DEVICE, clock=SystemClock())
    async with joined({"path": server}, address=card.address, folder=cell.folder), dial as line:
        health: Any = health_pb2_grpc.HealthStub(line)
        seen, first = 0, 0
        while seen < WARM_STEPS + STEPS:
            while len(server.read_seconds) <= seen:  # noqa: ASYNC110 - nobody sets an event
                await asyncio.sleep(0.01)
            seen = len(server.read_seconds)
            progress("decisions about 200 workloads", seen, WARM_STEPS + STEPS)
            await asyncio.sleep(BETWEEN_SECONDS)
            if seen <= WARM_STEPS:
                first = seen
                continue
            began = perf_counter()
            await health.Check(health_pb2.HealthCheckRequest())
            calls.append(perf_counter() - began)
            syncs.append(_synced(cell.folder / "floor"))
    took = server.path_seconds(first) * 1e3
    floor = (np.array(calls) + np.array(syncs)) * 1e3
    return [
        row("decision_path_over_floor_ratio", np.median(took) / np.median(floor), "ratio", RATIO_LIMIT),
        row("decision_path_ms_p50", np.median(took), "ms"),
        row("decision_path_ms_p99", np.percentile(took, 99), "ms"),
        row("decision_path_samples", took.size, "samples"),
        row("floor_ms_p50", np.median(floor), "ms"),
        row("floor_ms_p99", np.percentile(floor, 99), "ms"),
        row("floor_call_ms_p50", np.median(calls) * 1e3, "ms"),
        row("floor_fsync_ms_p50", np.median(syncs) * 1e3, "ms"),
    ]


def _synced(path: Path) -> float:
    """Append a page to a file, have it on the disk, and return how long that took."""
    with path.open("ab") as file:
        began = perf_counter()
        file.write(b"\0" * PAGE_BYTES)
        file.flush()
        os.fsync(file.fileno())
        return perf_counter() - began


__all__ = ["path_rows"]
