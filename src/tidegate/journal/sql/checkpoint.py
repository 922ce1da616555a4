"""The memory of every stage, copied at one tick and written a piece at each of the next.

Arrays are cut into slices; a slice that the last checkpoint held too is not written again. Much of what
stages remember is laid out by time, so most slices stay as they were. What a slice holds is named by its
digest, as in Git and other content-addressed stores.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np

from tidegate.journal.packing import expanded, sealed, squeezed, unsealed
from tidegate.model.errors import TidegateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

SLICE_BYTES: Final = 512 * 1024
DIGEST_BYTES: Final = 16


class _Array(msgspec.Struct, frozen=True, array_like=True):
    dtype: str
    shape: tuple[int, ...]
    slices: list[bytes]


class Manifest(msgspec.Struct, frozen=True):
    """What a checkpoint consists of."""

    number: int
    """Of the tick after which it was taken."""
    arrays: dict[str, _Array]

    @property
    def digests(self) -> set[bytes]:
        """Every slice it needs."""
        return {digest for array in self.arrays.values() for digest in array.slices}

    def encoded(self) -> bytes:
        """Return the manifest as a blob."""
        return sealed(self)


class Slice(NamedTuple):
    """A part of an array that is not stored yet."""

    digest: bytes
    data: bytes


class Saving:
    """A checkpoint under way."""

    def __init__(self, number: int, state: Mapping[str, NDArray[Any]], *, ticks: int) -> None:
        """Stand before the first slice; ``state`` is a copy nobody else writes into.

        It is done after at most ``ticks`` calls of `next`.
        """
        self._number = number
        # A number stays one: contiguous copies have at least one axis.
        self._state = {
            name: np.ascontiguousarray(array).reshape(array.shape) for name, array in state.items()
        }
        self._parts = self._cut()
        self._left_bytes = sum(array.nbytes for array in self._state.values())
        self._bytes_per_tick = max(SLICE_BYTES, -(-self._left_bytes // ticks))
        self._arrays: dict[str, _Array] = {
            name: _Array(array.dtype.str, array.shape, []) for name, array in state.items()
        }
        self.age = 0
        """Ticks since it began."""
        self.done = False
        """Whether every slice is written."""
        self.filed = False

    def next(self, stored: set[bytes]) -> list[Slice]:
        """Return the next slices that are not ``stored`` yet, and note them there."""
        fresh: list[Slice] = []
        self.age += 1
        budget = self._bytes_per_tick
        while budget > 0 and self._left_bytes:
            name, values = next(self._parts)
            digest = _digest(values)
            self._arrays[name].slices.append(digest)
            budget -= values.nbytes
            self._left_bytes -= values.nbytes
            if digest not in stored:
                stored.add(digest)
                fresh.append(Slice(digest, squeezed(values)))
        self.done = not self._left_bytes
        return fresh

    def file(self) -> Manifest:
        """Return the finished checkpoint's list of slices, once; the copies are let go."""
        self.filed = True
        self._state = {}
        return Manifest(number=self._number, arrays=self._arrays)

    def _cut(self) -> Iterator[tuple[str, NDArray[Any]]]:
        for name, array in self._state.items():
            flat = array.reshape(-1)
            # Whole rows of the first axis where several fit: rows are slots of time, and few change.
            row = max(1, array[:1].size) if array.ndim > 1 else 1
            entries = max(1, SLICE_BYTES // array.itemsize)
            step = max(row, entries // row * row) if row <= entries else entries
            for start in range(0, flat.size, step):
                yield name, flat[start : start + step]


def restored(
    manifest: Manifest, read: Callable[[set[bytes]], Mapping[bytes, bytes]], *, under: str = ""
) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names start with ``under``; ``read`` fetches slices by digest.

    Raises:
        TidegateError: a slice is missing or damaged.

    """
    wanted = {name: array for name, array in manifest.arrays.items() if name.startswith(under)}
    data = read({digest for array in wanted.values() for digest in array.slices})
    state: dict[str, NDArray[Any]] = {}
    for name, array in wanted.items():
        missing = [digest for digest in array.slices if digest not in data]
        if missing:
            raise TidegateError(
                f"the journal's checkpoint lacks a part of '{name}'; "
                "restore the journal from a backup, or move it away"
            )
        parts = [_slice(name, digest, expanded(data[digest], array.dtype)) for digest in array.slices]
        flat = np.concatenate(parts) if parts else np.empty(0, dtype=array.dtype)
        state[name] = flat.reshape(array.shape)
    return state


def _slice(name: str, digest: bytes, values: NDArray[Any]) -> NDArray[Any]:
    if _digest(values) != digest:
        raise TidegateError(
            f"the journal's checkpoint is damaged in '{name}'; "
            "restore the journal from a backup, or move it away"
        )
    return values


def _digest(values: NDArray[Any]) -> bytes:
    digest = hashlib.blake2b(values.view(np.uint8).data, digest_size=DIGEST_BYTES)
    digest.update(values.dtype.str.encode())
    return digest.digest()


def manifest_decoded(data: bytes) -> Manifest:
    """Return the manifest of a blob.

    Raises:
        TidegateError: it is damaged.

    """
    return unsealed(data, Manifest)


__all__ = ["Manifest", "Saving", "Slice", "manifest_decoded", "restored"]
