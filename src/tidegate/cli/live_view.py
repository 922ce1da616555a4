"""How `tidegate up` looks: one tick of two loops as a screen, a line, or a closing summary.

Pure functions from what is known to what rich draws; `tidegate.cli.up` decides when.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tidegate.model.resources import Resource
from tidegate.model.roster import CARD, HOST
from tidegate.model.snapshot import summed_by_place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from tidegate.app.side_by_side import Mover, SideBySide
    from tidegate.model.tick import Tick

HOT_RATIO: Final = 0.9
WARM_RATIO: Final = 0.7
SCORE_BAR: Final = 8
BARS: Final = (10, 8, 6, 4)
"""Widths a resource's bar may have, widest first."""
CELL_WIDTH: Final = 13
"""Room for ``use/grant/allocatable`` and the gap to the next column."""
STAGES: Final = ("telemetry", "forecast", "score", "plan", "shadow", "guard", "actuate", "journal", "learn")
FIXED_LINES: Final = 12
"""Lines of a screen that are always there, beside places, resources and movers."""


class Unit(NamedTuple):
    """How people read a resource's amounts."""

    heading: str
    factor: float
    fine: str
    """The unit for one workload, which is smaller than a place."""
    fine_factor: float


UNITS: Final[Mapping[Resource, Unit]] = {
    Resource.CPU: Unit("cores", 1, "cores", 1),
    Resource.MEMORY: Unit("GiB", 2**30, "GiB", 2**30),
    Resource.GPU: Unit("GPUs", 1, "GPUs", 1),
    Resource.NETWORK: Unit("Gb/s", 1e9 / 8, "Mb/s", 1e6 / 8),
    Resource.STORAGE: Unit("GB/s", 1e9, "MB/s", 1e6),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What does not change from tick to tick."""

    scenario: str
    policy: str
    sla: str
    speed: str


def screen(
    run: SideBySide, tick: Tick, header: Header, stages: Mapping[str, float], size: tuple[int, int]
) -> Group:
    """Return the whole view for a terminal of ``size`` (columns, rows); ``stages`` are seconds per tick."""
    width, height = size
    resources = len(tick.snapshot.resources)
    places = len(tick.snapshot.places.names)
    spare = height - FIXED_LINES - resources
    shown = min(places, max(3, spare - 3))
    movers = max(1, spare - shown - (1 if shown < places else 0))
    return Group(
        _header(run, tick, header),
        "",
        _places(run, tick, width, shown),
        "",
        _both(run),
        "",
        _movers(list(run.movers), movers, width),
        stages_text(stages, width),
    )


def line(run: SideBySide, tick: Tick) -> str:
    """Return one tick as a plain line."""
    parts = [f"{_when(tick.snapshot.time_seconds)} tick {tick.number + 1}/{run.world.trace.ticks}"]
    for row, resource in enumerate(tick.snapshot.resources):
        mine, other = run.totals, run.shadow_totals
        parts.append(
            f"{resource.label} short {mine.short_ratio[row]:.2%} (without {other.short_ratio[row]:.2%}) "
            f"reserved {mine.reserved_ratio[row]:.1%} (without {other.reserved_ratio[row]:.1%})"
        )
    if tick.scores is not None:
        highest = int(tick.scores.value.argmax())
        parts.append(f"highest score {tick.scores.value[highest]:.0f} {tick.scores.names[highest]}")
    return ", ".join(parts)


def summary(run: SideBySide, *, why: str, seconds: float) -> Group:
    """Return what there is to say at the end."""
    ticks = run.ticks
    span = ticks * run.world.trace.step_seconds / 3600
    said = f"{why} after {ticks} ticks ({span:.4g} simulated hours) in {seconds:.1f} s."
    if ticks == 0:
        return Group(Text(said))
    return Group(Text(said), _both(run))


def _when(time_seconds: int) -> str:
    return f"{datetime.fromtimestamp(time_seconds, tz=UTC):%a %Y-%m-%d %H:%M}"


def _header(run: SideBySide, tick: Tick, header: Header) -> RenderableType:
    first = Text.assemble(
        ("Tidegate", "bold cyan"),
        f"  {header.scenario}: {len(tick.snapshot.roster)} VMs  policy ",
        (header.policy, "bold"),
        f"  SLA {header.sla}",
    )
    second = Text.assemble(
        (_when(tick.snapshot.time_seconds), "bold"),
        f" UTC  tick {tick.number + 1} of {run.world.trace.ticks}  {header.speed}",
        ("  Ctrl-C ends", "dim"),
    )
    for text in (first, second):
        text.no_wrap, text.overflow = True, "ellipsis"
    return Group(first, second)


def _places(run: SideBySide, tick: Tick, width: int, shown: int) -> Table:
    """Servers and cards, with what is used, granted and allocatable of each resource."""
    snapshot = tick.snapshot
    places = snapshot.places
    names = 2 + max(len(name) for name in places.names)
    room = width - min(names, 24) - SCORE_BAR - 8
    bar, count = _fitting(room, len(snapshot.resources))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    table.add_column("server or card", no_wrap=True, max_width=24)
    table.add_column("score", no_wrap=True)
    for resource in snapshot.resources[:count]:
        table.add_column(f"{resource.label}, {UNITS[resource].heading}", no_wrap=True)
    used = run.fleet.used_by_place
    host = summed_by_place(snapshot.grant[HOST], snapshot.host, len(places.names))
    granted = host + summed_by_place(snapshot.grant[CARD], snapshot.card, len(places.names))
    for place in _worth_showing(tick, shown):
        cells = [
            _cell(used[row, place], granted[row, place], places.allocatable[row, place], UNITS[resource], bar)
            for row, resource in enumerate(snapshot.resources[:count])
        ]
        name = Text(places.names[place], style="magenta" if places.is_card[place] else "")
        table.add_row(name, _score(run, tick, place), *cells)
    if shown < len(places.names):
        table.add_row(Text(f"and {len(places.names) - shown} more", style="dim"))
    return table


def _fitting(room: int, resources: int) -> tuple[int, int]:
    """Return the widest bar, and how many resources, that fit in ``room`` columns."""
    for bar in BARS:
        if resources * (bar + 1 + CELL_WIDTH) <= room:
            return bar, resources
    return BARS[-1], max(1, min(resources, room // (BARS[-1] + 1 + CELL_WIDTH)))


def _worth_showing(tick: Tick, shown: int) -> Sequence[int]:
    """Return the places with the highest scores, in the order of the fleet."""
    places = range(len(tick.snapshot.places.names))
    if shown >= len(places):
        return places
    value = {} if tick.scores is None else dict(zip(tick.scores.server, tick.scores.value, strict=True))
    return sorted(sorted(places, key=lambda place: -float(value.get(place, -1.0)))[:shown])


def _score(run: SideBySide, tick: Tick, place: int) -> Text:
    """A server's score as a bar; for a card, how busy moves keep its busiest link."""
    places = tick.snapshot.places
    if places.is_card[place]:
        mine = places.link_card == place
        load = run.fleet.link_bytes_per_second[mine] / places.link_bytes_per_second[mine]
        return Text(f"{mine.sum()} links, {load.max(initial=0.0):.0%}", style="dim")
    if tick.scores is None:
        return Text("no score", style="dim")
    at = (tick.scores.server == place).nonzero()[0]
    if at.size == 0:
        return Text("no card", style="dim")
    value = float(tick.scores.value[at[0]])
    filled = round(value / 100 * SCORE_BAR)
    return Text.assemble(
        ("█" * filled, heat(value / 100)), ("·" * (SCORE_BAR - filled), "bright_black"), f" {value:3.0f}"
    )


def _cell(used: float, granted: float, allocatable: float, unit: Unit, bar: int) -> Text:
    """One resource of a place: a bar of used (solid) and granted (shaded), and the three amounts."""
    whole = allocatable if 0 < allocatable < float("inf") else max(granted, used, 1e-9)
    solid = min(bar, round(used / whole * bar))
    shaded = max(0, min(bar, round(granted / whole * bar)) - solid)
    amounts = "/".join(short(amount / unit.factor) for amount in (used, granted, allocatable))
    return Text.assemble(
        ("█" * solid, heat(used / whole)),
        ("▒" * shaded, "blue"),
        ("·" * (bar - solid - shaded), "bright_black"),
        f" {amounts}",
    )


def short(amount: float) -> str:
    """Three digits at most, as in 0.4, 7.5, 31, 512, 14k."""
    if amount == float("inf"):
        return "∞"
    if amount >= 9_999.5:
        return f"{amount / 1000:.0f}k"
    return f"{amount:.0f}" if amount >= 9.95 or amount == 0 else f"{amount:.1f}"


def heat(ratio: float) -> str:
    """Return the colour of how full something is."""
    return "red" if ratio >= HOT_RATIO else "yellow" if ratio >= WARM_RATIO else "green"


def _both(run: SideBySide) -> RenderableType:
    """What ran short and what was reserved so far, with prediction and without."""
    title = Text.assemble(
        "so far, with ",
        (run.policy_name, "bold"),
        f" and without its forecast; SLAs allow {run.allowed_ratio:.2%}",
    )
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), show_edge=False, pad_edge=False)
    table.add_column("resource", no_wrap=True)
    for heading in ("ran short with", "without", "reserved with", "without"):
        table.add_column(heading, justify="right", no_wrap=True)
    mine, other = run.totals, run.shadow_totals
    for row, resource in enumerate(run.world.trace.resources):
        table.add_row(
            resource.label,
            *_pair(mine.short_ratio[row], other.short_ratio[row], ".2%"),
            *_pair(mine.reserved_ratio[row], other.reserved_ratio[row], ".1%"),
        )
    return Group(title, table)


def _pair(mine: float, other: float, form: str) -> tuple[Text, Text]:
    """Both figures, ours green where it is lower and red where it is higher as printed."""
    said, theirs = format(mine, form), format(other, form)
    style = "" if said == theirs else "green" if mine < other else "red"
    return Text(said, style=style), Text(theirs)


def _movers(movers: Sequence[Mover], shown: int, width: int) -> RenderableType:
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False, pad_edge=False, width=width)
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for mover in movers[:shown]:
        unit = UNITS[mover.resource]
        amounts = [short(amount / unit.fine_factor) for amount in (mover.amount_from, mover.amount_to)]
        grows = mover.amount_to > mover.amount_from
        table.add_row(
            Text(f"{datetime.fromtimestamp(mover.time_seconds, tz=UTC):%H:%M}", style="dim"),
            mover.workload,
            Text(
                f"{mover.resource.label} {amounts[0]} → {amounts[1]} {unit.fine}",
                "green" if grows else "cyan",
            ),
            mover.reason.sentence,
        )
    for _ in range(shown - len(movers)):
        table.add_row("")
    return Group(Text("biggest changes of the last ticks", style="bold"), table)


def stages_text(stages: Mapping[str, float], width: int) -> Text:
    """Return what each stage of a tick takes, in one line of at most ``width``."""
    parts = [f"{name} {stages[name] * 1000:.1f}" for name in STAGES if name in stages]
    whole = f"ms per tick {sum(stages.values()) * 1000:.1f}: " + "  ".join(parts)
    return Text(whole[:width], style="dim", no_wrap=True, overflow="ellipsis")


__all__ = ["UNITS", "Header", "heat", "line", "screen", "short", "stages_text", "summary"]
