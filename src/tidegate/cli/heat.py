"""A week as a heat map in a terminal: a row a day, a block a quarter of an hour or more.

The height of a block says how much, and its colour says it again.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DAY_NAMES: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
BLOCKS: Final = "▁▂▃▄▅▆▇█"
COLOURS: Final = ("blue", "blue", "cyan", "cyan", "green", "yellow", "bright_red", "bright_red")
UNSEEN: Final = "·"
CELLS: Final = (96, 48, 24)
"""Cells a day may have, most first: a quarter, half, or whole hour each."""
LABEL_WIDTH: Final = 4
HOURS: Final = 24


def heat_map(week: Sequence[Sequence[float | None]], width: int) -> Iterator[Text]:
    """Return the hours, then a line per day, on so many columns; ``week`` is (7 days, 96 slots).

    Where several slots share a cell it shows the highest of them.
    """
    cells = next((count for count in CELLS if count + LABEL_WIDTH <= width), CELLS[-1])
    yield _hours(cells)
    known = [amount for day in week for amount in day if amount is not None]
    highest, lowest = max(known, default=0.0), min(known, default=0.0)
    for name, day in zip(DAY_NAMES, week, strict=True):
        line = Text(f"{name} ", no_wrap=True)
        drawn = (_cell(amount, lowest, highest) for amount in _joined(day, cells))
        for style, blocks in groupby(drawn, key=itemgetter(1)):
            line.append("".join(block for block, _ in blocks), style=style)
        yield line


def step_of(amount: float, lowest: float, highest: float) -> int:
    """Return which block stands for an amount between the lowest and the highest."""
    if highest <= lowest:
        return 0
    return min(len(BLOCKS) - 1, int((amount - lowest) / (highest - lowest) * len(BLOCKS)))


def _cell(amount: float | None, lowest: float, highest: float) -> tuple[str, str]:
    """Return a block and its colour."""
    if amount is None:
        return UNSEEN, "dim"
    step = step_of(amount, lowest, highest)
    return BLOCKS[step], COLOURS[step]


def _joined(day: Sequence[float | None], cells: int) -> Iterator[float | None]:
    size = len(day) // cells
    for start in range(0, len(day), size):
        yield max((amount for amount in day[start : start + size] if amount is not None), default=None)


def _hours(cells: int) -> Text:
    every = 3 if cells > HOURS else 6
    room = cells // HOURS * every
    marks = "".join(f"{hour:02}".ljust(room) for hour in range(0, HOURS, every))
    return Text(" " * LABEL_WIDTH + marks.rstrip(), style="dim", no_wrap=True)


__all__ = ["BLOCKS", "UNSEEN", "heat_map", "step_of"]
