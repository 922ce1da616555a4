"""What Tidegate itself puts on links: bytes that were counted as rates, and rates that were told.

Pure but for its lock: those who move state count on threads of their own.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from tidegate.model.errors import InputError
from tidegate.model.links import CapacityFrom, Consumer, LinkTelemetry, LinkUse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

WINDOW_SECONDS: Final = 5.0
"""Rates are means over so long, as those of interfaces; of what began later, since then."""
BEGUN_SECONDS_MIN: Final = 1.0
"""What has just begun is taken to go on for at least so long: its first bytes say little of its rate."""
USES_MAX: Final = 2048
"""Consumers on all links; beyond, those that are new are refused or, where bytes are counted, left out."""

_Key = tuple[str, Consumer, str]


@dataclass(slots=True)
class _Counted:
    """Bytes of one consumer in the last seconds."""

    began_seconds: float
    lately: deque[list[float]] = field(default_factory=deque)
    """By second: its number, bytes received, bytes sent."""


class LinkLedger:
    """Whoever uses a link says so here."""

    def __init__(self, now_seconds: Callable[[], float]) -> None:
        """Know of nobody yet; ``now_seconds`` is a clock that only runs forwards."""
        self._now = now_seconds
        self._lock = threading.Lock()
        self._counted: dict[_Key, _Counted] = {}
        self._held: dict[_Key, LinkUse] = {}

    def count(
        self, peer: str, consumer: Consumer, about: str = "", *, received: int = 0, sent: int = 0
    ) -> None:
        """Add bytes that went over the link to ``peer`` just now."""
        key, now = (peer, consumer, about), self._now()
        with self._lock:
            one = self._counted.get(key)
            if one is None:
                if len(self._counted) >= USES_MAX:
                    self._drop_old(now)
                if len(self._counted) >= USES_MAX:
                    return
                one = self._counted[key] = _Counted(began_seconds=now)
            second = math.floor(now)
            if not one.lately or one.lately[-1][0] != second:
                one.lately.append([second, 0.0, 0.0])
            one.lately[-1][1] += received
            one.lately[-1][2] += sent
            _forget(one, now)

    def hold(self, use: LinkUse) -> None:
        """Note a rate that somebody keeps up until told otherwise, such as far memory.

        Raises:
            InputError: a rate can't be, or there are too many; nothing was changed.

        """
        for rate in (use.received_bytes_per_second, use.sent_bytes_per_second):
            if not math.isfinite(rate) or rate < 0:
                raise InputError(f"{rate:g} bytes a second on the link to {use.peer} can't be")
        key = (use.peer, use.consumer, use.about)
        with self._lock:
            if key not in self._held and len(self._held) >= USES_MAX:
                raise InputError(f"{USES_MAX} rates are held on links already; release some")
            self._held[key] = use

    def release(self, peer: str, consumer: Consumer, about: str = "") -> None:
        """Forget a rate that was held; fine where there is none."""
        with self._lock:
            self._held.pop((peer, consumer, about), None)

    def uses(self) -> tuple[LinkUse, ...]:
        """Return what each puts on its link now, in the order of peers."""
        now = self._now()
        with self._lock:
            self._drop_old(now)
            found = [_rate(key, one, now) for key, one in self._counted.items()]
            found += self._held.values()
        return tuple(sorted(found, key=lambda use: (use.peer, use.consumer, use.about)))

    def _drop_old(self, now: float) -> None:
        for key, one in list(self._counted.items()):
            _forget(one, now)
            if not one.lately:
                del self._counted[key]


def with_uses(
    links: Sequence[LinkTelemetry],
    uses: Iterable[LinkUse],
    *,
    pci: Mapping[str, float] | None = None,
    configured: Mapping[str, float] | None = None,
) -> tuple[LinkTelemetry, ...]:
    """Return links with who uses them, and with what they carry where probes and interfaces don't say.

    ``pci`` and ``configured`` are bytes per second by peer. A link carries at most what its PCI device does;
    what was configured counts only where nothing else is known. Used is what counters of interfaces say or
    what is known here, whichever is more: counters see everybody, but some seconds late, and not over PCI.
    Links that are not probed are told, too, where anything else is known of them.
    """
    by_peer: dict[str, list[LinkUse]] = {}
    for use in uses:
        by_peer.setdefault(use.peer, []).append(use)
    pci, configured = pci or {}, configured or {}
    probed = {one.peer: one for one in links}
    beside = sorted({*by_peer, *pci, *configured} - probed.keys())
    return tuple(
        _filled(one, tuple(by_peer.get(one.peer, ())), pci.get(one.peer), configured.get(one.peer))
        for one in (*links, *map(_unprobed, beside))
    )


def busier(uses: Iterable[LinkUse]) -> float:
    """Return what is used in the busier direction, bytes per second."""
    both = [(use.received_bytes_per_second, use.sent_bytes_per_second) for use in uses]
    return max(sum(received for received, _ in both), sum(sent for _, sent in both))


def _filled(
    link: LinkTelemetry, uses: tuple[LinkUse, ...], pci: float | None, configured: float | None
) -> LinkTelemetry:
    carries, told_by = link.capacity_bytes_per_second, link.capacity_from
    if pci is not None and (carries is None or pci < carries):
        carries, told_by = round(pci), CapacityFrom.PCI
    if carries is None and configured is not None:
        carries, told_by = round(configured), CapacityFrom.CONFIGURED
    return replace(
        link,
        capacity_bytes_per_second=carries,
        capacity_from=told_by,
        used_bytes_per_second=max(link.used_bytes_per_second or 0, round(busier(uses))),
        uses=uses,
    )


def _unprobed(peer: str) -> LinkTelemetry:
    return LinkTelemetry(
        peer=peer,
        latency_seconds=None,
        latency_p95_seconds=None,
        jitter_seconds=None,
        loss_ratio=0.0,
        capacity_bytes_per_second=None,
        used_bytes_per_second=None,
        measured_seconds=0.0,
        is_fresh=False,
    )


def _forget(one: _Counted, now: float) -> None:
    while one.lately and one.lately[0][0] + 1 <= now - WINDOW_SECONDS:
        one.lately.popleft()


def _rate(key: _Key, one: _Counted, now: float) -> LinkUse:
    since = max(one.began_seconds, float(one.lately[0][0]))
    seconds = min(max(now - since, BEGUN_SECONDS_MIN), WINDOW_SECONDS + 1)
    return LinkUse(
        peer=key[0],
        consumer=key[1],
        about=key[2],
        received_bytes_per_second=sum(received for _, received, _ in one.lately) / seconds,
        sent_bytes_per_second=sum(sent for *_, sent in one.lately) / seconds,
    )


__all__ = ["LinkLedger", "busier", "with_uses"]
