"""`tidegate league`: the policy that acts beside the pinned rules in its shadow, on the same samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tidegate.app.league_shown import league_shown
from tidegate.cli.amounts import percent
from tidegate.cli.files import check_writable, write_atomically
from tidegate.cli.journals import JournalOption, opened, with_ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.app.league_shown import LeagueRow


def command(
    journal: JournalOption = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures here, for machines.")] = None,
) -> None:
    """Compare the policy with the rules in its shadow: reserved, ran short, regret to the day's oracle."""
    check_writable(json)
    with opened(journal) as journals:
        of = with_ticks(journals)
        rows = league_shown(of.reader)
        name, mine = of.where.name, of.reader.identity().get("policy", "")
    if json is not None:
        content = msgspec.json.encode({"journal": name, "policy": mine, "rows": rows})
        write_atomically(json, msgspec.json.format(content))
    console = Console()
    if not rows:
        console.print("The league begins with the first checkpoint, at most eighty ticks after the start.")
        return
    for day in dict.fromkeys(row.day for row in rows):
        console.print(_table(day, mine, [row for row in rows if row.day == day]))
    console.print(
        "Regret is what was reserved above what an oracle would have, as a share of what was sold; "
        "days are UTC. The policy itself is judged by what was really held: whom it may not act on holds "
        "what was sold.",
        style="dim",
    )


def _table(day: str, mine: str, rows: Sequence[LeagueRow]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, title=day, title_justify="left")
    table.add_column("resource", no_wrap=True)
    table.add_column("policy", no_wrap=True)
    for heading in ("reserved", "ran short", "regret", "samples"):
        table.add_column(heading, justify="right", no_wrap=True)
    last = None
    for row in rows:
        table.add_row(
            "" if row.resource == last else row.resource,
            Text(row.policy, style="bold" if row.policy == mine else ""),
            percent(row.reserved_ratio),
            percent(row.violation_ratio),
            percent(row.regret_ratio),
            f"{row.samples:,}",
        )
        last = row.resource
    return table


__all__ = ["command"]
