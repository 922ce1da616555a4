"""`tidegate doctor`: what works on this machine, what is missing and how to get it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tidegate.app.doctor import Outside, State, check_up
from tidegate.cli.files import check_writable, write_atomically

if TYPE_CHECKING:
    from tidegate.app.doctor import CheckUp, Finding

COLUMNS_MAX = 1000
"""Width where nobody looks on, as of `| grep`: a finding stays on one line."""
STYLES = {State.WORKS: "green", State.LIMITED: "yellow", State.MISSING: "red"}


def command(
    json: Annotated[Path | None, typer.Option(help="Write the findings here, for machines.")] = None,
) -> None:
    """Tell what works on this machine, what is missing and how to get it; changes nothing."""
    check_writable(json)
    found = check_up(Outside())
    if json is not None:
        content = msgspec.json.encode(figures(found))
        write_atomically(json, msgspec.json.format(content))
    _print(found, Console())


def figures(found: CheckUp) -> dict[str, object]:
    """Return the check-up in the form that machines read."""
    return {"machine": dict(found.machine), "findings": [asdict(finding) for finding in found.findings]}


def _print(found: CheckUp, console: Console) -> None:
    if not console.is_terminal:
        console.width = COLUMNS_MAX
    console.print(_table(found))
    counts = (f"{state} {_count(found, state)}" for state in State)
    console.print(Text(", ".join(counts)), highlight=False)
    remedies = found.remedies()
    if not remedies:
        return
    console.print(Text("\nHow to get more, most useful first:"))
    for number, finding in enumerate(remedies, 1):
        console.print(_remedy(number, finding))


def _table(found: CheckUp) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("state", "finding"):
        table.add_column(heading, no_wrap=True)
    table.add_column("seen", overflow="fold")
    group = ""
    for finding in found.findings:
        if finding.group != group:
            if group:
                table.add_section()
            group = finding.group
            table.add_row("", Text(group, style="bold"), "")
        table.add_row(
            Text(str(finding.state), style=STYLES[finding.state]), _plain(finding.name), _plain(finding.seen)
        )
    return table


def _remedy(number: int, finding: Finding) -> Text:
    line = Text(f"{number:2}. ")
    line.append(f"{printable(finding.name)}: ", style=STYLES[finding.state])
    return line.append(printable(finding.get))


def _count(found: CheckUp, state: State) -> int:
    return sum(finding.state is state for finding in found.findings)


def _plain(text: str) -> Text:
    return Text(printable(text))


def printable(text: str) -> str:
    """Return a text that can do nothing to a terminal, whatever a device calls itself."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


__all__ = ["command", "figures", "printable"]
