"""One tick as one compressed columnar blob: the rows that change, and why.

A blob holds what can't be recomputed: when, which shares were asked to change, to what, for which
reason, and how earlier actions ended. Reading it back gives the same arrays.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tidegate.model.errors import TidegateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.model.tick import Tick

FORMAT = 1
COMPRESSION_LEVEL = 1
"""Fastest: the blob is written on the hot path; columns compress well at any level."""


class _Column(msgspec.Struct, frozen=True, array_like=True):
    dtype: str
    data: bytes


class _Blob(msgspec.Struct, frozen=True):
    format: int
    number: int
    time_seconds: int
    expires_seconds: int
    resources: list[int]
    columns: dict[str, _Column]


class JournalledTick(msgspec.Struct, frozen=True):
    """A tick as read back from its blob; columns by name, one row per changed share."""

    number: int
    time_seconds: int
    expires_seconds: int
    resources: tuple[int, ...]
    columns: Mapping[str, Any]


def encoded(tick: Tick) -> bytes:
    """Return the blob of a tick."""
    blob = _Blob(
        format=FORMAT,
        number=tick.number,
        time_seconds=tick.snapshot.time_seconds,
        expires_seconds=tick.plan.expires_seconds,
        resources=[int(resource) for resource in tick.snapshot.resources],
        columns={name: _column(values) for name, values in _changed_rows(tick).items()},
    )
    return zlib.compress(msgspec.msgpack.encode(blob), COMPRESSION_LEVEL)


def decoded(data: bytes) -> JournalledTick:
    """Return the tick of a blob.

    Raises:
        TidegateError: the blob is damaged or of a newer format.

    """
    try:
        blob = msgspec.msgpack.decode(zlib.decompress(data), type=_Blob)
    except (zlib.error, msgspec.DecodeError) as error:
        raise TidegateError(
            f"a journalled tick is damaged ({error}); restore the journal from a backup"
        ) from error
    if blob.format > FORMAT:
        raise TidegateError(
            f"a journalled tick has format {blob.format}, newer than {FORMAT}; upgrade Tidegate"
        )
    return JournalledTick(
        number=blob.number,
        time_seconds=blob.time_seconds,
        expires_seconds=blob.expires_seconds,
        resources=tuple(blob.resources),
        columns={name: np.frombuffer(c.data, dtype=c.dtype) for name, c in blob.columns.items()},
    )


def _changed_rows(tick: Tick) -> dict[str, NDArray[Any]]:
    actions, outcome = tick.actions, tick.outcome
    return {
        "kind": actions.kind,
        "workload_id": actions.workload_id,
        "resource_row": actions.resource_row,
        "share": actions.share,
        "place_to": actions.place_to,
        "amount_from": actions.amount_from,
        "amount_to": actions.amount_to,
        "reason": tick.plan.reason[actions.resource_row, actions.workload],
        "outcome_workload_id": outcome.workload_id,
        "outcome_resource_row": outcome.resource_row,
        "outcome_share": outcome.share,
        "outcome_phase": outcome.phase,
        "outcome_amount": outcome.amount_read_back,
    }


def _column(values: NDArray[Any]) -> _Column:
    return _Column(values.dtype.str, np.ascontiguousarray(values).tobytes())
