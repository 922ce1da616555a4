"""How applications are over one interval, from two readings of their counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidegate.agents.device.room import amounts

if TYPE_CHECKING:
    from tidegate.model.application import Amounts, Usage

CHANGE_RATIO: Final = 0.01
"""A sample differs from another where something differs by more than this share of what is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How an application was over one interval."""

    application: str
    time_nanoseconds: int
    """At its end."""
    seconds: float
    used: Amounts
    held: Amounts
    cpu_pressure_ratio: float | None = None
    memory_pressure_ratio: float | None = None
    storage_pressure_ratio: float | None = None
    throttled_seconds: float = 0.0
    latency_p99_seconds: float | None = None
    requests: int | None = None
    missed: int = 0


def sample(before: Usage, now: Usage, held: Amounts) -> Sample | None:
    """Return what happened between two readings; None where a counter went back, as by a new start."""
    seconds = now.time_seconds - before.time_seconds
    if seconds <= 0 or now.cpu_seconds < before.cpu_seconds:
        return None
    used: dict[str, float] = {
        "cpu_cores": (now.cpu_seconds - before.cpu_seconds) / seconds,
        "memory_bytes": float(now.memory_bytes),
    }
    for name, first, last in (
        ("network_bytes_per_second", before.network_bytes, now.network_bytes),
        ("storage_bytes_per_second", before.storage_bytes, now.storage_bytes),
    ):
        if first is not None and last is not None:
            used[name] = max(last - first, 0) / seconds
    requests = None
    if now.requests is not None and before.requests is not None:
        requests = max(now.requests - before.requests, 0)
    return Sample(
        application=now.name,
        time_nanoseconds=round(now.time_seconds * 10**9),
        seconds=seconds,
        used=amounts(used),
        held=held,
        cpu_pressure_ratio=_ratio(before.cpu_pressure_seconds, now.cpu_pressure_seconds, seconds),
        memory_pressure_ratio=_ratio(before.memory_pressure_seconds, now.memory_pressure_seconds, seconds),
        storage_pressure_ratio=_ratio(before.storage_pressure_seconds, now.storage_pressure_seconds, seconds),
        throttled_seconds=max(now.throttled_seconds - before.throttled_seconds, 0.0),
        latency_p99_seconds=now.latency_p99_seconds,
        requests=requests,
    )


def differs(one: Sample, other: Sample) -> bool:
    """Whether something changed by more than a hundredth of what is held."""
    if one.held != other.held:
        return True
    held, before, now = one.held.known(), one.used.known(), other.used.known()
    for name in {**before, **now}:
        limit = CHANGE_RATIO * held.get(name, max(before.get(name, 0.0), now.get(name, 0.0)))
        if abs(now.get(name, 0.0) - before.get(name, 0.0)) > limit:
            return True
    return False


def _ratio(before: float | None, now: float | None, seconds: float) -> float | None:
    if before is None or now is None:
        return None
    return min(max(now - before, 0.0) / seconds, 1.0)


__all__ = ["Sample", "differs", "sample"]
