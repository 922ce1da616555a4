"""Arrays as few bytes: like bytes side by side, then compressed, with a checksum.

The exponents of neighbouring numbers are alike where their last digits are not, so all first bytes are
stored before all second bytes (the shuffle filter of HDF5 and Blosc). A frame that changes little from
tick to tick is stored as the rows that changed.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import numpy as np
import zstandard

from tidegate.model.errors import TidegateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

LEVEL: Final = 1
"""Fastest: blobs are written on the hot path, and shuffled columns compress well at any level."""
SPARSE_RATIO_MAX: Final = 0.25
"""A frame of which more than this share changed is cheaper whole."""
_Record = TypeVar("_Record", bound=msgspec.Struct)
_DAMAGED: Final = "a part of the journal is damaged ({}); restore it from a backup, or start a new one"


class Packed(msgspec.Struct, frozen=True, array_like=True):
    """One array: whole, or the entries that changed."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes
    index: bytes | None = None
    """Flat positions of the entries in ``data``; None: all of them."""


Frames = dict[str, Packed]


def packed(values: NDArray[Any]) -> Packed:
    """Return a whole array as bytes."""
    return Packed(values.dtype.str, values.shape, squeezed(values))


def unpacked(column: Packed, before: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return the array; one of which only changes were stored needs what it was ``before``.

    Raises:
        TidegateError: the bytes are damaged, or what was before is missing.

    """
    if column.index is None:
        return expanded(column.data, column.dtype, column.shape)
    if before is None or before.shape != column.shape:
        raise TidegateError(_DAMAGED.format("a frame's beginning is missing"))
    at = expanded(column.index, "<u4")
    values = before.copy()
    values.reshape(-1)[at] = expanded(column.data, column.dtype, (at.size,))
    return values


def entries(column: Packed, at: NDArray[np.int64]) -> NDArray[Any]:
    """Return a few entries of a whole array, by flat position, without putting the rest in order.

    Raises:
        TidegateError: the bytes are damaged, or only changes were stored.

    """
    if column.index is not None:
        raise TidegateError(_DAMAGED.format("a frame that should be whole holds only changes"))
    kind = np.dtype(column.dtype)
    data = _decompressed(column.data)
    try:
        plain = np.frombuffer(data, dtype=np.uint8).reshape(kind.itemsize, -1)
        return np.ascontiguousarray(plain[:, at].T).reshape(-1).view(kind)
    except (ValueError, IndexError) as error:
        raise TidegateError(_DAMAGED.format(error)) from error


def changed(values: NDArray[Any], before: NDArray[Any] | None) -> Packed | None:
    """Return what differs from ``before``, bit by bit: None where nothing does."""
    if before is None or before.shape != values.shape or before.dtype != values.dtype:
        return packed(values)
    if values is before:
        return None
    bits = f"u{values.dtype.itemsize}"
    differs = values.view(bits) != before.view(bits)
    count = int(np.count_nonzero(differs))
    if count == 0:
        return None
    if count > SPARSE_RATIO_MAX * values.size:
        return packed(values)
    at = np.flatnonzero(differs).astype("<u4")
    return Packed(values.dtype.str, values.shape, squeezed(values.reshape(-1)[at]), squeezed(at))


def changes_between(values: Mapping[str, NDArray[Any]], before: Mapping[str, NDArray[Any]] | None) -> Frames:
    """Return the frames that differ from those before; all of them where there are none."""
    known = before or {}
    found = {name: changed(frame, known.get(name)) for name, frame in values.items()}
    return {name: frame for name, frame in found.items() if frame is not None}


def squeezed(values: NDArray[Any]) -> bytes:
    """Return an array's bytes, shuffled and compressed."""
    return _compressors.one.compress(shuffled(values))


def expanded(data: bytes, dtype: str, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Return the array of `squeezed` bytes; one-dimensional where no shape is given.

    Raises:
        TidegateError: the bytes are damaged.

    """
    return unshuffled(_decompressed(data), dtype, shape)


def _decompressed(data: bytes) -> bytes:
    try:
        return zstandard.ZstdDecompressor().decompress(data)
    except (zstandard.ZstdError, MemoryError) as error:  # a damaged header may claim any size
        raise TidegateError(_DAMAGED.format(error)) from error


def shuffled(values: NDArray[Any]) -> bytes:
    """Return an array's bytes: the first of every entry, then the second of every entry, and so on."""
    flat = np.ascontiguousarray(values).reshape(-1)
    size = flat.dtype.itemsize
    return (flat if size == 1 else flat.view(np.uint8).reshape(-1, size).T).tobytes()


def unshuffled(data: bytes, dtype: str, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Return the array of `shuffled` bytes; one-dimensional where no shape is given.

    Raises:
        TidegateError: the bytes are not of that type and shape.

    """
    try:
        kind = np.dtype(dtype)
        plain = np.frombuffer(data, dtype=np.uint8).reshape(kind.itemsize, -1)
        values = np.ascontiguousarray(plain.T).reshape(-1).view(kind)
        return values if shape is None else values.reshape(shape)
    except (ValueError, TypeError) as error:
        raise TidegateError(_DAMAGED.format(error)) from error


def sealed(record: msgspec.Struct) -> bytes:
    """Return a record of columns as one blob."""
    return _compressors.one.compress(msgspec.msgpack.encode(record))


def unsealed(data: bytes, kind: type[_Record]) -> _Record:
    """Return the record of a blob.

    Raises:
        TidegateError: the blob is damaged.

    """
    try:
        return msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(data), type=kind)
    except (zstandard.ZstdError, MemoryError, msgspec.DecodeError) as error:
        raise TidegateError(_DAMAGED.format(error)) from error


class _Compressors(threading.local):
    """One of each thread: making one costs more than most columns."""

    def __init__(self) -> None:
        self.one = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)


_compressors = _Compressors()
