"""What carries out one wish on one domain: settings noted before they are changed, and read back after."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.drivers.libvirt.described import Described
    from tidegate.drivers.libvirt.ledger import Ledger
    from tidegate.drivers.libvirt.settings import Settings

UNWILLING_SECONDS: Final = 600.0
"""A guest that did not do as it was asked is asked for the same again after this long at the earliest."""
UNWILLING_MAX: Final = 8192


class Unwilling:
    """Guests that did not co-operate, by what they were asked for: balloon, vcpus, plugged."""

    def __init__(self, monotonic_seconds: Callable[[], float]) -> None:
        """Remember nobody yet."""
        self._monotonic = monotonic_seconds
        self._lock = threading.Lock()
        self._until: dict[tuple[str, str], float] = {}

    def remember(self, uuid: str, what: str) -> None:
        """Ask a guest for this no more, for a while."""
        with self._lock:
            if len(self._until) >= UNWILLING_MAX:
                del self._until[next(iter(self._until))]
            self._until[uuid, what] = self._monotonic() + UNWILLING_SECONDS

    def has(self, uuid: str, what: str) -> bool:
        """Whether a guest did not do this lately."""
        with self._lock:
            return self._until.get((uuid, what), -float("inf")) > self._monotonic()

    def all(self) -> dict[tuple[str, str], float]:
        """Return for whom and what it is remembered, and for how many seconds more."""
        now = self._monotonic()
        with self._lock:
            return {key: until - now for key, until in self._until.items() if until > now}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """One domain, as it can be changed."""

    uuid: str
    name: str
    instance: int
    settings: Settings
    described: Described
    ledger: Ledger
    unwilling: Unwilling
    is_replaced: Callable[[], bool]
    """Whether a newer wish waits."""
    monotonic_seconds: Callable[[], float]
    sleep: Callable[[float], None]
    step_seconds: float
    """Between two steps of a memory's way down."""
    tells_time: bool
    """Whether the guest's statistics say when they were made; libvirt's own test driver's do not."""

    @property
    def domain(self) -> Any:  # noqa: ANN401 - libvirt ships no types
        """Return libvirt's own object."""
        return self.settings.domain

    def owner(self, setting: str, current: int) -> int:
        """Return what the owner had set, of a setting that now is ``current``."""
        entry = self.ledger.noted(self.uuid, self.instance).get(setting)
        return entry.original if entry is not None and entry.is_ours(setting, current) else current

    def change(self, setting: str, value: int) -> int | None:
        """Note and write a value unless it is held already; return what is read back."""
        before = self.settings.read(setting)
        if before is None or before == value:
            return before
        self.ledger.note(self.uuid, self.name, self.instance, setting, before, value)
        self.settings.write(setting, value)
        return self.settings.read(setting)
