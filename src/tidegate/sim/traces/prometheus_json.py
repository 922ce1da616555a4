"""The answers of Prometheus' range queries, as they come over HTTP and are saved.

`prometheus` turns the series read here into rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import polars as pl

from tidegate.model.errors import InputError
from tidegate.sim.traces.schema import EARLIEST_SECONDS, LATEST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """One time series: its labels, and samples of shape (samples,)."""

    metric: dict[str, str]
    milliseconds: NDArray[np.int64]
    values: NDArray[np.float64]


class _Data(msgspec.Struct, rename="camel"):
    result_type: str
    result: msgspec.Raw


class _Answer(msgspec.Struct, rename="camel"):
    status: str
    data: _Data | None = None
    error_type: str = ""
    error: str = ""


class _Matrix(msgspec.Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]] = []


def read_series(path: Path) -> Iterator[Series]:
    """Yield the series of a file that holds one answer, or a list of answers.

    Raises:
        InputError: the file is no such answer, the query failed or was no range query, or a value is no
            number or infinite.

    """
    try:
        answers = msgspec.json.decode(path.read_bytes(), type=_Answer | list[_Answer])
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}); name a file that can") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _not_an_answer(path, error) from error
    for answer in answers if isinstance(answers, list) else [answers]:
        if answer.status != "success" or answer.data is None:
            reason = f"{answer.error_type}: {answer.error}".strip(": ")
            raise InputError(f"{path} says that the query failed ({reason}); mend the query and save again")
        if answer.data.result_type != "matrix":
            raise InputError(
                f"{path} holds a {answer.data.result_type}, the answer to an instant query; "
                "query /api/v1/query_range"
            )
        try:
            matrices = msgspec.json.decode(answer.data.result, type=list[_Matrix])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _not_an_answer(path, error) from error
        for matrix in matrices:
            yield _series(matrix, path)


def _series(matrix: _Matrix, path: Path) -> Series:
    times = np.array([at for at, _ in matrix.values], dtype=np.float64)
    texts = pl.Series([text for _, text in matrix.values], dtype=pl.String)
    values = texts.cast(pl.Float64, strict=False)
    wrong = values.is_null() | values.is_infinite()
    if wrong.any():
        at = int(wrong.arg_true()[0])
        name = matrix.metric.get("__name__", "a series")
        raise InputError(
            f"{path}: {name} of {matrix.metric.get('domain', 'no domain')} is {texts[at]!r} at "
            f"{times[at]:.0f}, not a finite number; remove that sample"
        )
    late = np.flatnonzero(~((times >= EARLIEST_SECONDS) & (times < LATEST_SECONDS)))
    if late.size:
        name = matrix.metric.get("__name__", "a series")
        raise InputError(
            f"{path}: {name} of {matrix.metric.get('domain', 'no domain')} has a sample at "
            f"{times[late[0]]:g}, outside the years 1900 to 2199; remove that sample"
        )
    return Series(
        metric=matrix.metric, milliseconds=np.rint(times * 1000).astype(np.int64), values=values.to_numpy()
    )


def _not_an_answer(path: Path, error: Exception) -> InputError:
    place = ""
    if isinstance(error, UnicodeDecodeError):
        return InputError(f"{path} is not UTF-8 text; save the answer of /api/v1/query_range as it comes")
    byte = re.search(r"\(byte (\d+)\)", str(error))
    if byte:
        line = path.read_bytes().count(b"\n", 0, int(byte[1])) + 1
        place = f", line {line}"
    return InputError(
        f"{path}{place} is no answer of /api/v1/query_range ({error}); save the answer as it comes"
    )
