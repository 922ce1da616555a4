"""What owners had set before Tidegate changed it, written down before the change; as in the local driver.

By domain and setting. What holds one of our values goes back to the owner's; what holds another was set by
somebody since, and stays. Settings live in a running domain: one that was started anew has its own again.
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

LEDGER_PATH: Final = Path("/run/tidegate/libvirt.json")
DOMAINS_MAX: Final = 8192
"""Above this many, those noted first are dropped: they are long gone."""
DRIFTS: Final = ("memory_kib", "plugged_kib", "vcpus")
"""Settings that get there bit by bit, as the guest lets them, and which are ours all the way."""


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    """One setting."""

    original: int
    ours: list[int]
    """What it may hold that we wrote: the value before the last change, and the last; of what drifts the
    least of all too."""

    def is_ours(self, setting: str, current: int) -> bool:
        """Whether a value that is held now came of what we wrote."""
        if setting.startswith(DRIFTS):
            low, high = min([self.original, *self.ours]), max([self.original, *self.ours])
            return low <= current <= high
        return current in self.ours


class Noted(msgspec.Struct, forbid_unknown_fields=True):
    """One domain's settings."""

    name: str
    instance: int
    settings: dict[str, Entry]


class Book(msgspec.Struct, forbid_unknown_fields=True):
    """The file."""

    pid: int
    domains: dict[str, Noted]
    """By UUID."""
    unplugged: dict[str, int] = {}
    """Domains that lost a vCPU since they were started: their instance, by UUID."""


class Ledger:
    """The ledger of the one process that may change settings; held by a lock until closed."""

    def __init__(self, path: Path) -> None:
        """Take the lock and read what an earlier process left.

        Raises:
            InputError: another process holds it, it can't be written, or is no ledger.

        """
        self._path = path
        self._descriptor = locked_ledger(path, "VMs")
        self._lock = threading.Lock()
        try:
            self._book = _read(path)
        except BaseException:
            os.close(self._descriptor)
            raise

    def noted(self, uuid: str, instance: int) -> dict[str, Entry]:
        """Return a copy of what is noted of a domain's settings since it was started."""
        with self._lock:
            known = self._book.domains.get(uuid)
            return dict(known.settings) if known is not None and known.instance == instance else {}

    def domains(self) -> dict[str, str]:
        """Return the names of all domains noted, by UUID."""
        with self._lock:
            return {uuid: noted.name for uuid, noted in self._book.domains.items()}

    def note(self, uuid: str, name: str, instance: int, setting: str, before: int, after: int) -> None:  # noqa: PLR0917
        """Write down what is about to be changed; when this returns, the change may be made."""
        with self._lock:
            domain = self._book.domains.get(uuid)
            if domain is None or domain.instance != instance:
                domain = self._book.domains[uuid] = Noted(name=name, instance=instance, settings={})
            known = domain.settings.get(setting)
            if known is None or not known.is_ours(setting, before):
                # Nobody changed it yet, or its owner did since: that is what goes back.
                domain.settings[setting] = Entry(original=before, ours=[before, after])
            else:
                least = [min([*known.ours, before])] if setting.startswith(DRIFTS) else []
                domain.settings[setting] = Entry(original=known.original, ours=[*least, before, after])
            while len(self._book.domains) > DOMAINS_MAX:
                del self._book.domains[next(iter(self._book.domains))]
            self._write()

    def note_unplug(self, uuid: str, instance: int) -> None:
        """Write down that a domain is about to lose a vCPU; noted until it is started anew."""
        with self._lock:
            if self._book.unplugged.get(uuid) == instance:
                return
            self._book.unplugged[uuid] = instance
            while len(self._book.unplugged) > DOMAINS_MAX:
                del self._book.unplugged[next(iter(self._book.unplugged))]
            self._write()

    def was_unplugged(self, uuid: str, instance: int) -> bool:
        """Whether a domain lost a vCPU by us since it was started."""
        with self._lock:
            return self._book.unplugged.get(uuid) == instance

    def drop(self, uuid: str) -> None:
        """Forget a domain that has its owner's settings again, or is gone."""
        with self._lock:
            if self._book.domains.pop(uuid, None) is not None:
                self._write()

    def close(self) -> None:
        """Let go of the lock; what is noted stays."""
        os.close(self._descriptor)

    def _write(self) -> None:
        if not self._book.domains and not self._book.unplugged:
            self._path.unlink(missing_ok=True)
            return
        self._book.pid = os.getpid()
        write_whole(self._path, msgspec.json.encode(self._book))


def noted(path: Path, uuid: str) -> dict[str, Entry]:
    """Return what a ledger, whoever holds it, notes of a domain's settings.

    Raises:
        InputError: the file is no ledger.

    """
    known = _read(path).domains.get(uuid)
    return {} if known is None else known.settings


def was_unplugged(path: Path, uuid: str, instance: int) -> bool:
    """Whether a ledger, whoever holds it, notes that a domain lost a vCPU since it was started.

    Raises:
        InputError: the file is no ledger.

    """
    return _read(path).unplugged.get(uuid) == instance


def _read(path: Path) -> Book:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Book)
    except FileNotFoundError:
        return Book(pid=os.getpid(), domains={})
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{path} is no ledger of VMs ({error}); name another file, or delete it") from error
