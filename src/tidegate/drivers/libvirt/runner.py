"""Carries wishes out in threads of its own: libvirt's calls block, a tick does not.

One domain is changed by one thread at a time, CPU before memory before the rest. A newer wish for the same
resource takes the older one's place, whether that waits or is being carried out.
"""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tidegate.model.outcome import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

THREADS: Final = 4
"""Domains changed at once; libvirt serves five requests of one client at once by default."""
WISHES_MAX: Final = 8192
"""Wishes not yet carried out; what is asked above it is refused."""
CLOSE_SECONDS_MAX: Final = 30.0
"""How long to wait at the end for what is being carried out."""

_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One resource of one domain as it should be: cores, bytes, or bytes a second."""

    uuid: str
    name: str
    workload_id: int
    row: int
    """Of the resource, as this driver numbers them."""
    asked_row: int = 0
    """Of the resource, as whoever asked numbers them."""
    amount: float
    sold: float
    is_asked: bool = True
    """Else it is the driver's own, to relieve a guest, and nobody waits for an outcome."""
    number: int = field(default_factory=lambda: next(_numbers))

    @property
    def key(self) -> tuple[str, int]:
        """What it is about."""
        return self.uuid, self.row


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of a wish; what is held now, the next look tells."""

    wish: Wish
    phase: Phase


class Runner:
    """A queue, a few threads, and what came out."""

    def __init__(self, carry_out: Callable[[Wish, Callable[[], bool]], Phase]) -> None:
        """Carry wishes out by ``carry_out``; its second argument says whether to give up for a newer one."""
        self._carry_out = carry_out
        self._changed = threading.Condition()
        self._waiting: dict[tuple[str, int], Wish] = {}
        self._doing: dict[str, Wish] = {}
        self._busy: set[str] = set()
        self._done: list[Done] = []
        self._open = True
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="libvirt")

    def submit(self, wishes: Sequence[Wish]) -> None:
        """Start carrying out; returns at once."""
        with self._changed:
            for wish in wishes:
                if not self._open or len(self._waiting) >= WISHES_MAX:
                    self._done.append(Done(wish=wish, phase=Phase.REFUSED))
                    continue
                older = self._waiting.pop(wish.key, None)
                if older is not None:
                    self._done.append(Done(wish=older, phase=Phase.REFUSED))
                self._waiting[wish.key] = wish
                if wish.uuid not in self._busy:
                    self._busy.add(wish.uuid)
                    self._pool.submit(self._work, wish.uuid)

    def take(self) -> list[Done]:
        """Return what is done, once."""
        with self._changed:
            done, self._done = self._done, []
            return done

    def under_way(self) -> dict[tuple[str, int], Wish]:
        """Return what is neither done nor replaced, the newest of each."""
        with self._changed:
            doing = {wish.key: wish for wish in self._doing.values()}
            taken = {done.wish.key: done.wish for done in self._done}
            return taken | doing | self._waiting

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is under way; whether that came about."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, seconds)

    def close(self) -> None:
        """Drop what waits, and wait for what is being carried out."""
        with self._changed:
            self._open = False
            self._done += [Done(wish=wish, phase=Phase.REFUSED) for wish in self._waiting.values()]
            self._waiting.clear()
        self.wait(CLOSE_SECONDS_MAX)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _work(self, uuid: str) -> None:
        """Carry out everything there is for one domain."""
        while True:
            with self._changed:
                wish = min(
                    (wish for wish in self._waiting.values() if wish.uuid == uuid),
                    key=lambda wish: wish.row,
                    default=None,
                )
                if wish is None:
                    self._busy.discard(uuid)
                    self._changed.notify_all()
                    return
                self._doing[uuid] = self._waiting.pop(wish.key)
            phase = Phase.REFUSED
            try:
                phase = self._carry_out(wish, lambda wish=wish: self._is_replaced(wish))  # type: ignore[misc]
            finally:
                with self._changed:
                    del self._doing[uuid]
                    self._done.append(Done(wish=wish, phase=phase))

    def _is_replaced(self, wish: Wish) -> bool:
        with self._changed:
            return not self._open or wish.key in self._waiting
