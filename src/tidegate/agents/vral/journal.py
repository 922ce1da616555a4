"""Leases as they are written down before they are given: appended, and read again after a crash.

A record that was written is safe from the death of this process. It need not be safe from that of the
machine: the VMs end with it, and so do their leases.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from tidegate.model.errors import InputError
from tidegate.model.refusals import Because, Refusal
from tidegate.vral.claims import Ended, Lease  # noqa: TC001 - msgspec asks for the types of a record

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tidegate.vral.claims import Change

LEASES_FILE: Final = "leases.journal"
JOURNAL_BYTES_MAX: Final = 4 * 2**20
"""Beyond this much since it was last written whole, it is written whole again."""
RECORD_BYTES_MAX: Final = 16_384
HEAD: Final = struct.Struct("<II")
"""Before each record: its length and its CRC-32."""


class _Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    boot: str = ""
    put: Lease | None = None
    ended: Ended | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What was written down and still counts."""

    leases: tuple[Lease, ...] = ()
    ended: tuple[Ended, ...] = ()


class Journal:
    """The journal of the one process that serves a folder; held by a lock until closed."""

    kept: Kept
    """What an earlier process of this boot left."""

    def __init__(self, folder: Path, *, boot: str) -> None:
        """Take the lock, and read what an earlier process left.

        Raises:
            InputError: another process serves this folder, or it can't be written.

        """
        self._path, self._boot = folder / LEASES_FILE, boot
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InputError(f"{folder} can't be written ({error.strerror}); name another folder") from error
        self._file = -1
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise InputError(f"another agent serves VRAL in {folder}; end it, or name another") from error
        self.kept = self._read()
        self._size = self._whole_bytes = 0
        self.rewrite(self.kept.leases, self.kept.ended)

    def write(self, change: Change) -> None:
        """Write a change down; when this returns it may be made.

        Raises:
            Refusal: it can't be written; nothing may change.

        """
        data = _framed(_Record(put=change.put, ended=change.ended))
        try:
            wrote = os.write(self._file, data)
        except OSError as error:
            self._undo()
            raise _unwritten(error) from error
        if wrote < len(data):
            self._undo()
            raise _unwritten(None)
        self._size += len(data)

    @property
    def is_long(self) -> bool:
        """Whether it should be written whole again."""
        return self._size - self._whole_bytes > JOURNAL_BYTES_MAX

    def rewrite(self, leases: Iterable[Lease], ended: Iterable[Ended]) -> None:
        """Replace it by what counts now; whoever reads it, even after a crash, finds the old or the new.

        Raises:
            InputError: it can't be written; the old one goes on.

        """
        records = [_Record(boot=self._boot)]
        records += [_Record(put=lease) for lease in leases]
        records += [_Record(ended=one) for one in ended]
        data = b"".join(map(_framed, records))
        beside = self._path.with_name(f"{self._path.name}.new")
        try:
            beside.write_bytes(data)
            file = os.open(beside, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            beside.replace(self._path)
        except OSError as error:
            raise InputError(f"{self._path} can't be written ({error.strerror}); free some space") from error
        if self._file >= 0:
            os.close(self._file)
        self._file, self._size, self._whole_bytes = file, len(data), len(data)

    def close(self) -> None:
        """Let go of it; what is written stays."""
        os.close(self._file)
        os.close(self._lock)

    def _undo(self) -> None:
        """Cut off a record that was half written: what follows it would be lost with it."""
        os.ftruncate(self._file, self._size)

    def _read(self) -> Kept:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return Kept()
        except OSError as error:
            raise InputError(f"{self._path} can't be read ({error.strerror}); delete it") from error
        leases: dict[str, Lease] = {}
        ended: list[Ended] = []
        for at, record in enumerate(_records(data)):
            if at == 0 and record.boot != self._boot:
                return Kept()  # all of that ended with that boot
            if record.put is not None:
                leases[record.put.name] = record.put
            if record.ended is not None:
                leases.pop(record.ended.name, None)
                ended.append(record.ended)
        return Kept(leases=tuple(leases.values()), ended=tuple(ended))


def _framed(record: _Record) -> bytes:
    body = msgspec.msgpack.encode(record)
    return HEAD.pack(len(body), zlib.crc32(body)) + body


def _records(data: bytes) -> Iterable[_Record]:
    """Yield whole records, up to the first that a crash cut off."""
    at = 0
    while at + HEAD.size <= len(data):
        size, crc = HEAD.unpack_from(data, at)
        body = data[at + HEAD.size : at + HEAD.size + size]
        if size > RECORD_BYTES_MAX or len(body) < size or zlib.crc32(body) != crc:
            return
        try:
            yield msgspec.msgpack.decode(body, type=_Record)
        except msgspec.DecodeError:
            return  # of another version: what it promised can't be known
        at += HEAD.size + size


def _unwritten(error: OSError | None) -> Refusal:
    why = "the disk is full" if error is None else str(error.strerror)
    return Refusal(Because.NOT_NOW, f"the host can't write leases down ({why}); ask again later")
