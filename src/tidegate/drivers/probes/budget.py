"""What probing a link may cost, and the watch over it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from tidegate.model.errors import InputError

PACKETS_PER_SECOND_MAX: Final = 1000
"""No budget is larger: nobody learns more of a link."""
BYTES_PER_SECOND_MAX: Final = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What probes of one link may cost in any second, each way, headers of IP and UDP included."""

    packets_per_second: int = 40
    bytes_per_second: int = 64_000
    """Half a megabit: where a train is sent; 1 kB on other seconds."""

    def __post_init__(self) -> None:
        """Refuse what is no budget.

        Raises:
            InputError: one of both is not positive, or larger than anybody needs.

        """
        if not 1 <= self.packets_per_second <= PACKETS_PER_SECOND_MAX:
            raise InputError(
                f"a budget of {self.packets_per_second} probes a second is not between 1 and "
                f"{PACKETS_PER_SECOND_MAX}"
            )
        if not 1 <= self.bytes_per_second <= BYTES_PER_SECOND_MAX:
            raise InputError(
                f"a budget of {self.bytes_per_second} bytes a second is not between 1 and "
                f"{BYTES_PER_SECOND_MAX}"
            )


class Spending:
    """What was sent in the last second."""

    def __init__(self, budget: Budget) -> None:
        """Start with nothing spent."""
        self._budget = budget
        self._sent: deque[tuple[float, int]] = deque()
        self._bytes = 0

    def packets_left(self, now_seconds: float, length: int) -> int:
        """Return how many packets of a length may be sent now."""
        while self._sent and self._sent[0][0] <= now_seconds - 1.0:
            self._bytes -= self._sent.popleft()[1]
        return max(
            0,
            min(
                self._budget.packets_per_second - len(self._sent),
                (self._budget.bytes_per_second - self._bytes) // length,
            ),
        )

    def spend(self, now_seconds: float, length: int) -> None:
        """Note a packet that is about to be sent."""
        self._sent.append((now_seconds, length))
        self._bytes += length
