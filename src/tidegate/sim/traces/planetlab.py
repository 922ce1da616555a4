"""Import PlanetLab's CPU traces as CloudSim passes them around.

One of the importers in `FORMATS`: day folders of the archive in, rows of the schema out.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from tidegate.model.errors import InputError
from tidegate.sim.traces import schema
from tidegate.sim.traces.lines import files_under, numbers_from, read_lines

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.sim.traces.schema import Progress

_STEP_SECONDS: Final = 300
_STEPS_A_DAY: Final = 288


def import_planetlab(path: Path, progress: Progress | None = None) -> pl.DataFrame:
    """Return the rows of day folders: ``path`` is one (named like ``20110303``) or holds several.

    A file is one VM's day: 288 percentages of CPU, one a line, every 5 minutes from midnight UTC. The
    file's name is the VM's, on every day. There is CPU only, and each VM counts as one core. Empty
    files, which the archive has, say nothing.

    Raises:
        InputError: a file is not of the format; the sentence names it and the line.

    """
    files = files_under(path, "*")
    parts = []
    for done, file in enumerate(files, start=1):
        parts.append(_rows_of(file))
        if progress is not None:
            progress(done, len(files))
    rows = pl.concat(parts)
    if rows.is_empty():
        raise InputError(f"{path} holds empty files only; name a folder of PlanetLab days")
    return rows.sort(schema.VM, schema.TIME)


def _rows_of(path: Path) -> pl.DataFrame:
    start = _midnight(path)
    texts = read_lines(path)
    if len(texts) > _STEPS_A_DAY:
        raise InputError(
            f"{path}, line {_STEPS_A_DAY + 1}: a day has {_STEPS_A_DAY} values of 5 minutes; "
            "keep one day's values in a file"
        )
    lines = pl.Series(range(1, len(texts) + 1), dtype=pl.UInt32)
    percent = numbers_from(
        pl.Series(texts, dtype=pl.String), path=path, lines=lines, what="percentage of CPU", at_most=1e6
    ).to_numpy()
    seconds = start + _STEP_SECONDS * np.arange(len(texts), dtype=np.int64)
    return pl.DataFrame(
        {
            schema.TIME: pl.Series(seconds * 1000, dtype=pl.Int64).cast(pl.Datetime("ms", "UTC")),
            schema.VM: pl.Series([path.name] * len(texts), dtype=pl.String),
            "cpu_cores_used": (percent / 100).astype(np.float32),
            "cpu_cores_capacity": np.ones(len(texts), dtype=np.float32),
        }
    )


def _midnight(path: Path) -> int:
    """Return the seconds since 1970 UTC of the day that the file's folder is named after."""
    day = path.absolute().parent.name
    try:
        if len(day) != len("20110303"):
            raise ValueError  # noqa: TRY301 - strptime would take 2011033 as well
        return int(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise InputError(
            f"{path}: its folder {day!r} is no day; name the folder like 20110303, after the day it holds"
        ) from error
