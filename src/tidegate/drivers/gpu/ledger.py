"""What is written down before GPUs are changed: how to undo it, who holds which slice, what owners had.

A replacement that was begun and is not settled is undone when the ledger is opened again. What owners had is
noted once, before the first change, and goes back to them on release.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

import msgspec

from tidegate.drivers.ledgers.files import write_whole
from tidegate.drivers.ledgers.locks import locked_ledger
from tidegate.model.errors import InputError
from tidegate.model.gpu import Placed

LEDGER_PATH: Final = Path("/run/tidegate/gpu.json")
GPUS_MAX: Final = 1024
"""Above this many, those noted first are dropped: they are long gone."""


class LaidOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A slice and its compute instances."""

    profile: str
    start: int
    size: int
    computes: tuple[int, ...] | None = None
    """Profiles of its compute instances; None: one that has all of it."""

    @property
    def placed(self) -> Placed:
        """Where it lies."""
        return Placed(profile=self.profile, start=self.start, size=self.size)


class Undo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one replacement takes away, and what it makes."""

    destroyed: tuple[LaidOut, ...]
    created: tuple[LaidOut, ...]


class Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A slice that was given to somebody."""

    profile: str
    start: int
    holder: str
    uuids: tuple[str, ...]
    """Another slice in its place has others, and is nobody's."""


class Noted(msgspec.Struct, forbid_unknown_fields=True):
    """One GPU."""

    undo: Undo | None = None
    held: tuple[Held, ...] = ()
    layout: tuple[LaidOut, ...] | None = None
    """The owner's slices; None: they were never changed."""
    settings: dict[str, tuple[int, ...]] = {}
    """The owner's, by name."""

    def is_empty(self) -> bool:
        """Whether there is nothing to remember."""
        return self.undo is None and self.layout is None and not self.held and not self.settings


class Book(msgspec.Struct, forbid_unknown_fields=True):
    """The file."""

    pid: int
    gpus: dict[str, Noted]
    """By UUID."""


class Ledger:
    """The ledger of the one process that may change GPUs; held by a lock until closed."""

    def __init__(self, path: Path) -> None:
        """Take the lock and read what an earlier process left.

        Raises:
            InputError: another process holds it, it can't be written, or is no ledger.

        """
        self._path = path
        self._descriptor = locked_ledger(path, "GPUs")
        self._lock = threading.Lock()
        try:
            self._book = _read(path)
        except BaseException:
            os.close(self._descriptor)
            raise

    def begun(self) -> dict[str, Undo]:
        """Return the replacements that were begun and are not settled, by GPU."""
        with self._lock:
            return {gpu: noted.undo for gpu, noted in self._book.gpus.items() if noted.undo is not None}

    def held(self, gpu: str) -> tuple[Held, ...]:
        """Return who holds what of a GPU."""
        with self._lock:
            noted = self._book.gpus.get(gpu)
            return () if noted is None else noted.held

    def layout(self, gpu: str) -> tuple[LaidOut, ...] | None:
        """Return the slices that a GPU's owner had; None where they were never changed."""
        with self._lock:
            noted = self._book.gpus.get(gpu)
            return None if noted is None else noted.layout

    def settings(self, gpu: str) -> dict[str, tuple[int, ...]]:
        """Return the settings that a GPU's owner had, of those that were changed."""
        with self._lock:
            noted = self._book.gpus.get(gpu)
            return {} if noted is None else dict(noted.settings)

    def begin(self, gpu: str, undo: Undo, layout: tuple[LaidOut, ...]) -> None:
        """Write down what is about to be replaced; when this returns, it may be done."""
        with self._lock:
            noted = self._noted(gpu)
            noted.undo = undo
            if noted.layout is None:
                noted.layout = layout
            self._write()

    def settle(self, gpu: str, *, is_owners: bool = False) -> None:
        """Forget how to undo a replacement; with ``is_owners`` also the layout, which the owner has again."""
        with self._lock:
            noted = self._noted(gpu)
            noted.undo = None
            if is_owners:
                noted.layout = None
            self._write()

    def hold(self, gpu: str, held: Held) -> None:
        """Write down who holds a slice, instead of who did."""
        with self._lock:
            noted = self._noted(gpu)
            others = tuple(
                one for one in noted.held if (one.profile, one.start) != (held.profile, held.start)
            )
            noted.held = (*others, held) if held.holder else others
            self._write()

    def note(self, gpu: str, setting: str, before: tuple[int, ...]) -> None:
        """Write down a setting that is about to be changed; the owner's is the one noted first."""
        with self._lock:
            self._noted(gpu).settings.setdefault(setting, before)
            self._write()

    def drop(self, gpu: str, setting: str) -> None:
        """Forget a setting that is its owner's again."""
        with self._lock:
            self._noted(gpu).settings.pop(setting, None)
            self._write()

    def close(self) -> None:
        """Let go of the lock; what is noted stays."""
        os.close(self._descriptor)

    def _noted(self, gpu: str) -> Noted:
        return self._book.gpus.setdefault(gpu, Noted())

    def _write(self) -> None:
        gpus = {gpu: noted for gpu, noted in self._book.gpus.items() if not noted.is_empty()}
        while len(gpus) > GPUS_MAX:
            del gpus[next(iter(gpus))]
        self._book.gpus = gpus
        if not gpus:
            self._path.unlink(missing_ok=True)
            return
        self._book.pid = os.getpid()
        write_whole(self._path, msgspec.json.encode(self._book))


def _read(path: Path) -> Book:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Book)
    except FileNotFoundError:
        return Book(pid=os.getpid(), gpus={})
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{path} is no ledger of GPUs ({error}); name another file, or delete it") from error
