"""`tidegate explain`: why a workload holds what it holds, in sentences, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tidegate.app.explain import events_near, explain
from tidegate.app.threads import one_blas_thread
from tidegate.cli.amounts import amount_text, bare, percent, unit
from tidegate.cli.doctor import printable
from tidegate.cli.drifted import drifted_text
from tidegate.cli.durations import duration_text
from tidegate.cli.files import check_writable, write_atomically
from tidegate.cli.instants import instant_iso, instant_text
from tidegate.cli.journals import JournalOption, knowing, opened
from tidegate.cli.resource_names import parse_resources
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from tidegate.app.explain import Came, Decided, Explanation, Standing
    from tidegate.journal.sql.reader import Event

EQUAL_RATIO = 1e-3
"""Levels of a forecast that differ by less than this are one figure, stored in half precision."""


def command(
    workload: Annotated[str, typer.Argument(metavar="WORKLOAD", help="The workload's name.")],
    at: Annotated[
        str | None,
        typer.Option(help="As of when: 2024-01-31T20:15, 20:15, or '15m ago'; UTC; now by default."),
    ] = None,
    resource: Annotated[str | None, typer.Option(help="Only these, like cpu,memory.")] = None,
    journal: JournalOption = None,
    json: Annotated[Path | None, typer.Option(help="Write the explanations here, for machines.")] = None,
) -> None:
    """Tell why a workload holds what it holds: the last decision, its reasons, and what came of it."""
    check_writable(json)
    wanted = None if resource is None else parse_resources(resource)
    with opened(journal) as journals, one_blas_thread():
        of, at_seconds = knowing(journals, workload, at)
        found = _only(explain(of.reader, workload, at_seconds), wanted)
        events = events_near(of.reader, workload, found[0].time_seconds)
        name = of.where.name
    if json is not None:
        content = msgspec.json.encode(figures(workload, name, found))
        write_atomically(json, msgspec.json.format(content))
    console = Console()
    for part in shown(name, found, events):
        console.print(part)


def figures(workload: str, journal: str, found: Sequence[Explanation]) -> dict[str, object]:
    """Return the explanations in the form that machines read, amounts in base units."""
    return {
        "workload": workload,
        "journal": journal,
        "at": instant_iso(found[0].time_seconds),
        "resources": found,
    }


def shown(journal: str, found: Sequence[Explanation], events: Sequence[Event]) -> Iterator[RenderableType]:
    """Return what people read: a panel per resource, then what was noted around that time."""
    first = found[0]
    when = instant_text(first.time_seconds)
    yield Text.assemble(
        (printable(first.workload), "bold"), f" as of {when}, from the journal {printable(journal)}"
    )
    for one in found:
        lines = Text("\n").join([Text(sentence) for sentence in sentences(one)])
        body = Group(lines, _league(one.league)) if one.league else lines
        title = Text(f"{printable(one.workload)}: {one.resource}", style="bold")
        yield Panel(body, title=title, title_align="left", box=box.ROUNDED)
    if events:
        yield Text("Noted around that time:")
    for event in events:
        whom = "" if event.workload is None else f"{event.workload}: "
        yield Text(f"  {instant_text(event.time_seconds)}  {printable(whom + event.sentence)}")


def sentences(one: Explanation) -> Iterator[str]:
    """Return an explanation as sentences."""
    resource = _resource(one)
    sold = amount_text(one.capacity, resource)
    used = f"Used {_amount(one, one.used)} of {sold} sold"
    yield f"{used if one.used is not None else f'No sample came ({sold} sold)'}; {_holds(one)}."
    if one.decided is None:
        yield "No decision about it is kept in the journal: it holds what it was given."
    else:
        yield from _decision(one, one.decided)
    floor = f", never less than {_amount(one, one.floor)}" if one.floor > 0 else ""
    yield f"SLA: may run short in {percent(one.sla)} of samples; class {one.priority}{floor}."
    if one.came is not None:
        yield from _came(one, one.came)


def _holds(one: Explanation) -> str:
    resource = _resource(one)
    held = f"holds {amount_text(one.host_share, resource)} on {printable(one.host)}"
    if one.card is None:
        return held
    share = f"{amount_text(one.card_share, resource)} of" if one.card_share > 0 else "nothing of"
    return f"{held} and {share} {printable(one.card)}"


def _decision(one: Explanation, made: Decided) -> Iterator[str]:
    ago = one.time_seconds - made.time_seconds
    when = f"{instant_text(made.time_seconds)}, {duration_text(ago)} before" if ago else "at this very tick"
    held = bare(made.held, _resource(one))
    yield f"Last decision ({when}): {_amount(one, made.wanted)} wanted where it held {held}."
    yield f"Why: {made.reason}."
    if made.guard is not None:
        left = "kept what it held" if made.allowed == made.held else f"was left {_amount(one, made.allowed)}"
        yield f"Held back: {made.guard}; it {left}."
    if made.drift is not None:
        text = drifted_text(made.drift, made.time_seconds)
        yield f"{text[0].upper()}{text[1:]}: margins and price learn anew."
    yield _forecast(one, made)
    yield f"{_model(made)} {_right(made)}"
    if made.without_forecast is not None:
        yield f"Without the forecast it would have been given {_against(one, made)}."


def _forecast(one: Explanation, made: Decided) -> str:
    """Say what was expected; where all levels are equal it is one amount, not certainty."""
    if not made.forecast:
        return "Forecast: none was made; too little is known."
    lowest, highest = made.forecast[0].amount, made.forecast[-1].amount
    if highest - lowest <= EQUAL_RATIO * max(abs(highest), 1e-12):
        amount = _amount(one, highest)
        if made.forecast_acts:
            return f"Forecast of the peak: {amount} at every level."
        # A forecaster without the right to act hands on what the safe baseline would grant, at each level.
        return f"Forecast: none acts; the safe baseline's amount, {amount}, stands in its place."
    parts = [
        f"{bare(quantile.amount, _resource(one))} in {_level(quantile.level)}" for quantile in made.forecast
    ]
    return f"Forecast of the peak, in {unit(_resource(one))}: at most {', '.join(parts)} of cases."


def _level(level: float) -> str:
    return f"{100 * level:.4g} %"


def _model(made: Decided) -> str:
    skill = _skill(made.skill)
    covered = "" if made.coverage is None else f", covered {percent(made.coverage)} of peaks"
    return f"Model: {printable(made.model)}, {skill}{covered}."


def _skill(skill: float | None) -> str:
    if skill is None:
        return "not measured against the plain baseline yet"
    better = round(100 * skill)
    if better == 0:
        return "as good as the plain baseline"
    return f"{abs(better)} % {'better' if better > 0 else 'worse'} than the plain baseline"


def _right(made: Decided) -> str:
    if made.right_to_act is not None:
        return f"It has just {'won' if made.right_to_act == 'gained' else 'lost'} the right to act."
    return "It has the right to act." if made.forecast_acts else "It has not earned the right to act."


def _against(one: Explanation, made: Decided) -> str:
    """Say what the counterfactual was, and how far it is from what was wanted."""
    other = made.without_forecast or 0.0
    amount = _amount(one, other)
    if made.wanted <= 0 or abs(other - made.wanted) < 0.005 * made.wanted:
        return f"{amount}, the same" if abs(other - made.wanted) < 0.005 * max(made.wanted, 1e-12) else amount
    ratio = abs(other / made.wanted - 1)
    return f"{amount}, {percent(ratio)} {'more' if other > made.wanted else 'less'}"


def _came(one: Explanation, came: Came) -> Iterator[str]:
    if came.ended:
        ends = (
            f"{end.phase} at the {end.share} ({_amount(one, end.amount)} read back)" for end in came.ended
        )
        yield f"What was done: {', '.join(ends)}."
    if came.samples == 0:
        yield "What came of it: no sample since then yet."
        return
    yield (
        f"What came of it: ran short in {came.ran_short} of {came.samples} samples since; "
        f"used {_amount(one, came.highest_used)} at most."
    )


def _league(league: Sequence[Standing]) -> Table:
    """Return what each policy would have reserved and risked for this workload, today / yesterday."""
    days = list(dict.fromkeys(standing.day for standing in league))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    table.add_column(" / ".join(days), no_wrap=True, overflow="ellipsis")
    for heading in ("reserved", "ran short", "regret"):
        table.add_column(heading, justify="right", no_wrap=True)
    for policy in dict.fromkeys(standing.policy for standing in league):
        mine = [standing for standing in league if standing.policy == policy]
        table.add_row(
            Text(printable(policy)),
            " / ".join(f"{standing.reserved_ratio:.0%}" for standing in mine),
            " / ".join(f"{standing.violation_ratio:.1%}" for standing in mine),
            " / ".join(f"{standing.regret_ratio:.0%}" for standing in mine),
        )
    samples = {standing.day: standing.samples for standing in league}
    table.caption = ", ".join(f"{count} samples {day}" for day, count in samples.items())
    table.caption_justify = "left"
    return table


def _only(found: list[Explanation], wanted: Sequence[Resource] | None) -> list[Explanation]:
    """Return the explanations of the wanted resources, in the order they were asked for."""
    if wanted is None:
        return found
    by_label = {one.resource: one for one in found}
    for resource in wanted:
        if resource.label not in by_label:
            raise InputError(f"the journal knows no {resource.label}; it has {', '.join(by_label)}")
    return [by_label[resource.label] for resource in wanted]


def _resource(one: Explanation) -> Resource:
    return Resource[one.resource.upper()]


def _amount(one: Explanation, amount: float | None) -> str:
    return amount_text(amount, _resource(one))


__all__ = ["command", "figures", "sentences", "shown"]
