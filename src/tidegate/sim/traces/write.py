"""Write a trace as Parquet, whole or not at all.

Importers and the generator end here; `load` reads what this writes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import polars as pl

from tidegate.model.errors import InputError
from tidegate.sim.traces import schema

if TYPE_CHECKING:
    from pathlib import Path


def check_ending(path: Path) -> None:
    """Refuse a name that is not one of a Parquet file, before any work is done.

    Raises:
        InputError: the name does not end in ``.parquet``.

    """
    if path.suffix.lower() != ".parquet":
        raise InputError(f"{path} does not end in .parquet; traces are written as Parquet, so name it so")


def write_trace(rows: pl.DataFrame, path: Path) -> None:
    """Write rows of the schema to ``path``, replacing what is there.

    The rows go to a file beside it that then takes its name, so that an error or Ctrl-C leaves ``path``
    as it was and nothing else behind. A symbolic link stays one, and what it names is replaced.

    Raises:
        InputError: the rows lack a required column, the name does not end in ``.parquet``, what is there
            is no file, or the folder is missing or can't be written.

    """
    schema.check_names(rows.columns, source=str(path))
    check_ending(path)
    try:
        target = path.resolve()
        if target.exists() and not target.is_file():
            raise InputError(f"{path} is there and is no file; name another")
        part = target.with_name(f".tidegate-{os.getpid()}.part")
        try:
            rows.write_parquet(part, compression="zstd")
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, RuntimeError, pl.exceptions.PolarsError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"{path} can't be written ({reason}); name a folder that can be written") from error
