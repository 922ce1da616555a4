"""Shows every tick to a forecaster that nobody decides by and people look at, such as a profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.model.tick import Tick
    from tidegate.ports import Forecaster, Stateful


class Observing:
    """Keeps one forecaster's memory up to date."""

    def __init__(self, forecaster: Forecaster, memory: Stateful) -> None:
        """Show ticks to ``forecaster``, whose memory is ``memory``: usually itself."""
        self._forecaster = forecaster
        self._memory = memory

    def learn(self, tick: Tick) -> None:
        """Take in one tick's samples."""
        self._forecaster.observe(tick.snapshot)

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the forecaster's memory."""
        return self._memory.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a saved state."""
        self._memory.restore(state)


__all__ = ["Observing"]
