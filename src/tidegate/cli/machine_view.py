"""How `tidegate up` shows this machine: its busiest workloads, what is expected of them, what may be done.

Pure functions from what is known to what rich draws; `tidegate.cli.up` decides when.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tidegate.cli.live_view import UNITS, heat, short, stages_text
from tidegate.model.autonomy import Level
from tidegate.model.forecast import acting
from tidegate.model.plan import Reason
from tidegate.model.resources import Resource
from tidegate.model.snapshot import in_server_units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from tidegate.app.machine import Machine
    from tidegate.model.behaviour import Behaviour
    from tidegate.model.tick import Tick

BECAUSE_WIDTH: Final = 80
"""Terminals narrower than this show the numbers alone."""
FIXED_LINES: Final = 9
"""Lines that are always there, beside workloads."""
AMOUNT_IN_FULL: Final = 10.0
"""Amounts below this have two decimals."""
NAME_WIDTH: Final = 26
PRESSURES: Final = ("cpu", "memory", "io")


def machine_screen(machine: Machine, tick: Tick, stages: Mapping[str, float], size: tuple[int, int]) -> Group:
    """Return this machine's view for a space of ``size`` (columns, rows)."""
    width, height = size
    return Group(
        *_header(machine, tick),
        "",
        _workloads(tick, width, max(1, height - FIXED_LINES)),
        "",
        _league(machine, tick),
        stages_text(stages, width),
    )


def machine_line(tick: Tick) -> str:
    """Return one tick as a plain line."""
    row = tick.snapshot.resources.index(Resource.CPU)
    parts = [
        f"{datetime.fromtimestamp(tick.snapshot.time_seconds, tz=UTC):%H:%M:%S} this machine",
        f"tick {tick.number + 1}",
        f"{len(tick.snapshot.roster)} workloads",
        f"cpu {np.nansum(tick.snapshot.used[row]):.2f} cores used",
        f"{int(acting(tick.forecast).sum())} forecasts act",
        f"{len(tick.actions)} actions",
    ]
    return ", ".join(parts)


def machine_summary(machine: Machine) -> RenderableType:
    """Return what there is to say at the end."""
    if machine.last is None:
        return Text("This machine: no tick was made.")
    said = [f"This machine: {machine.ticks} ticks of {machine.options.step_seconds} s"]
    for row, resource in enumerate(machine.last.snapshot.resources):
        if machine.samples[row]:
            said.append(f"{resource.label} short {machine.short[row] / machine.samples[row]:.2%}")
    return Text(", ".join(said) + ".")


def _header(machine: Machine, tick: Tick) -> Sequence[Text]:
    levels = machine.autonomy().levels(tick.snapshot.roster.names)
    counts = ", ".join(
        f"{int((levels == level).sum())} {level.label}"
        for level in reversed(Level)
        if (levels == level).any()
    )
    acts = "acts" if machine.options.acts else "watches"
    paused = "  PAUSED" if machine.autonomy().paused else ""
    first = Text.assemble(
        ("This machine", "bold cyan"),
        f"  {tick.snapshot.places.names[0]}: {len(tick.snapshot.roster)} workloads  policy ",
        (machine.options.policy, "bold"),
        f"  {acts} ({counts})",
        (paused, "bold yellow"),
    )
    when = datetime.fromtimestamp(tick.snapshot.time_seconds, tz=UTC)
    second = Text.assemble((f"{when:%a %Y-%m-%d %H:%M:%S}", "bold"), f" UTC  tick {tick.number + 1}")
    behaviour = machine.server.behaviour
    if behaviour is not None:
        second.append("  " + _machine_use(behaviour))
    for text in (first, second):
        text.no_wrap, text.overflow = True, "ellipsis"
    return first, second


def _machine_use(behaviour: Behaviour) -> str:
    whole = behaviour.machine
    stalled = ", ".join(
        f"{name} {ratio:.0%}"
        for name, ratio in zip(PRESSURES, whole.stalled_some_ratio, strict=True)
        if ratio == ratio  # noqa: PLR0124 - unknown is NaN
    )
    parts = [f"memory {whole.memory_bytes_used / 2**30:.1f}/{whole.memory_bytes / 2**30:.1f} GiB"]
    if whole.cpu_cores_used == whole.cpu_cores_used:
        parts.insert(0, f"cpu {whole.cpu_cores_used:.2f}/{whole.cores:g} cores")
    if stalled:
        parts.append(f"stalled: {stalled}")
    return "  ".join(parts)


def _workloads(tick: Tick, width: int, shown: int) -> Table:
    """The busiest workloads: used and held, the expected peak, what is wanted and why."""
    snapshot = tick.snapshot
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    table.add_column("workload", no_wrap=True, max_width=NAME_WIDTH, overflow="ellipsis")
    for heading in ("cpu, held", "peak", "wants", "memory, held", "wants"):
        table.add_column(heading, justify="right", no_wrap=True)
    if width >= BECAUSE_WIDTH:
        table.add_column("because", no_wrap=True, overflow="ellipsis", ratio=1)
    cpu, memory = (snapshot.resources.index(of) for of in (Resource.CPU, Resource.MEMORY))
    wanted = in_server_units(tick.planned.wanted, snapshot)
    acts = acting(tick.forecast)
    order = np.argsort(-np.nan_to_num(snapshot.used[cpu]), kind="stable")[:shown]
    for row in order:
        reason = Reason(int(tick.plan.reason[cpu, row]))
        table.add_row(
            Text(snapshot.roster.names[row]),
            _pair(tick, cpu, row),
            Text(
                _amount(tick.forecast.quantiles[-1, cpu, row], Resource.CPU),
                "bold" if acts[cpu, row] else "dim",
            ),
            _amount(wanted[cpu, row], Resource.CPU),
            _pair(tick, memory, row),
            _amount(wanted[memory, row], Resource.MEMORY),
            *([reason.sentence] if width >= BECAUSE_WIDTH else []),
        )
    return table


def _pair(tick: Tick, resource: int, row: int) -> Text:
    snapshot = tick.snapshot
    used, held = snapshot.used[resource, row], snapshot.held[resource, row]
    kind = snapshot.resources[resource]
    style = heat(float(used / held)) if held > 0 and used == used else "dim"  # noqa: PLR0124
    return Text.assemble((_amount(used, kind), style), f"/{_amount(held, kind)}")


def _amount(amount: float | np.floating, resource: Resource) -> str:
    unit = UNITS[resource]
    if np.isnan(amount):
        return "?"
    fine = float(amount) / unit.fine_factor
    return f"{fine:.2f}" if fine < AMOUNT_IN_FULL else short(fine)


def _league(machine: Machine, tick: Tick) -> Text:
    """What each policy reserved of the CPU sold today, and how often it ran short."""
    row = tick.snapshot.resources.index(Resource.CPU)
    text = Text("cpu today, reserved and ran short: ", no_wrap=True, overflow="ellipsis")
    for standing in machine.company.league.standings(row):
        name = standing.policy.replace("_", " ")
        text.append(f"{name} ", "bold" if standing.policy == machine.options.policy else "dim")
        text.append(f"{standing.reserved_ratio:.0%} {standing.violation_ratio:.1%}  ")
    return text


__all__ = ["machine_line", "machine_screen", "machine_summary"]
