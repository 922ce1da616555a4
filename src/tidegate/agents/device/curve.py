"""From measured pairs of CPU and latency to the least CPU at which a latency holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tidegate.agents.device.records import CurvePoint


@dataclass(slots=True)
class _Block:
    """Neighbouring amounts whose latencies are told as one."""

    amounts: list[float]
    latency_seconds: float
    weight: float


def fitted(points: Iterable[CurvePoint]) -> list[tuple[float, float]]:
    """Return amounts in cores, rising, with the latencies in seconds that fit best and never rise.

    More CPU never makes a program slower, so what was measured against that is noise. This is isotonic
    regression by pooling adjacent violators (Ayer et al. 1955; Barlow et al. 1972), each point weighed by
    its requests.
    """
    blocks: list[_Block] = []
    for measured in _by_amount(points):
        blocks.append(measured)
        while len(blocks) > 1 and blocks[-1].latency_seconds > blocks[-2].latency_seconds:
            last = blocks.pop()
            _pool(blocks[-1], last)
    return [(amount, block.latency_seconds) for block in blocks for amount in block.amounts]


def least_cpu_cores(points: Iterable[CurvePoint], latency_max_seconds: float | None) -> float | None:
    """Return the least CPU at which a latency holds, among the amounts measured; None where none does."""
    if latency_max_seconds is None:
        return None
    return _crossing(fitted(points), latency_max_seconds)


def _crossing(curve: Sequence[tuple[float, float]], limit: float) -> float | None:
    before: tuple[float, float] | None = None
    for amount, latency in curve:
        if latency <= limit:
            if before is None:
                return amount
            # It falls from above the limit to it or below: a line between both crosses it once.
            fallen = (before[1] - limit) / (before[1] - latency)
            return before[0] + fallen * (amount - before[0])
        before = (amount, latency)
    return None


def _by_amount(points: Iterable[CurvePoint]) -> list[_Block]:
    """Return what was measured at each amount as one, by rising amount: only then are neighbours compared."""
    found: dict[float, _Block] = {}
    for point in sorted(points, key=lambda point: point.cpu_cores):
        weight = max(point.requests_per_second, 1.0)
        new = _Block([point.cpu_cores], point.latency_p99_seconds, weight)
        if point.cpu_cores in found:
            _pool(found[point.cpu_cores], new)
            found[point.cpu_cores].amounts.pop()
        else:
            found[point.cpu_cores] = new
    return list(found.values())


def _pool(into: _Block, other: _Block) -> None:
    weight = into.weight + other.weight
    into.latency_seconds = (
        into.latency_seconds * into.weight + other.latency_seconds * other.weight
    ) / weight
    into.weight = weight
    into.amounts += other.amounts


__all__ = ["fitted", "least_cpu_cores"]
