"""States that were handed out and not yet settled: each is a file beside the store, until the move has ended.

A program that handed its state out serves no more; if it then dies, the file is all there is of it. Where the
disk is full the state stays in memory, and the program, which has it still, is asked again after a restart.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tidegate.model.errors import TidegateError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

CHUNK_BYTES: Final = 1 << 20
"""Read at once, and sent in one message."""
MEMORY_BYTES_MAX: Final = 256 * 1024**2
"""Largest state kept in memory where the disk is full."""


@dataclass(frozen=True, slots=True)
class Handout:
    """A state, to be read as often as it takes."""

    size_bytes: int
    file: Path | None = None
    kept: tuple[bytes, ...] = ()

    def chunks(self, moved: Callable[[int], None] = lambda _: None) -> Iterator[bytes]:
        """Yield the state in pieces; ``moved`` is told the bytes so far.

        Raises:
            TidegateError: the file can't be read.

        """
        done = 0
        try:
            for chunk in self._pieces():
                yield chunk
                done += len(chunk)
                moved(done)
        except OSError as error:
            raise TidegateError(f"the state in {self.file} can't be read: {error.strerror}") from error

    def _pieces(self) -> Iterator[bytes]:
        if self.file is None:
            yield from self.kept
            return
        with self.file.open("rb") as opened:
            while chunk := opened.read(CHUNK_BYTES):
                yield chunk


@dataclass(slots=True)
class Handouts:
    """All of one card; without a folder they are kept in memory alone."""

    folder: Path | None = None
    _kept: dict[str, Handout] = field(default_factory=dict)

    def find(self, move: str) -> Handout | None:
        """Return the state handed out for a move, None where none is kept."""
        if move in self._kept:
            return self._kept[move]
        if self.folder is None:
            return None
        path = self.folder / f"{move}.state"
        return Handout(path.stat().st_size, file=path) if path.exists() else None

    def keep(self, move: str, export: Callable[[], Iterable[bytes]]) -> Handout:
        """Have a state handed out and keep it.

        Raises:
            TidegateError: it is not handed out.

        """
        found = self._written(move, export)
        if found is None:
            found = _in_memory(export())
        self._kept[move] = found
        return found

    def drop(self, move: str) -> None:
        """Forget a state: its move is settled."""
        self._kept.pop(move, None)
        if self.folder is not None:
            for end in ("state", "part"):
                with suppress(OSError):
                    (self.folder / f"{move}.{end}").unlink(missing_ok=True)

    def drop_all_but(self, moves: Collection[str]) -> None:
        """Forget all states but those of these moves: who was killed at a move's end has not."""
        if self.folder is None or not self.folder.is_dir():
            return
        for move in {file.stem for file in self.folder.iterdir()} - set(moves):
            self.drop(move)

    def _written(self, move: str, export: Callable[[], Iterable[bytes]]) -> Handout | None:
        """Write a state to disk before anyone relies on it; None where there is no room."""
        if self.folder is None:
            return None
        part, path = (self.folder / f"{move}.{end}" for end in ("part", "state"))
        try:
            self.folder.mkdir(exist_ok=True, mode=0o700)
            with part.open("wb") as opened:
                for chunk in export():
                    opened.write(chunk)
                opened.flush()
                os.fsync(opened.fileno())
            part.rename(path)
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            return Handout(path.stat().st_size, file=path)
        except OSError:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            return None


def _in_memory(state: Iterable[bytes]) -> Handout:
    pieces, size = [], 0
    for piece in state:
        size += len(piece)
        if size > MEMORY_BYTES_MAX:
            raise TidegateError(
                f"the disk is full, and the state larger than the {MEMORY_BYTES_MAX} bytes that memory may "
                "keep; make room"
            )
        pieces.append(piece)
    return Handout(size, kept=tuple(pieces))


__all__ = ["CHUNK_BYTES", "Handout", "Handouts"]
