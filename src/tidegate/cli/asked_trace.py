"""The trace that a command was asked to run over, with the capacity of everybody known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.cli.durations import parse_duration_seconds
from tidegate.cli.resource_names import parse_resources
from tidegate.lab.replay import with_known_capacity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from tidegate.model.trace import Trace


def asked_trace(traces: Sequence[Path], resource: str, step: str | None, console: Console) -> Trace:
    """Return the trace of the files, of the resources asked for that have a capacity; says which have none.

    Raises:
        InputError: a name, the step or a file is not what it should be.

    """
    from tidegate.lab.archive import load_trace

    asked = parse_resources(resource)
    with console.status("reading the trace"):
        step_seconds = None if step is None else parse_duration_seconds(step)
        trace = with_known_capacity(load_trace(traces, resources=asked, step_seconds=step_seconds))
    missing = [each.label for each in asked if each not in trace.resources]
    if missing:
        said = f"left out, since the trace has no capacity for it: {', '.join(missing)}"
        console.print(said, style="yellow")
    return trace
