"""What a replay says of each VM and resource: how its SLA fared, who forecast it and with what record."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray

    from tidegate.lab.measures import Tally
    from tidegate.lab.replay import RunResult
    from tidegate.model.forecast import Forecast
    from tidegate.model.trace import Trace

ENDINGS = (".csv", ".parquet")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeriesRecord:
    """Figures of every series of one run; arrays (resources, workloads)."""

    samples: NDArray[np.int64]
    violation_ratio: NDArray[np.float64]
    reserved_ratio: NDArray[np.float64]
    models: tuple[str, ...]
    model: NDArray[np.uint8]
    skill: NDArray[np.float32]
    coverage: NDArray[np.float32]
    profiling: NDArray[np.bool_]


def record_of(tally: Tally, forecast: Forecast) -> SeriesRecord:
    """Return the record of a run from its tally and its last forecast."""
    with np.errstate(invalid="ignore", divide="ignore"):
        violation_ratio = tally.violations / tally.samples
        reserved_ratio = tally.reserved / tally.capacity
    return SeriesRecord(
        samples=tally.samples,
        violation_ratio=violation_ratio,
        reserved_ratio=reserved_ratio,
        models=forecast.models,
        model=forecast.model,
        skill=forecast.skill,
        coverage=forecast.coverage,
        profiling=forecast.profiling,
    )


def rows(trace: Trace, results: Sequence[RunResult]) -> pl.DataFrame:
    """Return one row per run, resource and VM; what is unknown is null."""
    import polars as pl  # comes with the extra [replay]

    frames = [
        pl.DataFrame(
            {
                "policy": result.run.policy,
                "sla": result.run.sla,
                "resource": resource.label,
                "vm": list(trace.vms),
                "samples": result.series.samples[row],
                "violation_ratio": result.series.violation_ratio[row],
                "reserved_ratio": result.series.reserved_ratio[row],
                "model": [result.series.models[model] for model in result.series.model[row]],
                "skill": result.series.skill[row],
                "coverage": result.series.coverage[row],
                "profiling": result.series.profiling[row],
            }
        )
        for result in results
        for row, resource in enumerate(trace.resources)
    ]
    return pl.concat(frames).with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))


def check_ending(path: Path | None) -> None:
    """Refuse a path whose format is unknown, before any work is done.

    Raises:
        InputError: it ends neither in .csv nor in .parquet.

    """
    if path is not None and path.suffix.lower() not in ENDINGS:
        raise InputError(f"--per-vm {path} must end in .csv or .parquet; name it so")


def encoded(frame: pl.DataFrame, path: Path) -> bytes:
    """Return the frame in the format that the path's ending names."""
    out = BytesIO()
    if path.suffix.lower() == ".csv":
        frame.write_csv(out)
    else:
        frame.write_parquet(out)
    return out.getvalue()
