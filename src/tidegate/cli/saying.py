"""Says sentences: whole where they are piped, wrapped on a terminal, and nothing in them can command one."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from tidegate.cli.doctor import printable


def say(*sentences: str) -> None:
    """Say each on a line of its own."""
    console = Console()
    for sentence in sentences:
        console.print(Text(printable(sentence)), soft_wrap=not console.is_terminal)


__all__ = ["say"]
