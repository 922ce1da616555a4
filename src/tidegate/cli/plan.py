"""`tidegate plan show`: who holds what and is to hold what, as of the journal's last tick."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tidegate.app.plan_shown import plan_shown
from tidegate.app.threads import one_blas_thread
from tidegate.cli.amounts import bare, percent, unit
from tidegate.cli.card_line import CertsOption
from tidegate.cli.doctor import printable
from tidegate.cli.drifted import drifted_text
from tidegate.cli.files import check_writable, write_atomically
from tidegate.cli.instants import instant_iso, instant_text
from tidegate.cli.journals import JournalOption, Opened, opened, with_ticks
from tidegate.cli.plan_cards import show_cards
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from tidegate.app.plan_shown import PlaceRow, PlanRow, PlanShown

ROWS_MAX: Final = 50
"""Rows shown unless asked for all."""
PLACES_MAX: Final = 12
"""Places shown unless asked for all, fullest first."""
WIDE: Final = 118
"""Columns from which on there is room for a table; below it each row is a few lines."""
NAME_MAX: Final = 24
COLUMNS_MAX: Final = 1000
"""Width where nobody looks on, as of `| grep`: a row stays on one line."""

plan_app = typer.Typer(help="The allocation plan.", no_args_is_help=True)


@plan_app.callback()
def _plan() -> None:
    """Show the allocation plan."""


@plan_app.command("show")
def show(
    workload: Annotated[str, typer.Option(metavar="PATTERN", help="Only these, like 'web*'.")] = "*",
    changed: Annotated[bool, typer.Option("--changed", help="Only where a change is pending.")] = False,
    everything: Annotated[bool, typer.Option("--all", help=f"Every row, not {ROWS_MAX} at most.")] = False,
    journal: JournalOption = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Of a fleet manager: show which application it wants where."),
    ] = None,
    certs: CertsOption = None,
    json: Annotated[Path | None, typer.Option(help="Write the rows here, for machines.")] = None,
) -> None:
    """Show what every workload holds and is to hold, biggest pending changes first.

    With --address, show each application of all cards: where it belongs, why there, how it gets there, what
    its move costs and when that is won back.
    """
    check_writable(json)
    if address is not None:
        if journal is not None:
            raise InputError("a plan is of a journal or of an address; give one of --journal and --address")
        most = None if everything else ROWS_MAX
        show_cards(address, certs, json, pattern=workload, changed=changed, rows_max=most)
        return
    with opened(journal) as journals, one_blas_thread():
        of = with_ticks(journals)
        plan = plan_shown(of.reader, of.autonomy(), workload)
        others = [one for one in journals if one is not of and one.reader.span() is not None]
    rows = [row for row in plan.rows if row.pending or not changed]
    if json is not None:
        content = msgspec.json.encode(figures(of.where.name, plan, rows))
        write_atomically(json, msgspec.json.format(content))
    console = Console()
    if not console.is_terminal:
        console.width = COLUMNS_MAX
    for part in shown(of, plan, rows, width=console.width, everything=everything):
        console.print(part)
    if others:
        console.print(Text(f"There is another journal: --journal {others[0].where.name}", style="dim"))


def figures(journal: str, plan: PlanShown, rows: Sequence[PlanRow]) -> dict[str, object]:
    """Return the plan in the form that machines read, amounts in base units."""
    return {
        "journal": journal,
        "at": instant_iso(plan.time_seconds),
        "tick": plan.tick,
        "workloads": plan.workloads,
        "rows": rows,
        "places": plan.places,
    }


def shown(
    of: Opened, plan: PlanShown, rows: Sequence[PlanRow], *, width: int, everything: bool
) -> Iterator[RenderableType]:
    """Return what people read on so many columns."""
    pending = sum(row.pending for row in plan.rows)
    yield Text(
        f"The plan as of {instant_text(plan.time_seconds)}, tick {plan.tick}, "
        f"from the journal {printable(of.where.name)}"
    )
    kept = rows if everything else rows[:ROWS_MAX]
    if width >= WIDE and kept:
        yield _table(kept)
    else:
        yield from map(_block, kept)
    left = len(rows) - len(kept)
    count = f"{pending} of {len(plan.rows)} rows have a change pending"
    yield Text(f"{count}; {left} more rows with --all" if left else count)
    yield Text("")
    yield from _places(plan.places, PLACES_MAX if not everything else len(plan.places))


def _table(rows: Sequence[PlanRow]) -> Table:
    cards = any(row.held_card > 0 for row in rows)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    table.add_column("workload", no_wrap=True, overflow="ellipsis", max_width=NAME_MAX)
    table.add_column("on", no_wrap=True, overflow="ellipsis", max_width=NAME_MAX)
    table.add_column("resource", no_wrap=True)
    for heading in ("used", "at host", *(("at card",) if cards else ()), "wanted", "without"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("autonomy", no_wrap=True)
    table.add_column("why", overflow="fold")
    for row in rows:
        resource = Resource[row.resource.upper()]
        at_card = (bare(row.held_card, resource),) if cards else ()
        table.add_row(
            Text(printable(row.workload)),
            Text(printable(_on(row))),
            f"{row.resource}, {unit(resource)}",
            bare(row.used, resource),
            bare(row.held_host, resource),
            *at_card,
            Text(bare(row.wanted, resource), style=_style(row)),
            bare(row.without_forecast, resource),
            row.autonomy,
            Text(_why(row)),
        )
    return table


def _block(row: PlanRow) -> Text:
    """Return a row where a table has no room: its amounts, and the reason below them."""
    resource = Resource[row.resource.upper()]
    at_card = f", card {bare(row.held_card, resource)}" if row.held_card > 0 else ""
    return Text.assemble(
        (printable(row.workload), "bold"),
        f" {row.resource} on {printable(_on(row))} ({row.autonomy})\n",
        f"  used {bare(row.used, resource)}, host {bare(row.held_host, resource)}{at_card}, ",
        (f"wanted {bare(row.wanted, resource)} {unit(resource)}", _style(row)),
        f", without forecast {bare(row.without_forecast, resource)}\n",
        f"  {_why(row)}",
    )


def _why(row: PlanRow) -> str:
    """Return the reason, and what had changed about the series then."""
    why = row.guard or row.reason
    if row.drift is None or row.decided_seconds is None:
        return why
    return f"{why}; {drifted_text(row.drift, row.decided_seconds)}"


def _on(row: PlanRow) -> str:
    return row.host if row.card is None else f"{row.host}, {row.card}"


def _style(row: PlanRow) -> str:
    if not row.pending:
        return ""
    return "green" if (row.wanted or 0) > row.held else "cyan"


def _places(places: Sequence[PlaceRow], most: int) -> Iterator[Text]:
    """Return a line per place: what is granted of what is allocatable, fullest first."""
    names = list(dict.fromkeys(row.place for row in places))
    of = {name: [row for row in places if row.place == name] for name in names}
    order = sorted(names, key=lambda name: -max(_full(row) for row in of[name]))
    for name in order[:most]:
        parts = [_part(row) for row in of[name] if row.allocatable != 0]
        yield Text.assemble(
            (printable(name), "magenta" if of[name][0].is_card else "bold"), f": {', '.join(parts)}"
        )
    if len(order) > most:
        yield Text(f"and {len(order) - most} more places with --all")


def _part(row: PlaceRow) -> str:
    resource = Resource[row.resource.upper()]
    granted = bare(row.granted, resource, of_place=True)
    if row.allocatable is None:
        return f"{row.resource} {granted} {unit(resource, of_place=True)} granted"
    whole = bare(row.allocatable, resource, of_place=True)
    return f"{row.resource} {granted} of {whole} {unit(resource, of_place=True)} ({percent(_full(row))})"


def _full(row: PlaceRow) -> float:
    return row.granted / row.allocatable if row.allocatable else 0.0


__all__ = ["figures", "plan_app", "show", "shown"]
