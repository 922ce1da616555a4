"""The simulated world that a command's options ask for, with errors that name the file to mend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.drivers.simulated.build import build_world
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.drivers.simulated.build import Scenario, World


def made_world(
    wanted: Scenario,
    traces: Sequence[Path],
    *,
    scenario: Path | None,
    step_seconds: int | None,
    sla: float | None,
    seed: int,
) -> World:
    """Return the world of a scenario, read from the file ``scenario``, with the demand of traces if any.

    Raises:
        InputError: a trace can't be read, or `build_world` refuses; the sentence names the file.

    """
    demand = None
    if traces:
        from tidegate.lab.trace_files import load_demand

        demand = load_demand(traces, step_seconds=step_seconds)
    try:
        return build_world(wanted, demand, sla=sla, seed=seed, grow=scenario is None)
    except InputError as error:
        if scenario is None or str(error).startswith("--"):
            raise
        raise InputError(f"{scenario}: {error}") from error
