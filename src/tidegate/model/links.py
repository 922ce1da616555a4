"""Links between servers and cards: what is read of them, and what is made of that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PATIENCE_SECONDS: Final = 1.0
"""A probe that is not back by then is lost (RFC 2681, 2.4 asks for such a bound): no way inside a data
centre, nor between two on one continent, takes so long."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probes:
    """Probes of one link whose fate is known, in no particular order."""

    sent_seconds: NDArray[np.float64]
    """(probes,) when each was sent, on a clock that only runs forwards."""
    round_trip_seconds: NDArray[np.float64]
    """(probes,) without what the other end took to answer; NaN where it did not come back."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Train:
    """Packets of one length that were sent back to back, and how they arrived at the other end."""

    packet_bytes: int
    """With the headers of IP and UDP."""
    sent_seconds: NDArray[np.float64]
    """(packets,) when each that arrived was sent, rising, on the clock of `Probes`."""
    received_seconds: NDArray[np.float64]
    """(packets,) when one after another arrived, rising, on the clock of the other end."""

    def __post_init__(self) -> None:
        """Refuse what was no train.

        Raises:
            InputError: nothing arrived, or more or less than was sent.

        """
        if self.sent_seconds.shape != self.received_seconds.shape or self.sent_seconds.ndim != 1:
            raise InputError("a train needs as many times of sending as of arriving")
        if not self.sent_seconds.size:
            raise InputError("a train of which nothing arrived is none")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InterfaceCounters:
    """Counters of interfaces at one moment."""

    time_seconds: float
    """When they were read, on a clock that only runs forwards."""
    names: tuple[str, ...]
    received_bytes: NDArray[np.uint64]
    """(interfaces,)"""
    sent_bytes: NDArray[np.uint64]
    """(interfaces,)"""
    known: NDArray[np.bool_]
    """(interfaces,) whether both counters could be read."""
    bits: NDArray[np.uint8]
    """(interfaces,) 32 or 64: where they start again at zero."""
    since: NDArray[np.int64]
    """(interfaces,) another number whenever counting may have begun anew."""
    is_up: NDArray[np.bool_]
    """(interfaces,)"""
    bytes_per_second_max: NDArray[np.float64]
    """(interfaces,) speed, each way; NaN where it is not told."""

    def __post_init__(self) -> None:
        """Refuse columns whose lengths disagree.

        Raises:
            InputError: a column has another length, with its name.

        """
        for name in (
            "received_bytes",
            "sent_bytes",
            "known",
            "bits",
            "since",
            "is_up",
            "bytes_per_second_max",
        ):
            if getattr(self, name).shape != (len(self.names),):
                raise InputError(f"{name} of interface counters needs {len(self.names)} values, one a name")


class CapacityFrom(IntEnum):
    """Who says what a link carries; the numbers are the protocol's."""

    PROBES = 1
    """Trains of packets got through at that rate."""
    INTERFACE = 2
    """The interface or the switch's port names its speed."""
    PCI = 3
    """The PCI device that the card is, as the server reads it."""
    CONFIGURED = 4
    """A person, where nobody else does."""


class Consumer(IntEnum):
    """What Tidegate puts on links; the numbers are the protocol's."""

    TELEMETRY = 1
    """Samples to a card, orders back."""
    MOVE = 2
    """State of an application on its way."""
    FAR_MEMORY = 3
    """Pages that a server keeps on its card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkUse:
    """What one consumer puts on a link now."""

    peer: str
    """The server or card at the other end."""
    consumer: Consumer
    about: str = ""
    """The application or workload; empty where it is about none."""
    received_bytes_per_second: float = 0.0
    sent_bytes_per_second: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTelemetry:
    """A link as measured from this end; what `LinkStatus` of a card says."""

    peer: str
    """The server or card at the other end."""
    latency_seconds: float | None
    """Median round trip; None where no probe of the window came back."""
    latency_p95_seconds: float | None
    """Round trip that one in twenty exceeds."""
    jitter_seconds: float | None
    """Mean difference between round trips that follow each other; None before there are two."""
    loss_ratio: float
    """Share of probes that do not come back, there and back together, 0-1."""
    capacity_bytes_per_second: int | None
    """What a burst gets through, towards the peer; None where nobody says."""
    used_bytes_per_second: int | None
    """What it carries now, in the busier direction; None where nobody counts."""
    measured_seconds: float
    """Seconds since 1970 UTC when the last probe was sent; 0: it is not probed, nobody knows how late."""
    is_fresh: bool
    """Whether one came back lately."""
    capacity_from: CapacityFrom | None = None
    """Who says the capacity; None where nobody does."""
    uses: tuple[LinkUse, ...] = ()
    """What Tidegate itself puts on it."""

    @property
    def headroom_bytes_per_second(self) -> int | None:
        """What it could carry more than now; None where one of both is unknown."""
        if self.capacity_bytes_per_second is None or self.used_bytes_per_second is None:
            return None
        return max(0, self.capacity_bytes_per_second - self.used_bytes_per_second)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinkColumns:
    """Many links at one moment; NaN where unknown."""

    peers: tuple[str, ...]
    latency_seconds: NDArray[np.float64]
    """(links,)"""
    latency_p95_seconds: NDArray[np.float64]
    """(links,)"""
    jitter_seconds: NDArray[np.float64]
    """(links,)"""
    loss_ratio: NDArray[np.float64]
    """(links,)"""
    capacity_bytes_per_second: NDArray[np.float64]
    """(links,)"""
    used_bytes_per_second: NDArray[np.float64]
    """(links,)"""
    age_seconds: NDArray[np.float64]
    """(links,) since the last probe was sent."""
    is_fresh: NDArray[np.bool_]
    """(links,)"""
    by_interface: NDArray[np.bool_] | None = None
    """(links,) where the capacity is an interface's speed; None: nowhere."""

    def records(self, now_seconds: float) -> tuple[LinkTelemetry, ...]:
        """Return every link of which a probe's fate is known; ``now_seconds`` is since 1970 UTC."""
        return tuple(
            LinkTelemetry(
                peer=peer,
                latency_seconds=_known(self.latency_seconds[row]),
                latency_p95_seconds=_known(self.latency_p95_seconds[row]),
                jitter_seconds=_known(self.jitter_seconds[row]),
                loss_ratio=float(self.loss_ratio[row]),
                capacity_bytes_per_second=_whole(self.capacity_bytes_per_second[row]),
                used_bytes_per_second=_whole(self.used_bytes_per_second[row]),
                measured_seconds=now_seconds - float(self.age_seconds[row]),
                is_fresh=bool(self.is_fresh[row]),
                capacity_from=self._capacity_from(row),
            )
            for row, peer in enumerate(self.peers)
            if not math.isnan(self.loss_ratio[row])
        )

    def _capacity_from(self, row: int) -> CapacityFrom | None:
        if not math.isfinite(self.capacity_bytes_per_second[row]):
            return None
        told = self.by_interface is not None and bool(self.by_interface[row])
        return CapacityFrom.INTERFACE if told else CapacityFrom.PROBES


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _whole(value: float) -> int | None:
    return round(float(value)) if math.isfinite(value) else None
