"""A loop with a journal: it goes on where it ended, and hands in its memory as the journal asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.app.resume import memory_of, resume
from tidegate.journal.sql.reader import Reader
from tidegate.journal.sql.writer import CHECKPOINT_TICKS

if TYPE_CHECKING:
    from tidegate.app.resume import Resumed
    from tidegate.journal.sql.opening import Location
    from tidegate.journal.sql.writer import SqlJournal
    from tidegate.loop import Loop
    from tidegate.model.tick import Tick


@dataclass(slots=True, kw_only=True)
class Service:
    """Turns a loop whose journal is a `SqlJournal`."""

    loop: Loop
    journal: SqlJournal

    def go_on(self, where: Location) -> Resumed | None:
        """Bring the loop to where its journal ends; None at the first start.

        Raises:
            TidegateError: a part of the journal that is needed is missing or damaged.

        """
        reader = Reader.of(where)
        try:
            resumed = resume(self.loop, self.journal, reader)
        finally:
            reader.close()
        # Lives too short to finish a checkpoint would each repeat all those before them.
        if resumed is not None and resumed.repeated_ticks > CHECKPOINT_TICKS:
            self.journal.checkpoint_at_once(self.loop.number - 1, memory_of(self.loop))
        return resumed

    def tick(self) -> Tick:
        """Turn once; begin to save every stage's memory where it is time to."""
        tick = self.decide()
        self._checkpoint()
        return tick

    def decide(self) -> Tick:
        """Turn once, and leave what can wait to `think`; without it no checkpoint is begun."""
        return self.loop.tick()

    def think(self) -> None:
        """Do what can wait until what was decided is on its way.

        Raises:
            TidegateError: the journal refuses.

        """
        self.loop.think()
        self._checkpoint()
        with self.loop.stopwatch.stage("journal"):
            self.journal.think()

    def _checkpoint(self) -> None:
        if self.journal.wants_checkpoint:
            with self.loop.stopwatch.stage("journal"):
                self.journal.checkpoint(self.loop.number - 1, memory_of(self.loop))


__all__ = ["Service"]
