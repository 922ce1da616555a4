"""Load on key-value services, as processes: each uses one service, follows it, and tells what was lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from tidegate.examples.keyvalue.load import Found
from tidegate.lab.bench.cards.cell import KEYVALUE
from tidegate.lab.bench.cards.programs import Program
from tidegate.model.errors import TidegateError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LATE_SECONDS: Final = 60.0
"""How much longer than planned a load may take: at its end it looks for every key it has written."""
LOOK_SECONDS: Final = 0.1


class Load:
    """One load generator."""

    def __init__(
        self,
        *,
        at: str,
        seconds: float,
        clients: int,
        rate: float,
        patience_seconds: float,
        log: Path,
        skip_seconds: float = 0.0,
        marks: Sequence[float] = (),
    ) -> None:
        """Start it."""
        self._until_seconds = seconds + patience_seconds + LATE_SECONDS
        arguments = [
            "load", "--at", at, "--seconds", str(seconds), "--clients", str(clients), "--rate", str(rate),
            "--patience", str(patience_seconds), "--skip", str(skip_seconds),
            *(f"--mark={mark}" for mark in marks),
        ]  # fmt: skip
        self.program = Program(arguments, log=log, module=KEYVALUE)

    async def found(self) -> Found:
        """Wait until it is over, and return what it found.

        Raises:
            TidegateError: it ends without saying, or not at all.

        """
        try:
            async with asyncio.timeout(self._until_seconds):
                while not self.program.ended:  # noqa: ASYNC110 - nobody sets an event
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError as error:
            raise TidegateError(f"a load did not end within {self._until_seconds:g} s") from error
        lines = [line for line in self.program.said().splitlines() if line.startswith("{")]
        if not lines:
            raise TidegateError(f"a load ended without a figure: {self.program.said()}")
        return msgspec.json.decode(lines[-1], type=Found)

    def end(self) -> None:
        """End it."""
        self.program.end()


__all__ = ["Load"]
