"""What channels have to say in the log: no more than is read, and never at the cost of an answer."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from tidegate.vral.fairness import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable

REMARKS_PER_SECOND: Final = 0.5
REMARKS_BURST: Final = 20.0
"""Guests must not be able to fill a disk by what is said of them."""
_log = structlog.get_logger(__name__)


class Remarks:
    """A log that leaves out what would be too much, and what can't be written."""

    def __init__(self, forwards_seconds: Callable[[], float]) -> None:
        """Say nothing yet."""
        self._now = forwards_seconds
        self._bucket = TokenBucket(
            per_second=REMARKS_PER_SECOND, burst=REMARKS_BURST, now_seconds=forwards_seconds()
        )
        self._left_out = 0

    def say(self, what: str, *, error: BaseException | None = None, **fields: object) -> None:
        """Say it, with how much was left out before."""
        if not self._bucket.allows(self._now()):
            self._left_out += 1
            return
        if self._left_out:
            fields["left_out_before"], self._left_out = self._left_out, 0
        with suppress(OSError, ValueError):  # nobody reads the log any more
            if error is None:
                _log.info(what, **fields)
            else:
                _log.error(what, exc_info=error, **fields)


__all__ = ["Remarks"]
