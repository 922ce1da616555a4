"""Load on key-value services, as a process: uses each service, follows it, and tells what was lost.

One process for many services: as many processes would take turns on few cores, and measure one another.
"""

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


class Loads:
    """One load generator for several services, each with clients and a rate of its own."""

    def __init__(
        self,
        *,
        at: Sequence[str],
        seconds: float,
        clients: int,
        rate: float,
        patience_seconds: float,
        log: Path,
        skip_seconds: float = 0.0,
        marks: Sequence[float] = (),
        seed: int | None = None,
    ) -> None:
        """Start it; ``clients`` and ``rate`` are those of each service."""
        self._services = len(at)
        self._until_seconds = seconds + patience_seconds + LATE_SECONDS
        arguments = [
            "load", *(f"--at={one}" for one in at), "--seconds", str(seconds), "--clients", str(clients),
            "--rate", str(rate), "--patience", str(patience_seconds), "--skip", str(skip_seconds),
            *(f"--mark={mark}" for mark in marks), *([] if seed is None else [f"--seed={seed}"]),
        ]  # fmt: skip
        self.program = Program(arguments, log=log, module=KEYVALUE)

    async def all_found(self) -> tuple[Found, ...]:
        """Wait until it is over, and return what it found of each service, in their order.

        Raises:
            TidegateError: it ends without saying, or not at all.

        """
        try:
            async with asyncio.timeout(self._until_seconds):
                while not self.program.ended:  # noqa: ASYNC110 - nobody sets an event
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError as error:
            raise TidegateError(f"a load did not end within {self._until_seconds:g} s") from error
        said = self.program.log.read_text("utf-8", "replace")
        lines = [line for line in said.splitlines() if line.startswith("{")]
        if len(lines) < self._services:
            raise TidegateError(f"a load ended without a figure: {self.program.said()}")
        return tuple(msgspec.json.decode(line, type=Found) for line in lines[-self._services :])

    def end(self) -> None:
        """End it."""
        self.program.end()


class Load(Loads):
    """One load generator for one service."""

    def __init__(
        self, *, at: str, seconds: float, clients: int, rate: float, patience_seconds: float, log: Path
    ) -> None:
        """Start it."""
        super().__init__(
            at=(at,),
            seconds=seconds,
            clients=clients,
            rate=rate,
            patience_seconds=patience_seconds,
            log=log,
        )

    async def found(self) -> Found:
        """Wait until it is over, and return what it found.

        Raises:
            TidegateError: it ends without saying, or not at all.

        """
        return (await self.all_found())[0]


__all__ = ["Load", "Loads"]
