"""Who is served next, and how fast anyone may ask: a flood on one channel is that channel's own matter."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class TokenBucket:
    """Lets so many requests a second through, and a burst of them at first; time is passed in."""

    def __init__(self, *, per_second: float, burst: float, now_seconds: float) -> None:
        """Begin full."""
        self._per_second, self._burst = per_second, burst
        self._tokens, self._then = burst, now_seconds

    def take(self, now_seconds: float, cost: float = 1.0) -> float:
        """Take tokens, which may leave a debt; returns for how many seconds to wait until it is paid."""
        passed = max(now_seconds - self._then, 0.0)
        self._tokens = min(self._tokens + passed * self._per_second, self._burst) - cost
        self._then = max(now_seconds, self._then)
        return max(-self._tokens, 0.0) / self._per_second

    def allows(self, now_seconds: float, cost: float = 1.0) -> bool:
        """Take tokens if there are enough; whether there were."""
        self.take(now_seconds, 0.0)
        if self._tokens < cost:
            return False
        self._tokens -= cost
        return True


class FairQueue(Generic[_Item]):
    """One bounded queue for each channel; they take turns."""

    def __init__(self, *, waiting_max: int) -> None:
        """Hold nothing yet."""
        self._waiting_max = waiting_max
        self._queues: dict[str, deque[_Item]] = {}
        """Of those who wait; whose turn is next stands first."""

    def put(self, channel: str, item: _Item) -> bool:
        """Queue it; False where the channel's queue is full."""
        queue = self._queues.setdefault(channel, deque())
        if len(queue) >= self._waiting_max:
            return False
        queue.append(item)
        return True

    def pop(self) -> tuple[str, _Item] | None:
        """Return what is next; None where nobody waits."""
        if not self._queues:
            return None
        channel, queue = next(iter(self._queues.items()))
        item = queue.popleft()
        del self._queues[channel]
        if queue:
            self._queues[channel] = queue  # at the end: after everyone else who waits
        return channel, item

    def drop(self, channel: str) -> None:
        """Forget what a channel that is gone still wanted."""
        self._queues.pop(channel, None)

    def __len__(self) -> int:
        """Return how many items wait."""
        return sum(map(len, self._queues.values()))
