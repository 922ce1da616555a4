"""`tidegate profile`: what a workload usually needs by time of day and day of week."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from tidegate.app.profile_shown import Baseline, Peak, profile_shown
from tidegate.app.threads import one_blas_thread
from tidegate.cli.amounts import amount_text, bare
from tidegate.cli.doctor import printable
from tidegate.cli.durations import duration_text
from tidegate.cli.files import check_writable, write_atomically
from tidegate.cli.heat import BLOCKS, DAY_NAMES, UNSEEN, heat_map, step_of
from tidegate.cli.instants import instant_iso, instant_text
from tidegate.cli.journals import JournalOption, knowing, opened
from tidegate.cli.resource_names import parse_resources
from tidegate.forecast.profile import PROFILING_SECONDS
from tidegate.model.day_ahead import HOUR_SECONDS
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from tidegate.app.day_ahead_shown import ComingDay

SHOWN_LEVEL: Final = 0.95
"""Which high quantile people read."""


def command(
    workload: Annotated[str, typer.Argument(metavar="WORKLOAD", help="The workload's name.")],
    resource: Annotated[str, typer.Option(help="One or more, like cpu,memory.")] = "cpu",
    timezone: Annotated[
        str, typer.Option(help="Whose clock the hours are of, like Europe/Paris; UTC as everywhere else.")
    ] = "UTC",
    journal: JournalOption = None,
    json: Annotated[Path | None, typer.Option(help="Write the baseline here, for machines.")] = None,
) -> None:
    """Draw what a workload usually needs by time of day and day of week."""
    check_writable(json)
    wanted, zone = parse_resources(resource), _zone(timezone)
    with opened(journal) as journals, one_blas_thread():
        of, _ = knowing(journals, workload)
        found = [profile_shown(of.reader, workload, one, zone, timezone) for one in wanted]
    if json is not None:
        content = msgspec.json.encode(figures(of.where.name, found))
        write_atomically(json, msgspec.json.format(content))
    console = Console()
    for one in found:
        for part in shown(one, console.width):
            console.print(part)


def figures(journal: str, found: list[Baseline]) -> dict[str, object]:
    """Return the baselines in the form that machines read, amounts in base units."""
    return {
        "workload": found[0].workload,
        "journal": journal,
        "at": instant_iso(found[0].time_seconds),
        "resources": found,
    }


def shown(one: Baseline, width: int) -> Iterator[Text]:
    """Return what people read on so many columns."""
    resource = Resource[one.resource.upper()]
    yield Text.assemble(
        (printable(one.workload), "bold"),
        f": usual peaks of {one.resource} as of {instant_text(one.time_seconds)}; hours are {one.timezone}",
    )
    yield Text(_seen(one))
    yield from heat_map(one.week, width)
    known = [amount for day in one.week for amount in day if amount is not None]
    if known:
        low, high = amount_text(min(known), resource), amount_text(max(known), resource)
        yield Text(f"{BLOCKS[0]} {low}  {BLOCKS[-1]} {high}  {UNSEEN} not seen yet", style="dim")
    for name, day in zip(DAY_NAMES, one.week, strict=True):
        yield Text(f"{name}  {_of_day(day, resource)}")
    if one.peaks:
        said = "; ".join(_sentence(peak, resource) for peak in one.peaks)
        yield Text(f"{said[0].upper()}{said[1:]}.")
    if one.day is not None:
        yield from _coming(one.day, resource, _zone(one.timezone), one.time_seconds)


def _coming(day: ComingDay, resource: Resource, zone: tzinfo, now_seconds: int) -> Iterator[Text]:
    """Return the coming day: its medians as a line of blocks, its highest and its lowest hour."""
    median, high = day.peaks[0], day.peaks[day.levels.index(SHOWN_LEVEL)]
    known = {hour: amount for hour, amount in enumerate(median) if amount is not None}
    if not known:
        return
    low, most = min(known.values()), max(known.values())
    line = "".join(UNSEEN if amount is None else BLOCKS[step_of(amount, low, most)] for amount in median)
    yield Text(f"Coming day, hour by hour from {_hour(day, 0, zone)}: {line}")
    peak, lowest = max(known, key=lambda hour: known[hour]), min(known, key=lambda hour: known[hour])
    above = high[peak]
    at_most = "" if above is None else f" ({SHOWN_LEVEL:.0%} sure: below {amount_text(above, resource)})"
    age = duration_text(max(0, now_seconds - day.refreshed_seconds))
    yield Text(
        f"Highest in the hour from {_hour(day, peak, zone)} at {amount_text(most, resource)}{at_most}, "
        f"lowest from {_hour(day, lowest, zone)} at {amount_text(low, resource)}; "
        f"said by {day.model} {age} before, as {day.why}."
    )
    share = day.coverage[day.levels.index(SHOWN_LEVEL)]
    if share is not None:
        yield Text(f"So far {share:.0%} of hours stayed below what was {SHOWN_LEVEL:.0%} sure a day before.")


def _hour(day: ComingDay, hours: int, zone: tzinfo) -> str:
    return f"{datetime.fromtimestamp(day.start_seconds + hours * HOUR_SECONDS, tz=zone):%H:%M}"


def _seen(one: Baseline) -> str:
    seen = duration_text(one.seen_seconds)
    if one.profiling:
        least = duration_text(PROFILING_SECONDS)
        return f"Still profiling: {seen} seen of at least {least}; until then the safe baseline decides."
    if one.each_day_its_own:
        return f"From {seen} of samples; each day of the week stands for itself."
    return f"From {seen} of samples; weekdays share one day and weekends another until 3 weeks are seen."


def _of_day(day: tuple[float | None, ...], resource: Resource) -> str:
    known = [(amount, slot) for slot, amount in enumerate(day) if amount is not None]
    if not known:
        return "not seen yet"
    # The first of equal peaks.
    amount, slot = max(known, key=lambda pair: (pair[0], -pair[1]))
    lowest = min(amount for amount, _ in known)
    return f"peak {_clock(slot * 15)} at {amount_text(amount, resource)}, lowest {bare(lowest, resource)}"


def _sentence(peak: Peak, resource: Resource) -> str:
    amount = amount_text(peak.amount, resource)
    if peak.flat:
        return f"about the same all day on {peak.days}, {amount} at most"
    said = f"peaks on {peak.days} around {_clock(peak.minute)} at {amount}"
    if peak.quiet_from_minute is None or peak.quiet_to_minute is None:
        return said
    begin, end = peak.quiet_from_minute, peak.quiet_to_minute
    if begin == 0:
        return f"{said}, quiet before {_clock(end)}"
    if end == 0:
        return f"{said}, quiet after {_clock(begin)}"
    return f"{said}, quiet from {_clock(begin)} to {_clock(end)}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _zone(name: str) -> tzinfo:
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(
            f"the time zone {name!r} is unknown here; write one like Europe/Paris, or leave it out for UTC"
        ) from error


__all__ = ["command", "figures", "shown"]
