"""From a decision to the quota in force: asked of a real device over its socket, and read back."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.agents.device.sizing import same
from tidegate.drivers.card.caps import Caps
from tidegate.drivers.card.groups import Groups
from tidegate.drivers.cgroups.hierarchy import find_hierarchy
from tidegate.lab.bench.cards.cell import KeyValue
from tidegate.lab.bench.result import Row, row
from tidegate.model.application import Amounts
from tidegate.model.errors import TidegateError
from tidegate.wire.amounts import to_message, to_record
from tidegate.wire.card.v1 import adjustment_pb2, adjustment_pb2_grpc
from tidegate.wire.names import ApplicationName

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.lab.bench.cards.cell import Cell

DECISIONS: Final = 300
CORES_MIN, CORES_MAX = 0.1, 0.3
LIMIT_MS: Final = 50.0
PORT: Final = 7501


async def enforce_rows(cell: Cell, *, seed: int, progress: Callable[[str, int, int], None]) -> list[Row]:
    """Have an application resized again and again, each time to another quota.

    The time is that of the whole call: both ways, written down before and after, set, and read back.

    Raises:
        TidegateError: the device does not do it, or the kernel has another quota than it says.

    """
    letter, card = next(iter(cell.cards.items()))
    application = KeyValue(name="resized", port=PORT, cpu_cores=CORES_MIN)
    random = np.random.default_rng(seed)
    hierarchy = find_hierarchy(Path("/"))
    path = Groups(hierarchy, card.name).path(application.name)
    caps = Caps(hierarchy=hierarchy, devices=())
    await cell.run(application, letter)
    took: list[float] = []
    in_force = 0
    try:
        line = await card.wire.line()
        stub: Any = adjustment_pb2_grpc.AdjustmentServiceStub(line)
        for number in range(DECISIONS):
            progress("decisions put in force", number, DECISIONS)
            cores = round(float(random.uniform(CORES_MIN, CORES_MAX)), 3)
            request = adjustment_pb2.AdjustResourcesRequest(
                name=str(ApplicationName(card.name, application.name)),
                wanted=to_message(Amounts(cpu_cores=cores)),
            )
            began = perf_counter()
            with line.answers():
                answer = await stub.AdjustResources(request)
            took.append((perf_counter() - began) * 1e3)
            applied = to_record(answer.adjustment.status.applied).cpu_cores
            held = caps.held(path).cpu_cores
            if applied is None or not same("cpu_cores", applied, cores):
                raise TidegateError(f"{cores} cores were asked for, and the device says {applied}")
            in_force += held is not None and same("cpu_cores", held, cores)
    finally:
        await cell.remove(application.name)
    return [
        row("enforce_ms_p99", float(np.percentile(took, 99)), "ms", LIMIT_MS),
        row("enforce_ms_p50", float(np.median(took)), "ms"),
        # The card's own loop resizes it too, and may have done so between the answer and our look.
        row("enforce_seen_in_kernel_ratio", in_force / DECISIONS, "ratio"),
    ]


__all__ = ["enforce_rows"]
