"""When a device's fast loop turns: once every server has said how it is, and at the latest each step."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.agents.servers.servers import Servers

ORDERS_OUT_SECONDS: Final = 0.02
"""What was decided is on its way by then; thinking would hold it up."""


class Turning:
    """Turns a loop over `Servers`."""

    def __init__(
        self,
        servers: Servers,
        tick: Callable[[], object],
        *,
        step_seconds: float,
        think: Callable[[], object] = lambda: None,
        rehearse: Callable[[], object] = lambda: None,
        own: str = "",
    ) -> None:
        """Turn nothing yet; call `arrived` after samples but those of ``own``, which are taken in a turn.

        ``think`` is called after each turn, when its orders are out; ``rehearse`` just before the sample that
        the next turn waits for.
        """
        self._servers, self._tick, self._think, self._rehearse = servers, tick, think, rehearse
        self._step_seconds, self._own = step_seconds, own
        self._woken = asyncio.Event()

    def arrived(self) -> None:
        """Look whether it is time."""
        if self._servers.is_complete(besides=self._own):
            self._woken.set()

    def follows(self, server: str) -> None:
        """Make ready where a server's sample is on its way and no other's is waited for."""
        if self._servers.lacks_only(server, besides=self._own):
            self._rehearse()

    def due(self) -> None:
        """Say that a step is over: it is time where no server is there to wait for."""
        if not any(name != self._own and not self._servers.is_lost(name) for name in self._servers.names):
            self._woken.set()

    async def run(self, *, ticks: int | None = None) -> None:
        """Turn so many times, or for ever."""
        turned = 0
        while ticks is None or turned < ticks:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._step_seconds * 1.5):  # `wait_for` makes a task of each
                    await self._woken.wait()
            self._woken.clear()
            if not self._servers.names:
                continue
            self._tick()
            turned += 1
            await asyncio.sleep(ORDERS_OUT_SECONDS)
            self._think()
