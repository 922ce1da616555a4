"""A progress bar for each of several runs, where there is a person to see it; taken away at the end."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console


@contextmanager
def run_bars(names: Sequence[str], whole: int, console: Console) -> Iterator[Callable[[Sequence[int]], None]]:
    """Show a bar for each name and yield what tells them how much of the ``whole`` each has done."""
    columns = TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bars = [progress.add_task(name, total=whole) for name in names]

        def show(done: Sequence[int]) -> None:
            for bar, count in zip(bars, done, strict=True):
                progress.update(bar, completed=count)

        yield show
