"""Traces of what VMs used: read, written, imported from public archives, and made up for tests.

Files become a `Trace` here; replay, forecasting and the simulated fleet start from it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

import polars as pl

from tidegate.sim.traces.azure2017 import import_azure2017
from tidegate.sim.traces.bitbrains import import_bitbrains
from tidegate.sim.traces.generate import generate_trace
from tidegate.sim.traces.load import load_trace
from tidegate.sim.traces.planetlab import import_planetlab
from tidegate.sim.traces.prometheus import import_prometheus
from tidegate.sim.traces.read import read_rows
from tidegate.sim.traces.schema import Progress
from tidegate.sim.traces.write import write_trace

Importer: TypeAlias = Callable[[Path, Progress | None], pl.DataFrame]
"""Takes a file or folder as people have it and gives rows of the schema, sorted by VM and time."""

FORMATS: Final[dict[str, Importer]] = {
    "azure2017": import_azure2017,
    "bitbrains": import_bitbrains,
    "planetlab": import_planetlab,
    "prometheus": import_prometheus,
}
"""The formats of ``tidegate trace import --format``; a new one is a line here."""

__all__ = [
    "FORMATS",
    "Importer",
    "Progress",
    "generate_trace",
    "import_azure2017",
    "import_bitbrains",
    "import_planetlab",
    "import_prometheus",
    "load_trace",
    "read_rows",
    "write_trace",
]
