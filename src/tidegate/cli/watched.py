"""Two loops that are watched: the simulated fleet and this machine, on one board."""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from tidegate.cli.live_view import Header, line, screen, summary
from tidegate.cli.machine_view import machine_line, machine_screen, machine_summary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console, RenderableType
    from rich.live import Live

    from tidegate.app.machine import Machine
    from tidegate.app.metrics import StageMetrics
    from tidegate.app.side_by_side import SideBySide
    from tidegate.model.tick import Tick

NOTICE_SECONDS: Final = 30.0
"""How long a notice stands below the live view."""
NOTICES_MAX: Final = 64
"""Notices told again when the live view is gone: the last so many."""
FRAMES_PER_SECOND_MAX: Final = 10
STANDING_SECONDS: Final = 1.0
"""A live view that no tick has drawn for so long is drawn anew: what is told beside ticks stands in it."""
CONDITIONS_MAX: Final = 3
"""Lines of what is down: there are three processes."""
LINE_EVERY_TICKS: Final = 12
"""How often a plain line is written where there is no terminal: an hour of 5-minute steps."""
MACHINE_LINE_EVERY_TICKS: Final = 10
STAGES_OVER_TICKS: Final = 20
"""Stage times shown are means over so many ticks."""
MACHINE_ROWS_RATIO: Final = 0.4
"""How much of a terminal this machine gets below the simulated fleet."""
BESIDE_COLUMNS: Final = 200
"""Terminals this wide show both beside each other."""

Size = tuple[int, int]


@dataclass(slots=True)
class Board:
    """Where ticks are shown: on a live screen, or as a plain line now and then."""

    console: Console
    live: Live | None
    metrics: StageMetrics | None
    parts: list[Callable[[Size], RenderableType]] = field(default_factory=list)
    """What draws each loop in a space of so many columns and rows."""
    conditions: Callable[[], Sequence[str]] = tuple
    """Says what does not work just now, a sentence each."""
    _shown_seconds: float = 0.0
    _notice: str = ""
    _noticed_seconds: float = 0.0
    _later: deque[str] = field(default_factory=lambda: deque(maxlen=NOTICES_MAX))

    def notice(self, sentence: str) -> None:
        """Tell what became of a process beside this one: below the live view, and on stderr after it."""
        if self.live is None:
            sys.stderr.write(f"{sentence}\n")
            return
        self._notice, self._noticed_seconds = sentence, time.monotonic()
        self._later.append(sentence)
        self._draw(self.live)

    def close(self) -> None:
        """Write what was told below a live view, which is gone."""
        for sentence in self._later:
            sys.stderr.write(f"{sentence}\n")
        self._later.clear()

    def show(self, tick: Tick, text: Callable[[], str], *, every: int, last: bool) -> None:
        """Show that a loop made a tick, unless the one before was shown too short a time ago."""
        if self.metrics is not None:
            self.metrics.add(tick.stage_seconds)
        if self.live is None:
            if last or tick.number % every == 0:
                self.console.print(text(), soft_wrap=True, highlight=False, markup=False)
            return
        if last or time.monotonic() - self._shown_seconds >= 1 / FRAMES_PER_SECOND_MAX:
            self._draw(self.live)

    def stand(self) -> None:
        """Draw the live view where no tick has for some time."""
        if self.live is not None and time.monotonic() - self._shown_seconds >= STANDING_SECONDS:
            self._draw(self.live)

    def _draw(self, live: Live) -> None:
        self._shown_seconds = time.monotonic()
        live.update(self._drawn(), refresh=True)

    def _drawn(self) -> RenderableType:
        columns, rows = self.console.size
        said = [(sentence, "red") for sentence in self.conditions()[:CONDITIONS_MAX]]
        if self._notice and time.monotonic() - self._noticed_seconds < NOTICE_SECONDS:
            said.append((self._notice, "yellow"))
        if not said:
            return self._loops(columns, rows)
        lines = [Text(sentence, style=style, no_wrap=True, overflow="ellipsis") for sentence, style in said]
        return Group(self._loops(columns, rows - len(lines)), *lines)

    def _loops(self, columns: int, rows: int) -> RenderableType:
        if len(self.parts) == 1:
            return self.parts[0]((columns, rows))
        upper, lower = self.parts
        if columns >= BESIDE_COLUMNS:
            beside = Table.grid(padding=(0, 2))
            half = (columns - 2) // 2
            beside.add_row(upper((half, rows)), lower((half, rows)))
            return beside
        lower_rows = int(rows * MACHINE_ROWS_RATIO)
        return Group(upper((columns, rows - lower_rows - 1)), "", lower((columns, lower_rows)))


@dataclass(slots=True)
class Recent:
    """Stage times of the last ticks."""

    _ticks: deque[Mapping[str, float]] = field(default_factory=lambda: deque(maxlen=STAGES_OVER_TICKS))

    def add(self, tick: Tick) -> None:
        """Note one tick's."""
        self._ticks.append(tick.stage_seconds)

    def seconds(self) -> dict[str, float]:
        """Return the mean seconds of each stage."""
        names = dict.fromkeys(name for stages in self._ticks for name in stages)
        return {name: sum(of.get(name, 0.0) for of in self._ticks) / len(self._ticks) for name in names}


class WatchedFleet:
    """The simulated fleet, with prediction and without."""

    def __init__(
        self, board: Board, run: SideBySide, header: Header, *, ticks_per_second: float, ticks: int | None
    ) -> None:
        """Stand before the next tick; 0 a second is as fast as it goes."""
        self.run = run
        self.seconds_per_tick = 0.0 if ticks_per_second == 0 else 1 / ticks_per_second
        self.ticks_left = min(run.fleet.ticks_left, ticks or run.fleet.ticks_left)
        self._board, self._header = board, header
        self._recent = Recent()
        self._started = time.monotonic()
        board.parts.append(self.drawn)

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._started

    def turn(self) -> None:
        """Make one tick, and show it."""
        tick = self.run.tick()
        self._recent.add(tick)
        self.ticks_left -= 1
        self._board.show(
            tick, lambda: line(self.run, tick), every=LINE_EVERY_TICKS, last=self.ticks_left == 0
        )

    def drawn(self, size: Size) -> RenderableType:
        """Return the view for a space; nothing before the first tick."""
        tick = self.run.last
        return "" if tick is None else screen(self.run, tick, self._header, self._recent.seconds(), size)

    def summary(self, why: str) -> RenderableType:
        """Return what there is to say at the end."""
        return summary(self.run, why=why, seconds=self.seconds)


class WatchedMachine:
    """This very machine."""

    def __init__(self, board: Board, machine: Machine, *, ticks: int | None) -> None:
        """Stand before the next tick; without ``ticks`` it goes on until somebody ends it."""
        self.machine = machine
        self.seconds_per_tick = float(machine.options.step_seconds)
        self.ticks_left = -1 if ticks is None else ticks
        self._board = board
        self._recent = Recent()
        board.parts.append(self.drawn)

    def turn(self) -> None:
        """Make one tick, and show it."""
        tick = self.machine.tick()
        self._recent.add(tick)
        self.ticks_left -= 1
        self._board.show(
            tick,
            lambda: machine_line(tick),
            every=MACHINE_LINE_EVERY_TICKS,
            last=self.ticks_left == 0,
        )

    def drawn(self, size: Size) -> RenderableType:
        """Return the view for a space; nothing before the first tick."""
        tick = self.machine.last
        return "" if tick is None else machine_screen(self.machine, tick, self._recent.seconds(), size)

    def summary(self) -> RenderableType:
        """Return what there is to say at the end."""
        return machine_summary(self.machine)


__all__ = ["Board", "WatchedFleet", "WatchedMachine"]
