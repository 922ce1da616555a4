"""The connection to the daemon: opened when needed, opened again when the daemon was restarted."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from tidegate.drivers.libvirt.binding import (
    KEEP_ALIVE_MISSED,
    KEEP_ALIVE_SECONDS,
    binding,
    code_of,
    is_lost,
    start_events,
)
from tidegate.model.errors import TidegateError

if TYPE_CHECKING:
    from collections.abc import Callable

RETRY_SECONDS_MIN: Final = 0.5
RETRY_SECONDS_MAX: Final = 10.0
"""A daemon that does not answer is tried again after this long at the latest; twice as long each time."""
TOLD: Final = (
    "VIR_DOMAIN_EVENT_ID_LIFECYCLE",
    "VIR_DOMAIN_EVENT_ID_TUNABLE",
    "VIR_DOMAIN_EVENT_ID_DEVICE_ADDED",
    "VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED",
    "VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED",
    "VIR_DOMAIN_EVENT_ID_METADATA_CHANGE",
)
"""Events after which a domain's XML may say something else; a daemon may know fewer."""


class AwayError(TidegateError):
    """The daemon can't be reached now; it is tried again."""


class Connection:
    """One connection at a time, used by several threads; libvirt's own calls are safe for that."""

    def __init__(self, uri: str, *, monotonic_seconds: Callable[[], float]) -> None:
        """Connect when first asked to."""
        self.uri = uri
        self._monotonic = monotonic_seconds
        self._lock = threading.Lock()
        self._open: Any = None
        self._retry_seconds = RETRY_SECONDS_MIN
        self._not_before = -float("inf")
        self._changed: set[str] = set()
        self.opened = 0
        """How often it was opened: more than once, and the daemon was away."""

    def get(self) -> Any:  # noqa: ANN401 - libvirt ships no types
        """Return the open connection.

        Raises:
            AwayError: the daemon does not answer.

        """
        with self._lock:
            if self._open is not None:
                return self._open
            now = self._monotonic()
            if now < self._not_before:
                raise AwayError(f"libvirt at {self.uri} does not answer; it is tried again")
            libvirt = binding()
            start_events()
            try:
                self._open = libvirt.open(self.uri)
                self._listen(libvirt)
            except libvirt.libvirtError as error:
                self._open = None
                self._not_before = now + self._retry_seconds
                self._retry_seconds = min(2 * self._retry_seconds, RETRY_SECONDS_MAX)
                raise AwayError(f"libvirt at {self.uri} does not answer: {error}") from error
            self._retry_seconds = RETRY_SECONDS_MIN
            self.opened += 1
            return self._open

    def failed(self, error: Exception) -> bool:
        """Drop the connection if an error means that it is lost; says whether it was."""
        with self._lock:
            lost = is_lost(error) or (self._open is not None and not _is_alive(self._open))
            if lost:
                self._open = None
            return lost

    def changed(self) -> set[str]:
        """Return the UUIDs of domains of which events told since the last call."""
        with self._lock:
            changed, self._changed = self._changed, set()
            return changed

    def note(self, uuid: str) -> None:
        """Take a domain for changed: its XML is read again."""
        with self._lock:
            self._changed.add(uuid)

    def close(self) -> None:
        """Hang up; whoever asks next connects anew."""
        with self._lock:
            was, self._open = self._open, None
        if was is not None:
            try:
                was.close()
            except Exception as error:
                if code_of(error) < 0:
                    raise

    def _listen(self, libvirt: Any) -> None:  # noqa: ANN401
        """Have the daemon tell of changes, and be missed when it is silent; as far as it can."""
        for event in TOLD:
            number = getattr(libvirt, event, None)
            try:
                if number is not None:
                    self._open.domainEventRegisterAny(None, number, self._note, None)
            except libvirt.libvirtError as error:
                if is_lost(error):
                    raise
        try:
            self._open.setKeepAlive(KEEP_ALIVE_SECONDS, KEEP_ALIVE_MISSED)
        except libvirt.libvirtError as error:
            if is_lost(error):
                raise

    def _note(self, _connection: object, domain: Any, *_told: object) -> None:  # noqa: ANN401
        self.note(domain.UUIDString())


def _is_alive(connection: Any) -> bool:  # noqa: ANN401
    try:
        return bool(connection.isAlive())
    except Exception as error:
        if code_of(error) < 0:
            raise
        return False
