"""The lab's door to recorded traces: commands and benchmarks read archives through here."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tidegate.model.resources import Resource
from tidegate.sim.traces import generate_trace, load_trace, write_trace

if TYPE_CHECKING:
    from tidegate.model.trace import Trace


def generated_trace(*, vms: int, days: float, step_seconds: int, seed: int) -> Trace:
    """Return a synthetic trace of CPU and memory, by way of a file as any other trace."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "generated.parquet"
        write_trace(generate_trace(vms=vms, days=days, step_seconds=step_seconds, seed=seed), path)
        return load_trace([path], resources=(Resource.CPU, Resource.MEMORY))


__all__ = ["generated_trace", "load_trace"]
