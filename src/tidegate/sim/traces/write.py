"""Write a trace as Parquet, whole or not at all.

Importers and the generator end here; `load` reads what this writes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tidegate.model.errors import InputError
from tidegate.sim.traces import schema

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl


def write_trace(rows: pl.DataFrame, path: Path) -> None:
    """Write rows of the schema to ``path``, replacing what is there.

    The rows go to a file beside it that then takes its name, so that an error or Ctrl-C leaves ``path``
    as it was and nothing else behind.

    Raises:
        InputError: the rows lack a required column, the name does not end in ``.parquet``, or the
            folder is missing or can't be written.

    """
    schema.check_names(rows.columns, source=str(path))
    if path.suffix != ".parquet":
        raise InputError(f"{path} does not end in .parquet; traces are written as Parquet, so name it so")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            rows.write_parquet(part, compression="zstd")
            part.replace(path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(
                f"{path} can't be written ({reason}); name a folder that can be written"
            ) from error
    finally:
        part.unlink(missing_ok=True)
