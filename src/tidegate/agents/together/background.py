"""The event loop that services live on, beside a program that has none: on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

_T = TypeVar("_T")


class Background:
    """Runs coroutines for other threads, until its context is left."""

    def __init__(self) -> None:
        """Run nothing yet."""
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        self._thread = threading.Thread(target=self._loop.run_forever, name="services", daemon=True)

    def enter(self, context: AbstractAsyncContextManager[_T]) -> _T:
        """Enter a context that is left with its own; return what it lends."""
        return self._wait(self._stack.enter_async_context(context))

    def call(self, function: Callable[[], _T]) -> _T:
        """Return what a function does between two turns of the event loop."""

        async def called() -> _T:
            return function()

        return self._wait(called())

    def soon(self, function: Callable[[], object]) -> None:
        """Have a function called on the event loop, and wait for nothing."""
        self._loop.call_soon_threadsafe(function)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._wait(self._stack.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _wait(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
